"""Any history of sessions, with repeats, crashes, conflicts and repairs in it, ends in exact counts and pages.

A shard of the stream is a log. Its consumer delivers batches in order, may fall back to an earlier record, and may set
records aside for the redrive. Every process calls DynamoDB through a client at which anything may happen between two
calls: another process runs, the call fails before or after it took effect, or the caller dies.
"""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from itertools import product
from typing import Any, cast

import pytest
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sessions import client
from sessions.contract import PageRequest
from sessions.counting import packing, writer
from sessions.counting.writer import CountWriter
from sessions.errors import Unavailable
from sessions.histograms import add
from sessions.paging import finder, index
from sessions.paging.finder import SessionFinder
from sessions.schema import index_keys, marker_index_keys
from sessions_cli.items import item_of
from tests.counting.records import deliver
from tests.counting.repairs import FailureQueue, Repairs, SameThread, Throttled
from tests.counting.rows import markers, numbers
from tests.memory import Hooked, Item, Memory, client_error
from tests.service import container, session

ORGANIZATIONS = ["org_1", "org_2"]
AGENTS = [f"agent_{digit * 32}" for digit in "12"]
TIMES = [
    "2026-10-31T23:59:59.999999Z",
    "2026-11-01T00:00:00.000000Z",
    *["2026-11-23T16:41:46.463925Z", "2026-11-23T16:41:46.463926Z"] * 3,  # within the same five seconds
    "2026-11-23T16:41:50.000000Z",
    "2026-11-23T16:50:00.000000Z",
    "2026-11-24T16:50:00.000000Z",
]
SESSIONS = [f"session_{number}" for number in range(1, 7)]
SHARDS = 2

ODD = ["organization_id", "organization_agent", "created_at_id", "another form", "a short key"]
"""What an item may lack, or have in a form that no writer should give it."""


class Died(Exception):
    """A process ended between two instructions; the code under test must not catch this."""


