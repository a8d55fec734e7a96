"""Counting in processes that are killed at any moment, on batches that are delivered again and twice at once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, Final

import pytest

from tests.benchmarks import engine
from tests.proof.conftest import Record
from tests.service import (
    AGENT,
    CONTEXT,
    OTHER_AGENT,
    event,
    item_of,
    load,
    newest_first,
    response_of,
    session,
    stream_record,
)

KILLS: Final = int(os.environ.get("KILLS", "520"))
SHARDS: Final = 3
ORGANIZATIONS: Final = ("org_" + "a" * 32, "org_" + "b" * 32)
SESSIONS: Final = 240
SEED: Final = 20261125

pytestmark = pytest.mark.long


@dataclass
class Shard:
    """A part of the stream, and how far it was delivered."""

    records: list[dict[str, Any]] = field(default_factory=list)
    position: int = 0


def histories(chance: random.Random) -> tuple[list[Shard], dict[str, dict[str, Any]]]:
    """Return a stream in which sessions are created, deleted and created with other keys, and what is left of them."""
    shards = [Shard() for _ in range(SHARDS)]
    present: dict[str, dict[str, Any]] = {}
    numbers = [number for number in range(SESSIONS) for _ in range(chance.choice((1, 1, 2, 3, 4)))]
    chance.shuffle(numbers)
    for sequence, number in enumerate(numbers, start=1):
        before = present.pop(f"session_{number:032x}", None)
        if before is None:
            made = session(
                number,
                organization_id=chance.choice(ORGANIZATIONS),
                agent_id=chance.choice((AGENT, OTHER_AGENT)),
                created_at=f"2026-{chance.choice(('10', '11'))}-01T00:0{chance.randint(0, 9)}:00.{number:06}Z",
            )
            present[made["id"]] = made
            record = stream_record(sequence, "INSERT", new=item_of(made))
        else:
            record = stream_record(sequence, "REMOVE", old=item_of(before))
        shards[number % SHARDS].records.append(record)
    return shards, present


@dataclass
class Container:
    """A process that counts one batch, forked from this one so that it starts as quickly as Lambda's."""

    pid: int
    pipe: int
    began: float

    @classmethod
    def start(cls, handler: Callable[..., Any], batch: list[dict[str, Any]]) -> Container:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writing)
            return cls(pid, reading, time.monotonic())
        try:
            with redirect_stdout(StringIO()):
                outcome = handler({"Records": batch}, CONTEXT)
            os.write(writing, json.dumps(outcome).encode())
        finally:
            os._exit(0)

    def failures(self) -> list[str] | None:
        """Return what it reported as failed, or None if it was killed."""
        with os.fdopen(self.pipe, "rb") as pipe:
            answer = pipe.read()
        os.waitpid(self.pid, 0)
        return [each["itemIdentifier"] for each in json.loads(answer)["batchItemFailures"]] if answer else None


@dataclass
class Tally:
    """What was done to the processes."""

    invocations: int = 0
    killed: int = 0
    twice_at_once: int = 0
    from_earlier: int = 0


