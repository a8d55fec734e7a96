"""Counting in processes that are killed at any moment, on batches that are delivered again and twice at once."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from sessions import client as dynamodb
from sessions.counting import writer as transactions
from sessions_cli import audit as auditing
from sessions_cli.load import item_of
from sessions_cli.tables import Tables
from tests.benchmarks import engine
from tests.service import AGENT, CONTEXT, OTHER_AGENT, container, event, newest_first, response_of, session

KILLS: Final = int(os.environ.get("KILLS", "520"))
SHARDS: Final = 3
ORGANIZATIONS: Final = ("org_" + "a" * 32, "org_" + "b" * 32)
SESSIONS: Final = 240
SEED: Final = 20261125

Record = Callable[[str, str], None]


@dataclass
class Shard:
    """A part of the stream, and how far it was delivered."""

    records: list[dict[str, Any]] = field(default_factory=list)
    position: int = 0


@dataclass
class Stream:
    """What happened to the sessions, and what is left of them."""

    shards: list[Shard]
    there: dict[str, dict[str, Any]]


def histories(chance: random.Random) -> Stream:
    """Sessions that are created, deleted and created again with other keys, in a few organizations and moments."""
    stream = Stream([Shard() for _ in range(SHARDS)], {})
    numbers = [number for number in range(SESSIONS) for _ in range(chance.choice((1, 1, 2, 3, 4)))]
    chance.shuffle(numbers)
    for sequence, number in enumerate(numbers, start=1):
        session_id = f"session_{number:032x}"
        before = stream.there.pop(session_id, None)
        if before is None:
            entry = session(
                number,
                organization_id=chance.choice(ORGANIZATIONS),
                agent_id=chance.choice((AGENT, OTHER_AGENT)),
                created_at=f"2026-{chance.choice(('10', '11'))}-01T00:0{chance.randint(0, 9)}:00.{number:06}Z",
            )
            stream.there[session_id] = entry
            kind, images = "INSERT", {"NewImage": item_of(entry)}
        else:
            kind, images = "REMOVE", {"OldImage": item_of(before)}
        keys = {"Keys": {"id": {"S": session_id}}, "SequenceNumber": str(sequence)}
        record = {"eventID": str(sequence), "eventName": kind, "dynamodb": keys | images}
        stream.shards[number % SHARDS].records.append(record)
    return stream


class Containers:
    """Processes that count a batch each; forked from this one, so that they start as quickly as Lambda's do."""

    def __init__(self, handler: Callable[[dict[str, Any], Any], dict[str, Any]]) -> None:
        self._handler = handler

    def start(self, batch: list[dict[str, Any]]) -> tuple[int, int]:
        """The process and the pipe that it answers on."""
        reading, writing = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writing)
            return pid, reading
        try:
            os.close(reading)
            with redirect_stdout(io.StringIO()):
                outcome = self._handler({"Records": batch}, CONTEXT)
            os.write(writing, json.dumps(outcome).encode())
        finally:
            os._exit(0)

    @staticmethod
    def end(pid: int, reading: int) -> list[str] | None:
        """What it reported as failed, or None when it was killed."""
        answer = b""
        while part := os.read(reading, 65536):
            answer += part
        os.close(reading)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status) or not answer:
            return None
        return [each["itemIdentifier"] for each in json.loads(answer)["batchItemFailures"]]


@dataclass
class Tally:
    """What was done to the processes."""

    invocations: int = 0
    killed: int = 0
    twice_at_once: int = 0
    from_earlier: int = 0


def deliver(stream: Stream, containers: Containers, kills: int, chance: random.Random) -> Tally:
    """Delivers every shard to its end, with so many kills on the way."""
    tally = Tally()
    usual = 0.1
    ends_at = time.monotonic() + 900
    while True:
        assert time.monotonic() < ends_at
        running = []
        for shard in stream.shards:
            if tally.killed < kills:
                if (shard.position and chance.random() < 0.15) or shard.position == len(shard.records):
                    shard.position = chance.randint(0, shard.position - 1)
                    tally.from_earlier += 1
            elif shard.position == len(shard.records):
                continue
            batch = shard.records[shard.position :][: chance.randint(1, 40)]
            both = 2 if tally.killed < kills and chance.random() < 0.25 else 1
            tally.twice_at_once += both == 2
            began = time.monotonic()
            running += [(shard, batch, began, containers.start(batch)) for _ in range(both)]
        if not running:
            return tally
        victims = [each for each in running if tally.killed < kills and chance.random() < 0.6]
        moments = sorted((each[2] + chance.uniform(0, 1.2 * usual), each[3][0]) for each in victims)
        for moment, pid in moments:
            time.sleep(max(0.0, moment - time.monotonic()))
            os.kill(pid, signal.SIGKILL)  # of a process that has ended and is not waited for yet, this does nothing
        ended: dict[int, list[list[str] | None]] = {}
        for shard, _, began, (pid, reading) in running:
            failed = containers.end(pid, reading)
            tally.invocations += 1
            tally.killed += failed is None
            if failed is not None and not victims:
                usual = 0.8 * usual + 0.2 * (time.monotonic() - began)
            ended.setdefault(id(shard), []).append(failed)
        for shard, batch, _, _ in running:
            outcomes = ended.pop(id(shard), None)
            if outcomes is None:
                continue
            if None in outcomes:
                continue  # delivered again
            numbers = [int(each["dynamodb"]["SequenceNumber"]) for each in batch]
            first = min((int(each) for failed in outcomes for each in failed or ()), default=None)
            shard.position += len(batch) if first is None else numbers.index(first)


