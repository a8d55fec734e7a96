"""Any history of sessions, with repeats, crashes, conflicts and rebuilds in it, ends in exact counts and pages.

A shard of the stream is a log; its consumer holds a position in it, delivers batches from there on in order,
may fall back to any earlier record, and may set records aside for the redrive. Whatever runs makes its calls
to DynamoDB through a client at which, between any two calls, anything else may happen: another process runs,
the call fails before or after it took effect, or the caller dies on the spot.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import redirect_stdout
from itertools import product
from typing import Any, cast

import pytest
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import sessions_cli.reconcile
from sessions.contract import PageRequest
from sessions.counting import writer as transactions
from sessions.counting.writer import CountWriter
from sessions.errors import Unavailable
from sessions.histograms import add, places
from sessions.paging.finder import Limits, PageResult, Pages
from sessions.schema import index_keys, marker_index_keys
from sessions_cli.audit import audit
from sessions_cli.dynamodb import Throttled
from sessions_cli.redrive import redrive
from sessions_cli.tables import Tables
from tests.counting.memory import Item, Memory, Paginator, client_error
from tests.counting.rows import numbers_of
from tests.service import CONTEXT, container

ORGANIZATIONS = ["org_1", "org_2"]
AGENTS = [f"agent_{digit * 32}" for digit in "12"]
TIMES = [
    "2026-10-31T23:59:59.999999Z",
    "2026-11-01T00:00:00.000000Z",
    "2026-11-23T16:41:46.463925Z",
    "2026-11-23T16:41:46.463926Z",
    "2026-11-23T16:41:50.000000Z",
    "2026-11-23T16:50:00.000000Z",
    "2026-11-23T17:00:00.000000Z",
]
SAME_FIVE_SECONDS = TIMES[2:4]
SESSIONS = [f"session_{number}" for number in range(1, 7)]
SHARDS = 2

ODD = ["organization_id", "organization_agent", "created_at_id", "another form", "a short key"]
"""What an item may lack, or have in a form that no writer should give it."""


class Died(Exception):
    """A process ended between two instructions; nothing in the code under test may catch this."""


class Client:
    """The client of one process: between its calls, and within them, things happen."""

    def __init__(self, memory: Memory, befall: Callable[[str, dict[str, Any]], str]) -> None:
        self._memory = memory
        self._befall = befall

    def get_paginator(self, operation: str) -> Paginator:
        return Paginator(getattr(self, operation))

    def describe_table(self, TableName: str) -> Any:  # noqa: N803
        return self._memory.describe_table(TableName)

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**parameters: Any) -> Any:
            fate = self._befall(operation, parameters)
            if fate == "dies before":
                raise Died
            if fate == "throttled":
                raise client_error("ThrottlingException", operation)
            if fate == "unreachable":
                raise ConnectTimeoutError(endpoint_url="")
            if fate == "ValidationError" or fate in TRANSACTION_FATES[:-1]:
                raise client_error("TransactionCanceledException", operation, [fate, "None"])
            if fate == "unprocessed":
                return _all_unprocessed(parameters)
            answer = getattr(self._memory, operation)(**parameters)
            if fate == "no answer":
                raise ReadTimeoutError(endpoint_url="")
            if fate == "no answer but 500":
                raise client_error("InternalServerError", operation, status=500)
            if fate == "dies after":
                raise Died
            return answer

        return call


def _sessions_of(operation: str, parameters: dict[str, Any]) -> list[str]:
    """The sessions that a call is about; all of them for one that names none."""
    keys: list[Item] = []
    if operation == "transact_write_items":
        actions = [next(iter(action.values())) for action in parameters["TransactItems"]]
        keys = [action.get("Key", action.get("Item")) for action in actions]
    elif operation == "batch_get_item":
        ((_, request),) = parameters["RequestItems"].items()
        keys = request["Keys"]
    ids = [key["id"]["S"] if "id" in key else key["scope"]["S"] for key in keys]
    return [each.removeprefix("session#") for each in ids if each.startswith("session")] or SESSIONS


def _all_unprocessed(parameters: dict[str, Any]) -> dict[str, Any]:
    return {"Responses": {}, "UnprocessedKeys": parameters["RequestItems"]}


TRANSACTION_FATES = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded", "no answer but 500"]
FATES = {
    "batch_get_item": ["dies before", "throttled", "unreachable", "unprocessed", "no answer", "dies after"],
    "scan": ["dies before", "dies after"],
    "transact_write_items": [
        *("dies before", "throttled", "unreachable", "no answer", "no answer", "no answer", "dies after"),
        *TRANSACTION_FATES,
    ],
}

Event = tuple[Any, ...]
EVENTS: list[Event] = [
    *[("fine",)] * 40,
    *[("deliver", shard, again) for shard in range(SHARDS) for again in (0, 0, 0, 1, 2, 4)] * 2,
    *[("delete", which) for which in range(3)] * 4,
    *[("delete and deliver", which) for which in range(3)] * 4,
    *[("replace", which, *keys) for which in range(2) for keys in product(ORGANIZATIONS, AGENTS, TIMES[1:3])],
    *[
        ("replace and deliver", which, *keys)
        for which in range(2)
        for keys in product(ORGANIZATIONS, AGENTS, TIMES[1:3])
    ],
    *[("rebuild",), ("redrive",)] * 4,
    *[("set aside", shard, 2) for shard in range(SHARDS)] * 2,
    *[("outage",)] * 2,
    *[("fate", fate) for fate in sorted({fate for fates in FATES.values() for fate in fates})] * 3,
    *[("fate", "no answer")] * 6,
]
"""What may happen at a call to DynamoDB, repeated for weight. A number says to which of the sessions that the
call is about."""

luck = st.lists(st.sampled_from(EVENTS), max_size=20)
"""What happens at one call after another; when it is used up, all goes well."""


class Shard:
    """A part of the stream: its records, and how far its consumer has come."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.position = 0
        self.is_busy = False
        """One batch of a shard at a time ('Using AWS Lambda with Amazon DynamoDB')."""


