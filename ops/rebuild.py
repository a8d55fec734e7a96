"""Counts every session of the table, and uncounts what is no longer there: the backfill and the repair.

A session is looked at, its marker brought to what was seen, and whatever was written is looked at again,
strongly consistent, until what was written is what is there. So it does not matter what is created,
deleted or counted from the stream in the meantime; and a rebuild that was broken off is simply run again.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sessions.counting.transactions import TRIES, CountWriter, backoff
from sessions.counting.transitions import Marker, as_observed
from sessions.dynamodb import BATCH_GET_KEYS, batch_get, is_transient
from sessions.schema import (
    BUCKET,
    CREATED_AT_ID,
    ID,
    ORGANIZATION_AGENT,
    ORGANIZATION_ID,
    SCOPE,
    IndexKeys,
    Item,
    index_keys,
    marked_session,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SESSION_KEYS: Final = (ID, ORGANIZATION_ID, ORGANIZATION_AGENT, CREATED_AT_ID)
"""The attributes that say where a session is counted."""

RATE: Final = 500.0
"""Sessions a second unless told otherwise. A creation costs its organization's hottest row, the month's,
one transactional write of 2 units per transaction; this rate leaves live counting most of the 1,000 units a
second that a partition takes ('DynamoDB burst and adaptive capacity')."""

WORKERS: Final = 4

DELETES: Final = 25
"""Requests in one BatchWriteItem ('Quotas in Amazon DynamoDB')."""

Progress = Callable[[str, int, int | None], None]
"""Told what is being done, how many are done, and how many there are, where that is known."""


class StillCounting(Exception):
    """The counts table was written to while it was emptied."""


class Unreadable(Exception):
    """DynamoDB kept leaving keys unread."""


@dataclass
class Report:
    """What a rebuild found and did; every figure but the transactions and retries is in sessions."""

    sessions: int = 0
    """Sessions in the table."""
    added: int = 0
    moved: int = 0
    removed: int = 0
    unchanged: int = 0
    transactions: int = 0
    retries: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Sessions that could not be counted, and why."""

    def __add__(self, other: Report) -> Report:
        return Report(
            self.sessions + other.sessions,
            self.added + other.added,
            self.moved + other.moved,
            self.removed + other.removed,
            self.unchanged + other.unchanged,
            self.transactions + other.transactions,
            self.retries + other.retries,
            self.failed | other.failed,
        )


class Pace:
    """Lets work begin at a limited rate, from any thread."""

    def __init__(self, rate: float, sleep: Callable[[float], None] = time.sleep) -> None:
        self._seconds_each = 1 / rate
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = 0.0

    def wait(self, amount: int) -> None:
        """Returns when this much work may begin."""
        with self._lock:
            now = time.monotonic()
            begins_at = max(now, self._free_at)
            self._free_at = begins_at + amount * self._seconds_each
        self._sleep(begins_at - now)


class Settler:
    """Brings the counts of sessions to what the sessions table holds."""

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        sessions_table: str,
        counts_table: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._dynamodb = dynamodb
        self._sessions_table = sessions_table
        self._counts = CountWriter(dynamodb, counts_table, sleep)
        self._sleep = sleep

    def look(self, session_ids: Sequence[str]) -> dict[str, Marker]:
        """Where each session is to be counted, by a strongly consistent look at it.

        Raises:
            Unreadable: DynamoDB kept throttling; any other fault is raised as it is.
        """
        seen: dict[str, Marker] = {}
        for start in range(0, len(session_ids), BATCH_GET_KEYS):
            keys: list[Item] = [{"id": {"S": each}} for each in session_ids[start : start + BATCH_GET_KEYS]]
            for tries in range(1, TRIES + 1):
                items, unread = self._read(keys)
                missed = {key["id"]["S"] for key in unread}
                seen |= {key["id"]["S"]: None for key in keys if key["id"]["S"] not in missed}
                seen |= {item["id"]["S"]: index_keys(item["id"]["S"], item) for item in items}
                keys = unread
                if not keys:
                    break
                self._sleep(backoff(tries))
            else:
                raise Unreadable(f"{len(keys)} sessions could not be read.")
        return seen

    def settle(self, seen: Mapping[str, Marker]) -> Report:
        """Brings the markers of sessions to what was seen of them, and looks again after every write."""
        report = Report()
        waiting = dict(seen)
        moved: set[str] = set()
        while waiting:
            outcome = self._counts.apply({each: as_observed(keys) for each, keys in waiting.items()})
            report += Report(transactions=outcome.transactions, retries=outcome.retries, failed=outcome.failed)
            for move in outcome.updated.values():
                report.added += move.before is None
                report.removed += move.after is None
                report.moved += move.before is not None and move.after is not None
            moved |= outcome.updated.keys()
            written = [each for each in waiting if each in outcome.attempted and each not in outcome.failed]
            now = self.look(written)
            waiting = {each: keys for each, keys in now.items() if keys != waiting[each]}
        report.unchanged = len(seen.keys() - moved - report.failed.keys())
        return report

    def _read(self, keys: list[Item]) -> tuple[list[Item], list[Item]]:
        try:
            return batch_get(self._dynamodb, self._sessions_table, keys, SESSION_KEYS)
        except Exception as error:
            if is_transient(error):
                return [], keys
            raise


