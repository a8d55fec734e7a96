"""Counting in processes that are killed at any moment, on batches that are delivered again and twice at once."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from multiprocessing import get_context
from multiprocessing.connection import Connection
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import pytest

from tests.benchmarks import engine
from tests.service import (
    AGENT,
    CONTEXT,
    OTHER_AGENT,
    item_of,
    list_event,
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
FORK: Final = get_context("fork")
SEED: Final = 20261125

pytestmark = pytest.mark.long


Stream = list[list[dict[str, Any]]]
"""Records by shard."""


def histories(chance: random.Random) -> tuple[Stream, dict[str, dict[str, Any]]]:
    """Return a stream in which sessions are created, deleted and created with other keys, and what is left of them."""
    shards: Stream = [[] for _ in range(SHARDS)]
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
        shards[number % SHARDS].append(record)
    return shards, present


class Container:
    """A process that counts one batch, forked from this one so that it starts as quickly as Lambda's."""

    def __init__(self, handler: Callable[..., Any], batch: list[dict[str, Any]]) -> None:
        self._pipe, writing = FORK.Pipe(duplex=False)
        self.process = FORK.Process(target=self._count, args=(writing, handler, batch))
        self.process.start()
        writing.close()
        self.began = time.monotonic()

    @staticmethod
    def _count(writing: Connection, handler: Callable[..., Any], batch: list[dict[str, Any]]) -> None:
        with redirect_stdout(StringIO()):
            outcome = handler({"Records": batch}, CONTEXT)
        writing.send([each["itemIdentifier"] for each in outcome["batchItemFailures"]])

    def failures(self) -> list[str] | None:
        """Return what it reported as failed, or None if it was killed."""
        try:
            failed: list[str] = self._pipe.recv()
        except EOFError:
            return None
        finally:
            self._pipe.close()
            self.process.join()
        return failed


def deliver(shards: Stream, handler: Callable[..., Any], kills: int, chance: random.Random) -> Counter[str]:
    """Deliver every shard to its end, with so many kills on the way; return what was done to the processes."""
    tally: Counter[str] = Counter()
    positions = [0] * len(shards)
    usual = 0.1
    while True:
        running: list[tuple[int, list[dict[str, Any]], list[Container]]] = []
        for number, records in enumerate(shards):
            at_end = positions[number] == len(records)
            is_killing = tally["killed"] < kills
            if at_end and not is_killing:
                continue
            if is_killing and positions[number] and (at_end or chance.random() < 0.15):
                positions[number] = chance.randint(0, positions[number] - 1)
                tally["from earlier"] += 1
            batch = records[positions[number] :][: chance.randint(1, 40)]
            times = 2 if is_killing and chance.random() < 0.25 else 1
            tally["twice at once"] += times == 2
            running.append((number, batch, [Container(handler, batch) for _ in range(times)]))
        if not running:
            return tally
        containers = [each for _, _, several in running for each in several]
        victims = [each for each in containers if tally["killed"] < kills and chance.random() < 0.6]
        moments = [each.began + chance.uniform(0, 1.2 * usual) for each in victims]
        for moment, victim in sorted(zip(moments, victims, strict=True), key=itemgetter(0)):
            time.sleep(max(0.0, moment - time.monotonic()))
            victim.process.kill()  # does nothing to a process that has ended
        for number, batch, several in running:
            outcomes = [each.failures() for each in several]
            tally["processes"] += len(outcomes)
            tally["killed"] += outcomes.count(None)
            if not victims:
                usual = 0.8 * usual + 0.2 * (time.monotonic() - several[0].began)
            if None not in outcomes:  # otherwise the batch is delivered again
                numbers = [each["dynamodb"]["SequenceNumber"] for each in batch]
                first = min((each for failed in outcomes for each in failed or ()), key=int, default=None)
                positions[number] += len(batch) if first is None else numbers.index(first)


def differences(present: dict[str, dict[str, Any]]) -> list[str]:
    """Return what audit and pages have wrong."""
    command = [str(Path(sys.executable).with_name("sessions")), "counts", "audit"]
    audit = subprocess.run(
        [*command, "--endpoint-url", os.environ["AWS_ENDPOINT_URL_DYNAMODB"]], capture_output=True, text=True
    )
    found = [] if audit.returncode == 0 else (audit.stdout + audit.stderr).splitlines()
    handler = load("list_sessions").handler
    for organization, agent in itertools.product(ORGANIZATIONS, ("", AGENT, OTHER_AGENT)):
        expected = [
            each
            for each in newest_first(present.values())
            if each["organization_id"] == organization and agent in ("", each["agent_id"])
        ]
        for offset in range(0, len(expected) + 8, 7):
            made = list_event(f"offset={offset}&limit=7&agent_id={agent}", {"organization_id": organization})
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


def kill(kills: int, *, has_conditions: bool) -> tuple[Counter[str], list[str]]:
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


def test_counts_are_exact_whatever_processes_are_killed(capsys: pytest.CaptureFixture[str]) -> None:
    tally, found = kill(KILLS, has_conditions=True)
    with capsys.disabled():
        print(f"\n{dict(tally)}; wrong: {len(found)}")
    assert found == []
    assert min(tally["killed"], 20 * tally["twice at once"], 20 * tally["from earlier"]) >= KILLS


def test_counts_are_wrong_without_the_condition_on_markers(capsys: pytest.CaptureFixture[str]) -> None:
    _, found = kill(100, has_conditions=False)
    with capsys.disabled():
        print(f"\n{len(found)} differences found after 100 kills without the markers' condition")
    assert found != []
