"""Counts every session of the table, and uncounts what is no longer there: the backfill and the repair.

A session is looked at, its marker brought to what was seen, and whatever was written is looked at again, strongly
consistent, until what was written is what is there. So it does not matter what is created, deleted or counted from the
stream in the meantime; and a rebuild that was interrupted is simply run again.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Final

from sessions.counting.transitions import Marker, as_observed
from sessions.counting.writer import CountWriter
from sessions.schema import BUCKET, SCOPE, SEPARATOR, IndexKeys, Item, marker_session_id
from sessions_cli.dynamodb import BATCH_WRITES, RateLimiter, approximate_count, scan, write_batch
from sessions_cli.errors import CommandError
from sessions_cli.progress import OnProgress, silent
from sessions_cli.tables import Tables, chunks

RATE: Final = 500.0
"""Sessions a second unless told otherwise. A creation costs its organization's hottest row, the month's, one
transactional write of 2 units per transaction; this rate leaves live counting most of the 1,000 units a second that a
partition takes ('DynamoDB burst and adaptive capacity')."""

WORKERS: Final = 4


class StillCounting(CommandError):
    """The counts table was written to while it was emptied."""


@dataclass
class ReconcileReport:
    """What was found and done; every figure but the transactions and retries is in sessions."""

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

    def __iadd__(self, other: ReconcileReport) -> ReconcileReport:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) | value if isinstance(value, dict) else getattr(self, name) + value)
        return self

    def __str__(self) -> str:
        return (
            f"{self.sessions:,} sessions: {self.unchanged:,} were correct, {self.added:,} added, "
            f"{self.moved:,} moved, {self.removed:,} removed, in {self.transactions:,} transactions"
        )


class Reconciler:
    """Brings the counts of sessions to what the sessions table holds."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._counts = CountWriter(tables.dynamodb, tables.counts)

    def reconcile(self, session_ids: Sequence[str]) -> ReconcileReport:
        """Brings the markers of sessions to what the sessions are now.

        Raises:
            Throttled: DynamoDB kept throttling.
        """
        return self.apply(self._tables.read_session_keys(session_ids))

    def apply(self, observed: Mapping[str, Marker]) -> ReconcileReport:
        """Brings the markers of sessions to what was seen of them, and looks again after every write."""
        report = ReconcileReport()
        waiting = dict(observed)
        updated: set[str] = set()
        while waiting:
            outcome = self._counts.apply(waiting, as_observed)
            report += ReconcileReport(transactions=outcome.transactions, retries=outcome.retries, failed=outcome.failed)
            for update in outcome.updated.values():
                report.added += update.before is None
                report.removed += update.after is None
                report.moved += update.before is not None and update.after is not None
            updated |= outcome.updated.keys()
            written = [
                session_id
                for session_id in waiting
                if session_id in outcome.attempted and session_id not in outcome.failed
            ]
            now = self._tables.read_session_keys(written)
            waiting = {session_id: keys for session_id, keys in now.items() if keys != waiting[session_id]}
        report.unchanged = len(observed.keys() - updated - report.failed.keys())
        return report


def rebuild(
    tables: Tables,
    *,
    rate: float = RATE,
    workers: int = WORKERS,
    empty_first: bool = False,
    progress: OnProgress = silent,
) -> ReconcileReport:
    """Brings every marker and bin to what the sessions table holds.

    Safe beside live traffic, except for `empty_first`. An organization is worked on in time order by one worker, so
    that its bins merge. Keeps the keys of all sessions in memory: about half a gigabyte for a million.

    Args:
        rate: sessions a second to work at, of all workers together.
        workers: organizations that are worked on at the same time.
        empty_first: delete every row of the counts table before, which is needed only when bins drifted although their
            markers are right, and to be rid of the rows of an earlier version. Nothing else may count in the meantime:
            turn the stream's event source mapping off, wait a minute for its last batch, and turn it on afterwards.

    Raises:
        StillCounting: something counted while the table was emptied; nothing was rebuilt.
        Throttled: DynamoDB kept throttling.
    """
    if empty_first:
        empty(tables, progress)
    stopped = threading.Event()
    reconciler, limiter = Reconciler(tables), RateLimiter(rate, stopped.wait)
    organizations, known = _by_organization(tables, progress)
    report = ReconcileReport(sessions=len(known))
    report += _count_sessions(organizations, reconciler, limiter, stopped, workers, progress)
    for session_ids in _marked_sessions(tables, progress):
        for chunk in chunks([session_id for session_id in session_ids if session_id not in known]):
            limiter.wait(len(chunk))
            report += reconciler.reconcile(chunk)
    return report