def deliver(shards: list[Shard], handler: Callable[..., Any], kills: int, chance: random.Random) -> Tally:
    """Deliver every shard to its end, with so many kills on the way."""
    tally = Tally()
    usual = 0.1
    while True:
        running: list[tuple[Shard, list[dict[str, Any]], list[Container]]] = []
        for shard in shards:
            at_end = shard.position == len(shard.records)
            is_killing = tally.killed < kills
            if at_end and not is_killing:
                continue
            if is_killing and shard.position and (at_end or chance.random() < 0.15):
                shard.position = chance.randint(0, shard.position - 1)
                tally.from_earlier += 1
            batch = shard.records[shard.position :][: chance.randint(1, 40)]
            times = 2 if is_killing and chance.random() < 0.25 else 1
            tally.twice_at_once += times == 2
            running.append((shard, batch, [Container.start(handler, batch) for _ in range(times)]))
        if not running:
            return tally
        containers = [each for _, _, several in running for each in several]
        victims = [each for each in containers if tally.killed < kills and chance.random() < 0.6]
        for moment, victim in sorted(
            ((each.began + chance.uniform(0, 1.2 * usual), each) for each in victims), key=lambda pair: pair[0]
        ):
            time.sleep(max(0.0, moment - time.monotonic()))
            os.kill(victim.pid, signal.SIGKILL)  # does nothing to a process that has ended and is not waited for yet
        for shard, batch, several in running:
            outcomes = [each.failures() for each in several]
            tally.invocations += len(outcomes)
            tally.killed += outcomes.count(None)
            if not victims:
                usual = 0.8 * usual + 0.2 * (time.monotonic() - several[0].began)
            if None not in outcomes:  # otherwise the batch is delivered again
                numbers = [each["dynamodb"]["SequenceNumber"] for each in batch]
                first = min((each for failed in outcomes for each in failed or ()), default=None)
                shard.position += len(batch) if first is None else numbers.index(first)


def differences(present: dict[str, dict[str, Any]]) -> list[str]:
    """Return what audit and pages have wrong."""
    command = [str(Path(sys.executable).with_name("sessions")), "counts", "audit"]
    audit = subprocess.run(
        [*command, "--endpoint-url", os.environ["AWS_ENDPOINT_URL_DYNAMODB"]], capture_output=True, text=True
    )
    found = [] if audit.returncode == 0 else (audit.stdout + audit.stderr).splitlines()
    handler = load("list_sessions").handler
    for organization in ORGANIZATIONS:
        for agent in (None, AGENT, OTHER_AGENT):
            expected = [
                each
                for each in newest_first(present.values())
                if each["organization_id"] == organization and agent in (None, each["agent_id"])
            ]
            for offset in range(0, len(expected) + 8, 7):
                made = event(f"offset={offset}&limit=7" + (f"&agent_id={agent}" if agent else ""))
                made["requestContext"]["authorizer"] = {"organization_id": organization}
                with redirect_stdout(StringIO()):
                    body = response_of(handler(made, CONTEXT)).body
                if (body["data"], body["total"]) != (expected[offset : offset + 7], len(expected)):
                    found.append(f"{organization} {agent} {offset}: total {body['total']}, not {len(expected)}")
    return found


def without_conditions(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Return a transaction that writes markers even if they have changed since they were read."""
    actions = []
    for action in params["TransactItems"]:
        ((kind, parameters),) = action.items()
        dropped = () if kind == "Update" else ("ConditionExpression", "ExpressionAttributeValues")
        actions.append({kind: {name: value for name, value in parameters.items() if name not in dropped}})
    return params | {"TransactItems": actions}


def kill(kills: int, *, has_conditions: bool) -> tuple[Tally, list[str]]:
    """Count a stream with so many kills; return what was done and what is wrong afterwards."""
    chance = random.Random(SEED)
    shards, present = histories(chance)
    with engine.running() as client:
        for each in present.values():
            client.put_item(TableName="sessions", Item=item_of(each))
        function = load("count_sessions")
        if not has_conditions:
            events = function.counts._dynamodb.meta.events
            events.register("provide-client-params.dynamodb.TransactWriteItems", without_conditions)
        tally = deliver(shards, function.handler, kills, chance)
        return tally, differences(present)


def test_counts_are_exact_whatever_processes_are_killed(record: Record) -> None:
    tally, found = kill(KILLS, has_conditions=True)
    record(
        "kills",
        f"{tally.killed} of {tally.invocations} processes, {tally.from_earlier} times delivered again from earlier, "
        f"{tally.twice_at_once} batches in two processes at once; wrong: {len(found)}",
    )
    assert found == []
    assert min(tally.killed, 20 * tally.twice_at_once, 20 * tally.from_earlier) >= KILLS


def test_counts_are_wrong_without_the_condition_on_markers(record: Record) -> None:
    _, found = kill(100, has_conditions=False)
    record("kills without the markers' condition", f"{len(found)} differences found after 100 kills")
    assert found != []