def rebuild(
    dynamodb: DynamoDBClient,
    sessions_table: str,
    counts_table: str,
    *,
    rate: float = RATE,
    workers: int = WORKERS,
    empty_first: bool = False,
    progress: Progress = lambda _what, _done, _of: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Report:
    """Brings every marker and counter to what the sessions table holds.

    Safe beside live traffic, except for `empty_first`. Keeps the keys of all sessions in memory: about
    half a gigabyte for a million.

    Args:
        rate: sessions a second to work at, of all workers together.
        workers: organizations that are worked on at the same time.
        empty_first: delete every count and marker before, which is needed only when counters drifted
            although their markers are right. Nothing else may count in the meantime: turn the stream's
            event source mapping off, wait a minute for its last batch, and turn it on after the emptying.

    Raises:
        StillCounting: something counted while the table was emptied; nothing was rebuilt.
    """
    if empty_first:
        empty(dynamodb, counts_table, progress=progress, sleep=sleep)
    settler, pace = Settler(dynamodb, sessions_table, counts_table, sleep), Pace(rate, sleep)
    organizations, seen = _sessions_by_organization(dynamodb, sessions_table, progress)
    report = Report(sessions=len(seen))
    lock, stopped = threading.Lock(), threading.Event()
    done = 0

    def settle(batch: Mapping[str, Marker]) -> None:
        nonlocal report, done
        pace.wait(len(batch))
        settled = settler.settle(batch)
        with lock:
            report += settled
            done += len(batch)
            progress("counting sessions", done, len(seen))

    def work(organization: list[tuple[str, Marker]]) -> None:
        for start in range(0, len(organization), BATCH_GET_KEYS):
            if stopped.is_set():
                return
            settle(dict(organization[start : start + BATCH_GET_KEYS]))

    with ThreadPoolExecutor(workers) as pool:
        pending = [pool.submit(work, organization) for organization in organizations]
        try:
            for each in as_completed(pending):
                each.result()
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)

    looked_at = 0
    for markers in _markers(dynamodb, counts_table):
        orphans = [session_id for session_id in markers if session_id not in seen]
        for start in range(0, len(orphans), BATCH_GET_KEYS):
            batch = orphans[start : start + BATCH_GET_KEYS]
            pace.wait(len(batch))
            report += settler.settle(settler.look(batch))
        looked_at += len(markers)
        progress("looking for counts without a session", looked_at, None)
    return report


def empty(
    dynamodb: DynamoDBClient,
    counts_table: str,
    *,
    progress: Progress = lambda _what, _done, _of: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Deletes every row of the counts table.

    A session that is counted meanwhile may lose its counters and keep its marker, and then no rebuild
    would see that it is missing. Hence the second look, which catches a writer that is still at work.

    Raises:
        StillCounting: the table has rows again.
    """
    deleted = 0
    for page in scan(dynamodb, counts_table, (SCOPE, BUCKET)):
        for start in range(0, len(page), DELETES):
            requests: list[Any] = [{"DeleteRequest": {"Key": key}} for key in page[start : start + DELETES]]
            for tries in range(1, TRIES + 1):
                requests = _left_of(dynamodb, counts_table, requests)
                if not requests:
                    break
                sleep(backoff(tries))
            else:
                raise Unreadable(f"{len(requests)} rows could not be deleted.")
        deleted += len(page)
        progress("emptying the counts", deleted, None)
    if any(page for page in scan(dynamodb, counts_table, (SCOPE, BUCKET))):
        raise StillCounting(
            "The counts table was written to while it was emptied. Turn the event source mapping off, wait a minute "
            "for its last batch, and run this again."
        )


def _left_of(dynamodb: DynamoDBClient, table: str, requests: list[Any]) -> list[Any]:
    """What DynamoDB did not carry out of a batch of writes."""
    try:
        answer: Any = dynamodb.batch_write_item(RequestItems={table: requests})
    except Exception as error:
        if is_transient(error):
            return requests
        raise
    left: list[Any] = answer.get("UnprocessedItems", {}).get(table, [])
    return left


def _sessions_by_organization(
    dynamodb: DynamoDBClient, sessions_table: str, progress: Progress
) -> tuple[list[list[tuple[str, Marker]]], set[str]]:
    """The sessions of every organization in time order, largest organization first; and the ids of all."""
    organizations: defaultdict[str, list[tuple[str, Marker]]] = defaultdict(list)
    texts: dict[str, str] = {}  # one object for each organization and agent, however many sessions have it
    seen: set[str] = set()
    for page in scan(dynamodb, sessions_table, SESSION_KEYS):
        for item in page:
            session_id = item["id"]["S"]
            keys = index_keys(session_id, item)
            if keys is not None:
                scopes = (value and texts.setdefault(value, value) for value in keys[:2])
                keys = IndexKeys(next(scopes), next(scopes), keys.created_at_id)
            organizations[_organization_of(keys)].append((session_id, keys))
            seen.add(session_id)
        progress("reading sessions", len(seen), None)
    for sessions in organizations.values():
        sessions.sort(key=lambda each: each[1].created_at_id if each[1] else "")
    return sorted(organizations.values(), key=len, reverse=True), seen


def _organization_of(keys: Marker) -> str:
    if keys is None:
        return ""
    return keys.organization_id or str(keys.organization_agent).partition("#")[0]


def _markers(dynamodb: DynamoDBClient, counts_table: str) -> Iterator[list[str]]:
    """The ids of the sessions that have a marker, a cursor page at a time."""
    for page in scan(dynamodb, counts_table, (SCOPE, BUCKET)):
        yield [found for found in map(marked_session, page) if found is not None]


def scan(dynamodb: DynamoDBClient, table: str, attributes: Iterable[str] = ()) -> Iterator[list[Item]]:
    """Every item of a table as it is now, by cursor page; all attributes unless some are named."""
    names = {f"#{name}": name for name in attributes}
    parameters: dict[str, Any] = {"TableName": table, "ConsistentRead": True}
    if names:
        parameters |= {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}
    while True:
        page: Any = dynamodb.scan(**parameters)
        yield page["Items"]
        if "LastEvaluatedKey" not in page:
            return
        parameters["ExclusiveStartKey"] = page["LastEvaluatedKey"]
