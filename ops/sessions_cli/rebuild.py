"""Counts every session of the table, and uncounts those that are gone: the backfill and the repair."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Final

import click

from sessions.client import BATCH_GET_KEYS
from sessions.counting.transitions import Marker
from sessions.schema import BUCKET, ID, SCOPE, SEPARATOR, IndexKeys, index_keys, marker_session_id
from sessions_cli.bulk import RateLimiter, chunks, scan
from sessions_cli.progress import OnProgress, silent
from sessions_cli.reconcile import Reconciler, ReconcileReport
from sessions_cli.tables import DAY, Tables

RATE: Final = 500.0
"""Sessions a second unless told otherwise. Each transaction of an organization writes the row of its month, at 2 write
units; this rate leaves live counting most of the 1,000 units a second of a partition ('DynamoDB burst and adaptive
capacity')."""

WORKERS: Final = 4
"""Organizations at the same time unless told otherwise."""

Observed = tuple[str, Marker]
"""A session's id and the keys under which it is to be counted."""


class StillCounting(click.ClickException):
    """The counts table was written to while it was being emptied."""


def rebuild(
    tables: Tables,
    *,
    rate: float = RATE,
    workers: int = WORKERS,
    empty_first: bool = False,
    progress: OnProgress = silent,
) -> ReconcileReport:
    """Set every marker and bin to match the sessions table, and remove the rows of days of version 1.0.0.

    Safe beside live traffic, except for `empty_first`. One worker counts an organization, in time order, so that many
    sessions share a transaction. Keeps the keys of all sessions in memory: about half a gigabyte for a million.

    Args:
        rate: sessions a second at most, of all workers together.
        workers: organizations that are counted at the same time.
        empty_first: delete all rows of the counts table first, which is needed only if bins are wrong although their
            markers are right. Nothing else may count in the meantime: disable the stream's event source mapping, wait
            a minute for its last batch, and enable it afterwards.
    """
    tables.describe()
    if empty_first:
        empty(tables, progress)
    reconciler, limiter = Reconciler(tables), RateLimiter(rate)
    organizations = _by_organization(tables, progress)
    known = {session_id for sessions in organizations for session_id, _ in sessions}
    report = ReconcileReport(sessions=len(known))
    report += _count(organizations, reconciler, limiter, workers, progress)
    for page in tables.scan_counts("looking for counts without a session", progress):
        tables.delete_counts(row for row in page if row[BUCKET]["S"].startswith(DAY))
        marked = filter(None, map(marker_session_id, page))
        for chunk in chunks((each for each in marked if each not in known), BATCH_GET_KEYS):
            limiter.wait(len(chunk))
            report += reconciler.reconcile(chunk)
    return report


def _count(
    organizations: Sequence[Sequence[Observed]],
    reconciler: Reconciler,
    limiter: RateLimiter,
    workers: int,
    progress: OnProgress,
) -> ReconcileReport:
    """Set the markers of all sessions to the keys that were read, several organizations at a time."""
    lock, report, done = threading.Lock(), ReconcileReport(), 0
    total = sum(map(len, organizations))

    def count(sessions: Sequence[Observed]) -> None:
        nonlocal report, done
        for chunk in chunks(sessions, BATCH_GET_KEYS):
            limiter.wait(len(chunk))
            if limiter.is_stopped:
                return
            reconciled = reconciler.apply(dict(chunk))
            with lock:
                report += reconciled
                done += len(chunk)
                progress("counting sessions", done, total)

    with ThreadPoolExecutor(workers) as pool:
        pending = [pool.submit(count, sessions) for sessions in organizations]
        try:
            for future in as_completed(pending):
                future.result()
        except BaseException:
            limiter.stop()
            pool.shutdown(cancel_futures=True)
            raise
    return report


def _by_organization(tables: Tables, progress: OnProgress) -> list[list[Observed]]:
    """Return the sessions of each organization in time order, the largest organization first."""
    organizations: defaultdict[str, list[Observed]] = defaultdict(list)
    shared: dict[str | None, str | None] = {}  # one string for each organization and agent saves most of the memory
    for item in tables.scan_sessions(progress):
        session_id = item[ID]["S"]
        keys = index_keys(session_id, item)
        if keys is not None:
            first, second = (shared.setdefault(key, key) for key in keys[:2])
            keys = IndexKeys(first, second, keys.created_at_id)
        organizations[_organization_of(keys)].append((session_id, keys))
    for sessions in organizations.values():
        sessions.sort(key=lambda session: session[1].created_at_id if session[1] else "")
    return sorted(organizations.values(), key=len, reverse=True)


def _organization_of(keys: Marker) -> str:
    if keys is None:
        return ""
    return keys.organization_id or str(keys.organization_agent).partition(SEPARATOR)[0]


def empty(tables: Tables, progress: OnProgress = silent) -> None:
    """Delete every row of the counts table.

    A session that is counted in the meantime may lose its bins and keep its marker, which no rebuild would notice. The
    second scan finds a writer that is still at work.
    """
    for page in tables.scan_counts("emptying the counts", progress):
        tables.delete_counts(page)
    if any(scan(tables.dynamodb, tables.counts, (SCOPE, BUCKET))):
        raise StillCounting(
            "The counts table was written to while it was being emptied. Disable the event source mapping, wait a "
            "minute for its last batch, and run this again."
        )