class Streams:
    """The streams client, for the redrive."""

    def __init__(self, shards: list[Shard]) -> None:
        self._shards = shards

    def get_shard_iterator(self, ShardId: str, SequenceNumber: str, **_: str) -> dict[str, Any]:  # noqa: N803
        return {"ShardIterator": f"{ShardId} {SequenceNumber}"}

    def get_records(self, ShardIterator: str) -> dict[str, Any]:  # noqa: N803
        shard, start = map(int, ShardIterator.split())
        records = self._shards[shard].records[start : start + 2]
        return {"Records": records, "NextShardIterator": f"{shard} {start + 2}"}


class Queue:
    """The queue client, for the redrive; every message is received once in a redrive."""

    def __init__(self, messages: dict[str, str]) -> None:
        self._messages = messages
        self._unseen = list(messages.items())

    def receive_message(self, **_: Any) -> dict[str, Any]:
        seen, self._unseen = self._unseen[:1], self._unseen[1:]
        return {"Messages": [{"MessageId": key, "ReceiptHandle": key, "Body": body} for key, body in seen]}

    def delete_message(self, QueueUrl: str, ReceiptHandle: str) -> None:  # noqa: N803
        self._messages.pop(ReceiptHandle, None)


class SameThread(Executor):
    """Runs what is submitted at once, and dies with it; Hypothesis decides what happens in one thread only."""

    def __init__(self, _workers: int = 1) -> None:
        pass

    def submit(self, work: Any, *arguments: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*arguments, **named))
        return done


class NoTimeLimit:
    """Runs everything in the thread of the test."""

    reads = SameThread()

    def run(self, work: Callable[[], Any]) -> Any:
        return work()