def _count_sessions(
    organizations: Sequence[Sequence[tuple[str, Marker]]],
    reconciler: Reconciler,
    limiter: RateLimiter,
    stopped: threading.Event,
    workers: int,
    progress: OnProgress,
) -> ReconcileReport:
    """Brings the markers of all sessions to what was seen of them, several organizations at a time.

    Args:
        stopped: set when a worker fails or the command is interrupted; it ends the others and the limiter's waits.
    """
    lock, report, done = threading.Lock(), ReconcileReport(), 0
    total = sum(map(len, organizations))

    def work(sessions: Sequence[tuple[str, Marker]]) -> None:
        nonlocal report, done
        observed = dict(sessions)
        for chunk in chunks(list(observed)):
            limiter.wait(len(chunk))
            if stopped.is_set():
                return
            reconciled = reconciler.apply({session_id: observed[session_id] for session_id in chunk})
            with lock:
                report += reconciled
                done += len(chunk)
                progress("counting sessions", done, total)

    with ThreadPoolExecutor(workers) as pool:
        pending = [pool.submit(work, sessions) for sessions in organizations]
        try:
            for future in as_completed(pending):
                future.result()
        except BaseException:
            stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    return report


def empty(tables: Tables, progress: OnProgress = silent) -> None:
    """Deletes every row of the counts table.

    A session that is counted meanwhile may lose its bins and keep its marker, and then no rebuild would see that it is
    missing. Hence the second look, which catches a writer that is still at work.

    Raises:
        StillCounting: the table has rows again.
        Throttled: DynamoDB kept throttling.
    """
    deleted, total = 0, approximate_count(tables.dynamodb, tables.counts)
    for page in scan(tables.dynamodb, tables.counts, (SCOPE, BUCKET)):
        for start in range(0, len(page), BATCH_WRITES):
            requests = [{"DeleteRequest": {"Key": key}} for key in page[start : start + BATCH_WRITES]]
            write_batch(tables.dynamodb, tables.counts, requests, tables.sleep)
        deleted += len(page)
        progress("emptying the counts", deleted, total)
    if any(page for page in scan(tables.dynamodb, tables.counts, (SCOPE, BUCKET))):
        raise StillCounting(
            "The counts table was written to while it was emptied. Turn the event source mapping off, wait a minute "
            "for its last batch, and run this again."
        )


def _by_organization(tables: Tables, progress: OnProgress) -> tuple[list[list[tuple[str, Marker]]], set[str]]:
    """The sessions of every organization in time order, largest organization first; and the ids of all."""
    organizations: defaultdict[str, list[tuple[str, Marker]]] = defaultdict(list)
    shared: dict[str | None, str | None] = {}  # one text for each organization and agent, however many sessions it has
    known: set[str] = set()
    for session_id, keys in tables.scan_sessions(progress):
        if keys is not None:
            first, second = (shared.setdefault(key, key) for key in keys[:2])
            keys = IndexKeys(first, second, keys.created_at_id)
        organizations[_organization_of(keys)].append((session_id, keys))
        known.add(session_id)
    for sessions in organizations.values():
        sessions.sort(key=lambda session: session[1].created_at_id if session[1] else "")
    return sorted(organizations.values(), key=len, reverse=True), known


def _organization_of(keys: Marker) -> str:
    if keys is None:
        return ""
    return keys.organization_id or str(keys.organization_agent).partition(SEPARATOR)[0]


def _marked_sessions(tables: Tables, progress: OnProgress) -> Iterator[list[str]]:
    """The ids of the sessions that have a marker, a cursor page at a time."""
    seen, total = 0, approximate_count(tables.dynamodb, tables.counts)
    page: list[Item]
    for page in scan(tables.dynamodb, tables.counts, (SCOPE, BUCKET)):
        yield [session_id for session_id in map(marker_session_id, page) if session_id is not None]
        seen += len(page)
        progress("looking for counts without a session", seen, total)
