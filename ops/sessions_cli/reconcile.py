"""Sets the counts of sessions to match the sessions table, beside live traffic.

The marker of a session is set to the keys that were read from the session. After each write the session is read again,
strongly consistent, until the marker matches it. Sessions that are created, deleted or counted in the meantime do no
harm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sessions.counting.transitions import Marker
from sessions.counting.writer import CountWriter
from sessions_cli.tables import Tables


@dataclass
class ReconcileReport:
    """Numbers of sessions, and how they were counted."""

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
    """A writer of counts that match the sessions table."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._counts = CountWriter(tables.dynamodb, tables.counts)

    def reconcile(self, session_ids: Sequence[str]) -> ReconcileReport:
        """Read sessions, and set their markers to match."""
        return self.apply(self._tables.read_session_keys(session_ids))

    def apply(self, observed: Mapping[str, Marker]) -> ReconcileReport:
        """Set the markers of sessions to the keys that were read, and read again what was written."""
        report = ReconcileReport()
        waiting = dict(observed)
        updated: set[str] = set()
        while waiting:
            outcome = self._counts.apply(waiting, lambda _, keys: keys)
            report += ReconcileReport(transactions=outcome.transactions, retries=outcome.retries, failed=outcome.failed)
            for update in outcome.updated.values():
                report.added += update.before is None
                report.removed += update.after is None
                report.moved += update.before is not None and update.after is not None
            updated |= outcome.updated.keys()
            written = [each for each in waiting if each in outcome.attempted and each not in outcome.failed]
            now = self._tables.read_session_keys(written)
            waiting = {session_id: keys for session_id, keys in now.items() if keys != waiting[session_id]}
        report.unchanged = len(observed.keys() - updated - report.failed.keys())
        return report