class Counted(RuleBasedStateMachine):
    """The service, its writers, its operators, and bad luck."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory(page=3)
        self.shards = [Shard() for _ in range(SHARDS)]
        self.queue: dict[str, str] = {}
        self.messages = 0
        self.rebuild_is_owed = False
        self.luck: list[Event] = []
        self.is_out = False
        self.refused: set[str] = set()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(sessions_cli.reconcile, "ThreadPoolExecutor", SameThread)
        # Few sessions make several reads, transactions and cursor pages, as many do.
        self.limits = transactions.Limits(actions=20, reads=3, tries=10)
        self.near = 0
        self.function = container("count_sessions")
        self.patch.setattr(self.function, "counts", None)

    def teardown(self) -> None:
        try:
            self.all_is_exact_when_the_stream_is_drained()
        finally:
            self.patch.undo()

    # ------------------------------------------------------------------------- what writers do

    @rule(
        session_id=st.sampled_from(SESSIONS),
        organization=st.sampled_from(ORGANIZATIONS),
        agent=st.sampled_from(AGENTS),
        time=st.sampled_from(TIMES + SAME_FIVE_SECONDS * 2),
        odd=st.sampled_from([None] * 6 + ODD),
    )
    def create(self, session_id: str, organization: str, agent: str, time: str, odd: str | None) -> None:
        """Creates a session; changes one that is there."""
        item = self.memory.tables["sessions"].get((session_id,))
        if item:
            self.memory.put_item("sessions", item | {"title": {"S": "changed"}})
            self._record("MODIFY", session_id, OldImage=item, NewImage=item)
            return
        fields = {
            "id": session_id,
            "organization_id": organization,
            "agent_id": agent,
            "status": "idle",
            "created_at": time,
            "updated_at": time,
            "organization_agent": f"{organization}#{agent}",
            "created_at_id": f"{time}#{session_id}",
        }
        if odd == "another form":
            fields |= {"organization_id": fields["organization_agent"], "organization_agent": organization}
        elif odd == "a short key":  # of 5 to 15 characters, where a month is named by 7, ten minutes by 15
            fields["created_at_id"] = time[: 2 * int(session_id[-1]) + 2] + session_id[-1]
        elif odd:
            del fields[odd]
        item = {name: {"S": value} for name, value in fields.items()}
        self.memory.put_item("sessions", item)
        self._record("INSERT", session_id, NewImage=item)

    @rule(session_id=st.sampled_from(SESSIONS))
    def delete(self, session_id: str) -> None:
        item = self.memory.tables["sessions"].get((session_id,))
        if item:
            self.memory.delete_item("sessions", {"id": item["id"]})
            self._record("REMOVE", session_id, OldImage=item)

    def _record(self, kind: str, session_id: str, **images: Item) -> None:
        records = self._shard_of(session_id).records
        stream = {"Keys": {"id": {"S": session_id}}, "SequenceNumber": str(len(records)), **images}
        records.append({"eventName": kind, "dynamodb": stream})

    # ------------------------------------------------------------------------- what the stream does

    @rule(luck=luck, shard=st.integers(0, SHARDS - 1), size=st.integers(1, 12), again=st.integers(0, 6))
    def deliver(self, luck: list[Event], shard: int, size: int, again: int) -> None:
        self._with(luck, lambda: self._deliver(self.shards[shard], size, again))

    @rule(shard=st.integers(0, SHARDS - 1), size=st.integers(1, 4))
    def set_aside(self, shard: int, size: int) -> None:
        self._set_aside(self.shards[shard], size)

    def _set_aside(self, shard: Shard, size: int) -> None:
        """The retries are used up: Lambda goes on behind the batch, and sends its place to the queue."""
        batch = shard.records[shard.position : shard.position + size]
        if batch and not shard.is_busy:
            shard.position += len(batch)
            self.messages += 1
            info = {
                "streamArn": "",
                "shardId": str(self.shards.index(shard)),
                "startSequenceNumber": batch[0]["dynamodb"]["SequenceNumber"],
                "endSequenceNumber": batch[-1]["dynamodb"]["SequenceNumber"],
            }
            self.queue[str(self.messages)] = json.dumps({"DDBStreamBatchInfo": info})

    def _deliver(self, shard: Shard, size: int, again: int) -> None:
        if shard.is_busy or not shard.records:
            return
        start = max(0, shard.position - again)
        batch = shard.records[start : start + size]
        if not batch:
            return
        shard.is_busy, shard.position = True, start
        self.function.counts = self._count_writer()
        try:
            with redirect_stdout(io.StringIO()):
                outcome = self.function.handler({"Records": batch}, CONTEXT)
        except Died:
            return
        finally:
            shard.is_busy = False
        failed = [int(each["itemIdentifier"]) for each in outcome["batchItemFailures"]]
        shard.position = min(failed, default=start + len(batch))

    # ------------------------------------------------------------------------- what operators do

    @rule(luck=luck)
    def rebuild(self, luck: list[Event]) -> None:
        self._with(luck, self._rebuild)

    @precondition(lambda self: self.queue)
    @rule(luck=luck)
    def redrive(self, luck: list[Event]) -> None:
        self._with(luck, self._redrive)

    def _rebuild(self) -> None:
        try:
            report = sessions_cli.reconcile.rebuild(self._tables(), rate=1e9, workers=1)
        except (Died, Throttled):
            self.rebuild_is_owed = True
        else:
            self.rebuild_is_owed = bool(report.failed)

    def _redrive(self) -> None:
        sqs, streams = cast(Any, Queue(self.queue)), cast(Any, Streams(self.shards))
        try:
            redrive(self._tables(), streams, sqs, "")
        except (Died, Throttled):
            return

    # ------------------------------------------------------------------------- bad luck

    @rule(session_id=st.sampled_from(SESSIONS))
    def refuse(self, session_id: str) -> None:
        """DynamoDB begins, or ceases, to refuse what is asked of it for one session."""
        self.refused ^= {session_id}

    def _with(self, luck: list[Event], work: Callable[[], None]) -> None:
        self.luck = luck[::-1]
        try:
            work()
        finally:
            self.luck, self.is_out = [], False

    def _tables(self) -> Tables:
        return Tables(self._client(), "sessions", "counts", sleep=lambda _: None)

    def _client(self) -> Any:
        return Client(self.memory, self._befall)

    def _befall(self, operation: str, parameters: dict[str, Any]) -> str:
        """What happens at a call: it fails, or something else happens first, or (mostly) nothing."""
        if operation == "batch_get_item":
            ((_, wanted),) = parameters["RequestItems"].items()
            assert wanted["ConsistentRead"]  # a weaker one may see anything
        fate = "fine"
        while self.luck:
            match self.luck.pop():
                case ("fate", chosen):
                    fate = chosen if chosen in FATES.get(operation, []) else "fine"
                    break
                case ("fine",):
                    break
                case event:
                    self._meanwhile(event, _sessions_of(operation, parameters))
        if operation == "transact_write_items" and self.refused & set(_sessions_of(operation, parameters)):
            return "ValidationError"
        return "throttled" if self.is_out and operation != "scan" else fate

    def _meanwhile(self, event: Event, sessions: list[str]) -> None:
        match event:
            case ("delete" | "delete and deliver" | "replace" | "replace and deliver" as what, which, *keys):
                session_id = sessions[which % len(sessions)]
                self.delete(session_id)
                if keys:
                    self.create(session_id, *keys, None)
                if what.endswith("deliver"):
                    self._deliver_beside(self._shard_of(session_id), again=0)
            case ("deliver", shard, again):
                self._deliver_beside(self.shards[shard], again)
            case ("set aside", shard, size):
                self._set_aside(self.shards[shard], size)
            case ("rebuild",):
                self._rebuild()
            case ("redrive",):
                self._redrive()
            case ("outage",):
                self.is_out = True  # until the end of this rule

    def _deliver_beside(self, shard: Shard, again: int) -> None:
        interrupted = self.function.counts
        self._deliver(shard, 12, again)
        self.function.counts = interrupted

    def _shard_of(self, session_id: str) -> Shard:
        return self.shards[int(session_id[-1]) % SHARDS]

    # ------------------------------------------------------------------------- what must hold

    @invariant()
    def every_bin_is_the_number_of_markers_that_say_so(self) -> None:
        said: Counter[tuple[tuple[str, str], str]] = Counter()
        for (_, bucket), row in self.memory.tables["counts"].items():
            if bucket == "S":
                add(said, marker_index_keys(row), 1)
        assert self._numbers() == {(*row, name): count for (row, name), count in said.items()}

    @rule(organization=st.sampled_from(ORGANIZATIONS), agent=st.sampled_from([None, *AGENTS]))
    def a_page_is_shifted_by_no_more_than_what_is_not_counted_yet(self, organization: str, agent: str | None) -> None:
        self._check_pages(organization, agent, limits=(1, 2))

    @rule(
        luck=luck,
        organization=st.sampled_from(ORGANIZATIONS),
        agent=st.sampled_from([None, *AGENTS]),
        offset=st.integers(0, len(SESSIONS)),
        limit=st.integers(1, 3),
    )
    def a_page_agrees_with_its_total_whatever_is_written_between_its_reads(
        self, luck: list[Event], organization: str, agent: str | None, offset: int, limit: int
    ) -> None:
        pages = self._pages(self._client())

        def look() -> None:
            try:
                listed = pages.page(organization, PageRequest(agent_id=agent, offset=str(offset), limit=str(limit)))
            except Unavailable:
                return
            got = [f"{each['created_at']}#{each['id']}" for each in listed.page["data"]]
            assert got == sorted(set(got), reverse=True)
            self._check_total(listed)

        self._with(luck, look)

    def _check_total(self, listed: PageResult) -> None:
        """Where a page proves that there are more entries, or no more, its total says so."""
        page, entries = listed.page, len(listed.page["data"]) + len(listed.invalid)
        if entries == 0:
            assert page["total"] <= page["offset"]
        elif entries < page["limit"]:
            assert page["total"] == page["offset"] + entries
        else:
            assert page["total"] >= page["offset"] + entries

    @rule()
    def all_is_exact_when_the_stream_is_drained(self) -> None:
        self.drain()
        self.everything_is_exact()

    def drain(self) -> None:
        """Bad luck has an end: the stream is delivered, the queue worked off, a rebuild that died run again."""
        self.refused.clear()
        for shard in self.shards:
            while shard.position < len(shard.records):
                self._deliver(shard, size=5, again=0)
        self._redrive()
        if self.rebuild_is_owed:
            self._rebuild()
        assert not self.queue
        assert not self.rebuild_is_owed

    def everything_is_exact(self) -> None:
        items = self.memory.tables["sessions"]
        keys = {session_id: index_keys(session_id, item) for (session_id,), item in items.items()}
        markers = {
            scope.removeprefix("session#"): marker_index_keys(row)
            for (scope, bucket), row in self.memory.tables["counts"].items()
            if bucket == "S"
        }
        assert markers == {session_id: each for session_id, each in keys.items() if each}
        assert self._numbers() == self._actual()
        assert audit(self._tables()).is_clean
        for organization in ORGANIZATIONS:
            for agent in (None, *AGENTS):
                assert self._check_pages(organization, agent, limits=(1, 2, 100)) == 0

    def _numbers(self) -> dict[tuple[str, str, str], int]:
        return numbers_of(self.memory.tables["counts"].values())

    def _actual(self) -> dict[tuple[str, str, str], int]:
        """The number of every bin as the indexes have it."""
        actual: Counter[tuple[str, str, str]] = Counter()
        for item in self.memory.tables["sessions"].values():
            for partition_key, has_agent in (("organization_id", False), ("organization_agent", True)):
                if partition_key in item and "created_at_id" in item:
                    scope = item[partition_key]["S"]
                    if ("#" in scope) == has_agent:
                        actual.update((scope, *place) for place in places(item["created_at_id"]["S"]))
        return dict(actual)

    def _pages(self, dynamodb: Any) -> Pages:
        limits = Limits(near=self.near, transferred_skip=1)
        return Pages(cast(Any, dynamodb), "sessions", "counts", limits, cast(Any, NoTimeLimit()))

    def _count_writer(self) -> CountWriter:
        return CountWriter(self._client(), "counts", sleep=lambda _: None, limits=self.limits)

    def _check_pages(self, organization: str, agent: str | None, limits: tuple[int, ...]) -> int:
        """Compares every page of a partition with the sorted list; returns how many entries are not counted right."""
        index, scope = ("organization_agent", f"{organization}#{agent}") if agent else ("organization_id", organization)
        actual = {
            item["created_at_id"]["S"]
            for item in self.memory.tables["sessions"].values()
            if item.get(index) == {"S": scope} and "created_at_id" in item
        }
        counted = [
            row["created_at_id"]["S"]
            for (_, bucket), row in self.memory.tables["counts"].items()
            if bucket == "S" and row.get(index) == {"S": scope}
        ]
        uncounted = len(actual.symmetric_difference(counted))
        entries = sorted(actual, reverse=True)
        pages = self._pages(self.memory)
        for limit in limits:
            for offset in range(len(entries) + 2):
                listed = pages.page(organization, PageRequest(agent_id=agent, offset=str(offset), limit=str(limit)))
                invalid = [each.id for each in listed.invalid]
                got = [f"{each['created_at']}#{each['id']}" for each in listed.page["data"]]
                total = listed.page["total"]
                if uncounted == 0:
                    wanted = entries[offset : offset + limit]
                    left_out = [self.memory.tables["sessions"][(each,)]["created_at_id"]["S"] for each in invalid]
                    assert sorted(got + left_out, reverse=True) == wanted
                    assert total == len(entries)
                if got and not invalid:
                    start = entries.index(got[0])
                    assert got == entries[start : start + len(got)]
                    assert abs(start - offset) <= uncounted
                self._check_total(listed)
                assert abs(total - len(entries)) <= uncounted
        return uncounted


class Start(Counted):
    """Begins with some sessions that were counted, as a service at work has."""

    @initialize(
        each=st.lists(
            st.tuples(*map(st.sampled_from, (ORGANIZATIONS, AGENTS, TIMES + SAME_FIVE_SECONDS * 2))),
            max_size=len(SESSIONS),
        ),
        near=st.sampled_from([0, 1]),
    )
    def begin(self, each: list[tuple[str, str, str]], near: int) -> None:
        self.near = near
        for session_id, keys in zip(SESSIONS, each, strict=False):
            self.create(session_id, *keys, None)
        self.all_is_exact_when_the_stream_is_drained()


TestCounting = Start.TestCase
TestCounting.settings = settings(settings(), max_examples=settings().max_examples * 20, stateful_step_count=25)