def faults(stream: Stream) -> list[str]:
    """What the counts, markers and pages have wrong."""
    client = dynamodb.create_client()
    report = auditing.audit(Tables(client, "sessions", "counts"))
    found = [] if report.is_clean else [str(report)[:500]]
    handler = container("list_sessions").handler
    for organization in ORGANIZATIONS:
        for agent in (None, AGENT, OTHER_AGENT):
            expected = [
                entry
                for entry in newest_first(stream.there.values())
                if entry["organization_id"] == organization and agent in (None, entry["agent_id"])
            ]
            for offset in range(0, len(expected) + 8, 7):
                made = event(f"offset={offset}&limit=7" + (f"&agent_id={agent}" if agent else ""))
                made["requestContext"]["authorizer"] = {"organization_id": organization}
                with redirect_stdout(io.StringIO()):
                    body = response_of(handler(made, CONTEXT)).body
                if (body["data"], body["total"]) != (expected[offset : offset + 7], len(expected)):
                    found.append(f"{organization} {agent} {offset}: total {body['total']}, not {len(expected)}")
    return found


@pytest.fixture
def running(real_network: None) -> Iterator[None]:
    with engine.running():
        engine.create_tables()
        yield


def without_conditions(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A transaction that writes markers whatever they have become since they were read."""
    actions = []
    for action in params["TransactItems"]:
        ((kind, parameters),) = action.items()
        dropped = () if kind == "Update" else ("ConditionExpression", "ExpressionAttributeValues")
        actions.append({kind: {name: value for name, value in parameters.items() if name not in dropped}})
    return params | {"TransactItems": actions}


def prepared(
    chance: random.Random, monkeypatch: pytest.MonkeyPatch, *, has_conditions: bool = True
) -> tuple[Stream, Containers]:
    stream = histories(chance)
    writer = dynamodb.create_client()
    for entry in stream.there.values():
        writer.put_item(TableName="sessions", Item=item_of(entry))
    # Clients of this engine; nothing has been asked of them when a process is forked.
    client = dynamodb.create_client()
    if not has_conditions:
        events: Any = client.meta.events
        events.register("provide-client-params.dynamodb.TransactWriteItems", without_conditions)
    counts = transactions.CountWriter(client, "counts", time_limit=dynamodb.TimeLimit(30))
    pages = container("list_sessions").Pages(dynamodb.create_client(), "sessions", "counts")
    monkeypatch.setattr(container("count_sessions"), "counts", counts)
    monkeypatch.setattr(container("list_sessions"), "pages", pages)
    return stream, Containers(container("count_sessions").handler)


def test_counts_are_exact_whatever_processes_are_killed(
    running: None, monkeypatch: pytest.MonkeyPatch, record: Record
) -> None:
    chance = random.Random(SEED)
    stream, containers = prepared(chance, monkeypatch)
    tally = deliver(stream, containers, KILLS, chance)
    found = faults(stream)
    record(
        "kills",
        f"{tally.killed} of {tally.invocations} processes, {tally.from_earlier} times delivered again from earlier, "
        f"{tally.twice_at_once} batches in two processes at once; wrong: {len(found)}",
    )
    assert found == []
    assert tally.killed >= KILLS
    assert tally.twice_at_once > KILLS // 20
    assert tally.from_earlier > KILLS // 20


def test_without_the_condition_on_the_marker_the_same_is_noticed(
    running: None, monkeypatch: pytest.MonkeyPatch, record: Record
) -> None:
    chance = random.Random(SEED)
    stream, containers = prepared(chance, monkeypatch, has_conditions=False)
    deliver(stream, containers, 100, chance)
    found = faults(stream)
    record("a mutant without the marker's condition", f"{len(found)} faults found after 100 kills")
    assert found != []
