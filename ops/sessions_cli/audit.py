"""Compares sessions, markers and bins, and tells what is wrong from what is only not counted yet.

Two things are compared. **Markers with sessions**: a session without its marker, a marker without its session, or one
with other keys is what the stream has not delivered yet; only when the stream delivers nothing any more is it wrong.
**Bins with markers**: they change in the same transaction, so however far the stream is behind, each bin is the number
of markers that say so, and any other number is wrong.

Nothing can be read at one moment. So every difference is looked at again, and a bin is called wrong when it is off by
the same number both times, and nothing is counted in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from sessions.counting.transitions import Marker
from sessions.histograms import LEVELS as ALL_LEVELS
from sessions.histograms import places
from sessions.schema import BUCKET, MARKER_BUCKET, SCOPE, Item, marker_index_keys, marker_session_id
from sessions_cli.dynamodb import approximate_count, scan
from sessions_cli.progress import OnProgress, silent
from sessions_cli.tables import Bin, Tables

PAUSE: Final = 5.0
"""Seconds before the second look; the stream normally lags a second or two."""

LOOK_EVERY: Final = 2.0
"""Seconds between two looks while the stream is waited for."""

PATIENCE: Final = 60.0
"""Seconds in which nothing is counted, after which the stream is not waited for any longer."""

SHOWN: Final = 50
"""Differences that a report lists unless it is asked for all."""

LEVELS: Final = {level.letter: level for level in ALL_LEVELS}

NOT_COUNTED: Final = "not counted"

EARLIER_LETTERS: Final = ("M", "H", "N")
EARLIER_NUMBER: Final = "count"
"""An earlier version kept one number in each row, for months, hours and minutes."""


@dataclass
class AuditReport:
    """What was compared, and every difference."""

    sessions: int = 0
    markers: int = 0
    bins: int = 0
    wrong_bins: dict[Bin, int] = field(default_factory=dict)
    """Bins that are off by a number: positive counts too many."""
    changing_bins: set[Bin] = field(default_factory=set)
    """Bins that were off by another number each time: they are being counted."""
    uncounted: dict[str, str] = field(default_factory=dict)
    """Sessions whose marker is not what it will be, and how."""
    is_stalled: bool = False
    """Whether `uncounted` will stay so: nothing was counted while the stream was waited for."""
    earlier_rows: int = 0
    """Rows of an earlier version."""
    unknown: list[str] = field(default_factory=list)
    """What does not belong in the counts table."""

    @property
    def is_wrong(self) -> bool:
        """Whether anything is wrong that will not correct itself."""
        return bool(self.wrong_bins or self.unknown or self.earlier_rows or (self.is_stalled and self.uncounted))

    @property
    def is_clean(self) -> bool:
        """Whether everything agrees."""
        return not (self.is_wrong or self.uncounted or self.changing_bins)

    def differences(self) -> list[str]:
        """What is wrong, a line each."""
        return [
            *(
                f"bin {' '.join(wrong)}: {abs(off):,} too {'many' if off > 0 else 'few'}"
                for wrong, off in self.wrong_bins.items()
            ),
            *self.unknown,
            *(f"{session_id}: {how}" for session_id, how in self.uncounted.items() if self.is_stalled),
        ]

    def verdicts(self) -> Iterator[str]:
        """What to do, a sentence for each kind of difference."""
        if self.wrong_bins or self.unknown:
            yield "`sessions counts rebuild --empty-first` corrects bins (docs/operations.md)."
        if self.earlier_rows:
            yield (
                f"Rows of an earlier version: {self.earlier_rows:,}; "
                "`sessions counts rebuild --empty-first` removes them (docs/operations.md)."
            )
        if self.uncounted and self.is_stalled:
            yield (
                f"Not counted, and none of them was for {PATIENCE:.0f} seconds: {len(self.uncounted):,}; `sessions "
                "status` shows whether the stream delivers. `sessions counts rebuild` counts them."
            )
        elif self.uncounted:
            yield f"Not counted yet: {len(self.uncounted):,}; --wait waits for the stream."
        if self.changing_bins:
            yield f"Bins that were being counted: {len(self.changing_bins):,}; try again when there is less traffic."


def audit(tables: Tables, *, wait: bool = False, progress: OnProgress = silent) -> AuditReport:
    """Compares every session, marker and bin; changes nothing.

    Keeps the keys of all sessions, and the bins that do not agree yet, in memory: about a gigabyte for a million.

    Args:
        wait: until the stream has delivered what is missing, or nothing any more.

    Raises:
        Throttled: DynamoDB kept throttling.
    """
    look = _Look(tables, progress)
    report = look.report
    if report.uncounted or look.off:
        tables.sleep(PAUSE)
    _look_again(tables, report)
    if wait:
        _wait_for_stream(tables, report, progress)
    if look.off:
        again = _Look(tables, progress, watched=look.off.keys())
        suspects = {suspect for suspect, off in look.off.items() if again.off.get(suspect) == off}
        report.changing_bins = look.off.keys() & again.off.keys() - suspects
        _tell_wrong_from_changing(tables, report, again, suspects)
    return report


def _tell_wrong_from_changing(tables: Tables, report: AuditReport, again: _Look, suspects: set[Bin]) -> None:
    """A bin that was off by the same number twice may yet be one that is counted all the time."""
    if not suspects:
        return
    tables.sleep(PAUSE)
    now = tables.read_bins({(suspect.scope, suspect.bucket) for suspect in suspects})
    for suspect in sorted(suspects):
        if now.get(suspect, 0) == again.stored.get(suspect, 0):
            report.wrong_bins[suspect] = again.off[suspect]
        else:
            report.changing_bins.add(suspect)


def _wait_for_stream(tables: Tables, report: AuditReport, progress: OnProgress) -> None:
    total, waited = len(report.uncounted), 0.0
    while report.uncounted:
        before = len(report.uncounted)
        progress("waiting for the stream", total - before, total)
        tables.sleep(LOOK_EVERY)
        _look_again(tables, report)
        waited = 0.0 if len(report.uncounted) < before else waited + LOOK_EVERY
        if waited >= PATIENCE:
            report.is_stalled = True
            return


def _look_again(tables: Tables, report: AuditReport) -> None:
    """Leaves only those sessions whose marker is still not what it will be."""
    ids = list(report.uncounted)
    markers, sessions = tables.read_markers(ids), tables.read_session_keys(ids)
    report.markers += sum(marker is not None for marker in markers.values())
    report.markers -= sum(how != NOT_COUNTED for how in report.uncounted.values())
    found = ((session_id, _difference(markers[session_id], sessions[session_id])) for session_id in ids)
    report.uncounted = {session_id: how for session_id, how in found if how is not None}


def _difference(marker: Marker, session: Marker) -> str | None:
    """How a marker and its session differ; None when they do not."""
    if marker == session:
        return None
    if session is None:
        return "counted, and not in the table"
    return NOT_COUNTED if marker is None else "counted under other keys"


class _Look:
    """One look at both tables."""

    def __init__(self, tables: Tables, progress: OnProgress, watched: Collection[Bin] = ()) -> None:
        """
        Args:
            watched: bins whose numbers are remembered.
        """
        self._watched = watched
        self.stored: dict[Bin, int] = {}
        self.report = AuditReport()
        self.off: Counter[Bin] = Counter()
        """How many sessions each bin counts too many; none of them is 0."""
        sessions: dict[str, Marker] = {}
        for session_id, keys in tables.scan_sessions(progress):
            self.report.sessions += 1
            if keys is not None:
                sessions[session_id] = keys
        done, total = 0, approximate_count(tables.dynamodb, tables.counts)
        for page in scan(tables.dynamodb, tables.counts):
            for row in page:
                if row[BUCKET]["S"] == MARKER_BUCKET:
                    self._compare_marker(row, sessions)
                else:
                    self._compare_row(row)
            done += len(page)
            progress("comparing counts", done, total)
        self.report.uncounted |= dict.fromkeys(sessions, NOT_COUNTED)

    def _compare_marker(self, row: Item, sessions: dict[str, Marker]) -> None:
        """Strikes the marker's session off the list, and says how they differ, if they do."""
        session_id, marker = marker_session_id(row), marker_index_keys(row)
        if session_id is None:
            self.report.unknown.append(f"row {row[SCOPE]['S']} {row[BUCKET]['S']}: not a row of this table")
            return
        self.report.markers += 1
        how = _difference(marker, sessions.pop(session_id, None))
        if how is not None:
            self.report.uncounted[session_id] = how
        if marker is not None:
            for bucket, name in places(marker.created_at_id):
                for scope in marker.scopes:
                    self._add(Bin(scope, bucket, name), -1)

    def _compare_row(self, row: Item) -> None:
        scope, bucket = row[SCOPE]["S"], row[BUCKET]["S"]
        level = LEVELS.get(bucket[:1])
        for name in row.keys() - {SCOPE, BUCKET}:
            value = row[name].get("N")
            if name == EARLIER_NUMBER and bucket[:1] in EARLIER_LETTERS:
                self.report.earlier_rows += 1
            elif level is None or name not in level.bins or value is None:
                self.report.unknown.append(f"row {scope} {bucket}: {name} is not a bin")
            else:
                self.report.bins += 1
                self._add(Bin(scope, bucket, name), int(value))
                if Bin(scope, bucket, name) in self._watched:
                    self.stored[Bin(scope, bucket, name)] = int(value)

    def _add(self, which: Bin, number: int) -> None:
        self.off[which] += number
        if not self.off[which]:
            del self.off[which]