CANCELLED = ("ValidationError", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded")
FAILS_BEFORE: dict[str, Exception] = {
    "dies": Died(),
    "throttled": client_error("ThrottlingException", ""),
    "unreachable": ConnectTimeoutError(endpoint_url=""),
    **{reason: client_error("TransactionCanceledException", "", [reason, "None"]) for reason in CANCELLED},
}
FAILS_AFTER: dict[str, Exception] = {
    "dies after": Died(),
    "no response": ReadTimeoutError(endpoint_url=""),
    "500": client_error("InternalServerError", "", status=500),
}
FATES = {
    "batch_get_item": {"dies", "throttled", "unreachable", "unprocessed", "no response", "dies after"},
    "scan": {"dies", "dies after"},
    "transact_write_items": FAILS_BEFORE.keys() - {"ValidationError"} | FAILS_AFTER.keys(),
}

Event = tuple[Any, ...]
EVENTS: list[Event] = [
    *[("nothing",)] * 40,
    *[("deliver", shard, again) for shard in range(SHARDS) for again in (0, 0, 0, 1, 2, 4)] * 2,
    *[("change", which, None, delivered) for which in range(3) for delivered in (True, False)] * 4,
    *[
        ("change", which, keys, delivered)
        for which in range(2)
        for keys in product(ORGANIZATIONS, AGENTS, TIMES[1:3])
        for delivered in (True, False)
    ],
    *[("rebuild",), ("redrive",)] * 4,
    *[("set aside", shard, 2) for shard in range(SHARDS)] * 2,
    *[("outage",)] * 2,
    *[("fate", fate) for fate in sorted(set().union(*FATES.values()))] * 3,
    *[("fate", "no response")] * 6,
]
"""What may happen at a call to DynamoDB, repeated for weight. `which` names one of the sessions of the call."""

luck = st.lists(st.sampled_from(EVENTS), max_size=20)
"""What happens at one call after another; when it is used up, all goes well."""


class Shard:
    """A part of the stream: its records, and the position of its consumer."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.position = 0
        self.is_busy = False
        """One batch of a shard at a time ('Using AWS Lambda with Amazon DynamoDB')."""


def sessions_of(parameters: dict[str, Any]) -> list[str]:
    """Return the sessions that a call is about; all of them for one that names none."""
    text = json.dumps(parameters)
    return [each for each in SESSIONS if f'{each}"' in text] or SESSIONS


class Counting(RuleBasedStateMachine):
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
        self.hooked = cast(Any, Hooked(self.memory, self._around))
        self.repairs = Repairs(self.hooked, self.patch)
        self.patch.setattr(container("count_sessions"), "counts", CountWriter(self.hooked, "counts"))
        self.patch.setattr(client, "_executor", SameThread())
        self.patch.setattr(writer, "PAUSE", 0.0)
        # Few sessions take several reads, transactions and cursor pages, as many do.
        self.patch.setattr(writer, "BATCH_GET_KEYS", 3)
        self.patch.setattr(writer, "TRIES", 10)
        self.patch.setattr(packing, "ACTIONS_MAX", 16)
        self.patch.setattr(index, "TRANSFER_MAX", 1)

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:  # a failed step is reported alone
                self.all_is_exact_when_the_stream_is_drained()
        finally:
            self.patch.undo()

    @initialize(
        each=st.lists(st.tuples(*map(st.sampled_from, (ORGANIZATIONS, AGENTS, TIMES))), max_size=len(SESSIONS)),
        scan_max=st.sampled_from([0, 1]),
    )
    def begin(self, each: list[tuple[str, str, str]], scan_max: int) -> None:
        self.patch.setattr(finder, "SCAN_MAX", scan_max)
        for session_id, keys in zip(SESSIONS, each, strict=False):
            self.create(session_id, *keys, None)
        self.all_is_exact_when_the_stream_is_drained()

    # ------------------------------------------------------------------------------------- writers

    @rule(
        session_id=st.sampled_from(SESSIONS),
        organization=st.sampled_from(ORGANIZATIONS),
        agent=st.sampled_from(AGENTS),
        time=st.sampled_from(TIMES),
        odd=st.sampled_from([None] * 6 + ODD),
    )
    def create(self, session_id: str, organization: str, agent: str, time: str, odd: str | None) -> None:
        """Create a session, or update the one that is there."""
        item = self.memory.tables["sessions"].get((session_id,))
        if item:
            self.memory.put_item("sessions", item | {"title": {"S": "changed"}})
            self._record("MODIFY", session_id, OldImage=item, NewImage=item)
            return
        where = {"organization_id": organization, "agent_id": agent, "created_at": time}
        item = item_of(session(0, id=session_id, **where))
        if odd == "another form":
            item["organization_id"], item["organization_agent"] = item["organization_agent"], item["organization_id"]
        elif odd == "a short key":  # of 5 to 15 characters; a month is named by 7, ten minutes by 15
            item["created_at_id"] = {"S": time[: 2 * int(session_id[-1]) + 2] + session_id[-1]}
        elif odd:
            del item[odd]
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

    def _shard_of(self, session_id: str) -> Shard:
        return self.shards[int(session_id[-1]) % SHARDS]

    # ---------------------------------------------------------------------------------- the stream

    @rule(luck=luck, shard=st.integers(0, SHARDS - 1), size=st.integers(1, 12), again=st.integers(0, 6))
    def deliver(self, luck: list[Event], shard: int, size: int, again: int) -> None:
        self._with(luck, lambda: self._deliver(self.shards[shard], size, again))

    def _deliver(self, shard: Shard, size: int, again: int) -> None:
        start = max(0, shard.position - again)
        batch = shard.records[start : start + size]
        if shard.is_busy or not batch:
            return
        shard.is_busy, shard.position = True, start
        try:
            with redirect_stdout(io.StringIO()):
                failed = [int(each) for each in deliver(*batch)]
        except Died:
            return
        finally:
            shard.is_busy = False
        shard.position = min(failed, default=start + len(batch))

    @rule(shard=st.integers(0, SHARDS - 1), size=st.integers(1, 4))
    def set_aside(self, shard: int, size: int) -> None:
        """Use up the retries of a batch: Lambda goes on behind it, and sends its place to the queue."""
        start = self.shards[shard].position
        batch = self.shards[shard].records[start : start + size]
        if batch and not self.shards[shard].is_busy:
            self.shards[shard].position += len(batch)
            self.messages += 1
            place = {"startSequenceNumber": str(start), "endSequenceNumber": str(start + len(batch) - 1)}
            message = {"DDBStreamBatchInfo": {"streamArn": "", "shardId": str(shard), **place}}
            self.queue[str(self.messages)] = json.dumps(message)

    # ------------------------------------------------------------------------------------ operators

    @rule(luck=luck)
    def rebuild(self, luck: list[Event]) -> None:
        self._with(luck, self._rebuild)

    @precondition(lambda self: self.queue)
    @rule(luck=luck)
    def redrive(self, luck: list[Event]) -> None:
        self._with(luck, self._redrive)

    def _rebuild(self) -> None:
        try:
            self.rebuild_is_owed = bool(self.repairs.rebuild().failed)
        except (Died, Throttled):
            self.rebuild_is_owed = True

    def _redrive(self) -> None:
        queue = FailureQueue([shard.records for shard in self.shards], self.queue)
        try:
            self.repairs.redrive(queue, queue)
        except (Died, Throttled):
            return

    # ------------------------------------------------------------------------------------- bad luck

    @rule(session_id=st.sampled_from(SESSIONS))
    def refuse(self, session_id: str) -> None:
        """Begin, or cease, to refuse every transaction of a session."""
        self.refused ^= {session_id}

    def _with(self, luck: list[Event], work: Callable[[], None]) -> None:
        self.luck = luck[::-1]
        try:
            work()
        finally:
            self.luck, self.is_out = [], False

    def _around(self, operation: str, parameters: dict[str, Any], proceed: Callable[[], Any]) -> Any:
        fate = self._fate(operation, sessions_of(parameters))
        if fate in FAILS_BEFORE:
            raise FAILS_BEFORE[fate].with_traceback(None)
        if fate == "unprocessed":
            return {"Responses": {}, "UnprocessedKeys": parameters["RequestItems"]}
        response = proceed()
        if fate in FAILS_AFTER:
            raise FAILS_AFTER[fate].with_traceback(None)
        return response

    def _fate(self, operation: str, sessions: list[str]) -> str:
        """Let other things happen before a call, and return what happens to the call itself."""
        fate = ""
        while self.luck and not fate:
            match self.luck.pop():
                case ("fate", chosen):
                    fate = chosen if chosen in FATES.get(operation, ()) else "nothing"
                case ("nothing",):
                    fate = "nothing"
                case event:
                    self._meanwhile(event, sessions)
        if operation == "transact_write_items" and self.refused.intersection(sessions):
            return "ValidationError"
        return "throttled" if self.is_out and operation in ("batch_get_item", "transact_write_items") else fate

    def _meanwhile(self, event: Event, sessions: list[str]) -> None:
        match event:
            case ("change", which, keys, is_delivered):
                session_id = sessions[which % len(sessions)]
                self.delete(session_id)
                if keys:
                    self.create(session_id, *keys, None)
                if is_delivered:
                    self._deliver(self._shard_of(session_id), 12, again=0)
            case ("deliver", shard, again):
                self._deliver(self.shards[shard], 12, again)
            case ("set aside", shard, size):
                self.set_aside(shard, size)
            case ("rebuild",):
                self._rebuild()
            case ("redrive",):
                self._redrive()
            case ("outage",):
                self.is_out = True  # until the end of this rule

    # ------------------------------------------------------------------------------------- promises

    @invariant()
    def every_bin_is_the_number_of_its_markers(self) -> None:
        counted: Counter[tuple[tuple[str, str], str]] = Counter()
        for (_, bucket), row in self.memory.tables["counts"].items():
            if bucket == "S":
                add(counted, marker_index_keys(row), 1)
        assert numbers(self.memory) == {(*row, name): count for (row, name), count in counted.items()}

    @rule(
        luck=luck,
        organization=st.sampled_from(ORGANIZATIONS),
        agent=st.sampled_from([None, *AGENTS]),
        offset=st.integers(0, len(SESSIONS)),
        limit=st.integers(1, 3),
    )
    def a_page_agrees_with_its_total_whatever_is_written_meanwhile(
        self, luck: list[Event], organization: str, agent: str | None, offset: int, limit: int
    ) -> None:
        def check() -> None:
            try:
                self._find(self.hooked, organization, agent, offset, limit)
            except Unavailable:
                return

        self._with(luck, check)

    @rule()
    def all_is_exact_when_the_stream_is_drained(self) -> None:
        """Deliver the stream, redrive the queue and repeat a rebuild that failed; then compare everything."""
        self.refused.clear()
        for shard in self.shards:
            while shard.position < len(shard.records):
                self._deliver(shard, size=5, again=0)
        self._redrive()
        if self.rebuild_is_owed:
            self._rebuild()
        assert (self.queue, self.rebuild_is_owed) == ({}, False)
        counted = [
            session_id for (session_id,), item in self.memory.tables["sessions"].items() if index_keys(session_id, item)
        ]
        assert markers(self.memory) == set(counted)
        report = self.repairs.audit()
        assert (report.wrong_bins, report.uncounted, report.unknown) == ({}, {}, [])
        for organization, agent in product(ORGANIZATIONS, (None, *AGENTS)):
            name, scope = (
                ("organization_agent", f"{organization}#{agent}") if agent else ("organization_id", organization)
            )
            table = self.memory.tables["sessions"].values()
            listed = [each for each in table if each.get(name) == {"S": scope} and "created_at_id" in each]
            newest_first = sorted(listed, key=lambda item: item["created_at_id"]["S"], reverse=True)
            ids = [item["id"]["S"] for item in newest_first]
            for offset in range(len(ids) + 2):
                assert self._find(self.memory, organization, agent, offset, 2) == (
                    set(ids[offset : offset + 2]),
                    len(ids),
                )

    def _find(
        self, dynamodb: Any, organization: str, agent: str | None, offset: int, limit: int
    ) -> tuple[set[str], int]:
        """Return the sessions of a page, invalid ones included, and its total, which the page does not contradict."""
        request = PageRequest.model_validate({"agent_id": agent, "offset": str(offset), "limit": str(limit)})
        listing = SessionFinder(dynamodb, "sessions", "counts").find(organization, request)
        keys = [(each["created_at"], each["id"]) for each in listing.page["data"]]
        assert keys == sorted(set(keys), reverse=True)
        ids = {each["id"] for each in listing.page["data"]} | {each.id for each in listing.invalid}
        total = listing.page["total"]
        assert total >= offset + len(ids) if ids else total <= offset
        assert total == offset + len(ids) or len(ids) in (0, limit)
        return ids, total


TestCounting = Counting.TestCase
TestCounting.settings = settings(settings(), max_examples=settings().max_examples * 2, stateful_step_count=25)
