"""Compares sessions, markers and bins, and tells wrong counts from sessions not counted yet.

Two things are compared. Markers with sessions: a session without its marker, a marker without its session, or one with
other keys is what the stream has not delivered yet, and wrong only if the stream delivers nothing any more. Bins with
markers: both change in one transaction, so each bin is the number of markers that it counts, however far the stream is
behind, and any other number is wrong.

The tables cannot be read at one moment, so every difference is checked again: a bin is wrong if it is off by the same
number both times while nothing is counted in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from time import sleep
from typing import Final

from sessions.counting.transitions import Marker
from sessions.histograms import LEVELS, places
from sessions.schema import (
    BUCKET,
    ID,
    MARKER_BUCKET,
    SCOPE,
    Item,
    index_keys,
    marker_index_keys,
    marker_session_id,
    unlisted_reason,
)
from sessions_cli.progress import OnProgress, silent
from sessions_cli.tables import DAY, Bin, Tables, bin_number

PAUSE: Final = 5.0
"""Seconds before differences are checked again; the stream normally lags a second or two."""

POLL_SECONDS: Final = 2.0
"""Seconds between two reads while waiting for the stream."""

PATIENCE: Final = 60.0
"""Seconds without a counted session before giving up on the stream."""

SHOWN: Final = 50
"""Differences that a report lists unless told otherwise."""

NOT_COUNTED: Final = "not counted"

BIN_NAMES: Final = {level.letter: frozenset(level.bins) for level in LEVELS}
"""The names of the bins of each level, by the letter of its buckets."""


@dataclass
class AuditReport:
    """The result of an audit: numbers of what was compared, and every difference."""

    sessions: int = 0
    markers: int = 0
    bins: int = 0
    wrong_bins: dict[Bin, int] = field(default_factory=dict)
    """Bins that are off by a number; a positive one means too many."""
    changing_bins: set[Bin] = field(default_factory=set)
    """Bins that were off by another number each time, because they are being counted."""
    uncounted: dict[str, str] = field(default_factory=dict)
    """Sessions whose marker is not up to date, and how they differ."""
    is_stalled: bool = False
    """Whether nothing was counted while waiting for the stream."""
    unlisted: dict[str, str] = field(default_factory=dict)
    """Items that are missing from a list, and why."""
    earlier_rows: int = 0
    """Rows of days, of version 1.0.0."""
    unknown: list[str] = field(default_factory=list)
    """Rows and attributes that do not belong in the counts table."""

    @property
    def is_wrong(self) -> bool:
        """Whether anything is wrong that will not correct itself."""
        stalled = self.is_stalled and self.uncounted
        return bool(self.wrong_bins or self.unknown or self.earlier_rows or self.unlisted or stalled)

    @property
    def is_clean(self) -> bool:
        """Whether everything agrees."""
        return not (self.is_wrong or self.uncounted or self.changing_bins)

    def differences(self) -> list[str]:
        """Return what is wrong, one line for each difference."""
        return [
            *(
                f"bin {' '.join(wrong)}: {abs(off):,} too {'many' if off > 0 else 'few'}"
                for wrong, off in self.wrong_bins.items()
            ),
            *self.unknown,
            *(f"{session_id}: {reason}" for session_id, reason in self.unlisted.items()),
            *(f"{session_id}: {how}" for session_id, how in self.uncounted.items() if self.is_stalled),
        ]

    def verdicts(self) -> Iterator[str]:
        """Yield what to do, one sentence for each kind of difference."""
        if self.wrong_bins or self.unknown:
            yield "`sessions counts rebuild --empty-first` corrects bins (docs/operations.md)."
        if self.earlier_rows:
            yield f"Rows of an earlier version: {self.earlier_rows:,}; `sessions counts rebuild` removes them."
        if self.unlisted:
            yield (
                f"Items that are missing from a list: {len(self.unlisted):,}; correct them and their writer "
                "(docs/data-layout.md)."
            )
        if self.uncounted and self.is_stalled:
            yield (
                f"Not counted, without progress for {PATIENCE:.0f} seconds: {len(self.uncounted):,}; `sessions "
                "status` shows whether the stream delivers. `sessions counts rebuild` counts them."
            )
        elif self.uncounted:
            yield f"Not counted yet: {len(self.uncounted):,}; --wait waits for the stream."
        if self.changing_bins:
            yield f"Bins that were being counted: {len(self.changing_bins):,}; try again when there is less traffic."


def audit(tables: Tables, *, wait: bool = False, progress: OnProgress = silent) -> AuditReport:
    """Compare all sessions, markers and bins; change nothing.

    Keeps the keys of all sessions, and the bins that do not agree yet, in memory: about a gigabyte for a million.

    Args:
        wait: until the stream has delivered what is missing, or delivers nothing any more.
    """
    tables.describe()
    first = Comparison(tables, progress)
    report = first.report
    if report.uncounted or first.off:
        sleep(PAUSE)
    _check_uncounted(tables, report)
    if wait:
        _wait_for_stream(tables, report, progress)
    if first.off:
        second = Comparison(tables, progress, watched=first.off.keys())
        suspects = {suspect for suspect, off in first.off.items() if second.off.get(suspect) == off}
        report.changing_bins = first.off.keys() & second.off.keys() - suspects
        _check_suspects(tables, report, second, suspects)
    return report


def _check_suspects(tables: Tables, report: AuditReport, second: Comparison, suspects: set[Bin]) -> None:
    """Tell wrong bins from busy ones, which may be off by the same number twice while sessions are counted in them."""
    if not suspects:
        return
    sleep(PAUSE)
    now = tables.read_bins({(suspect.scope, suspect.bucket) for suspect in suspects})
    for suspect in sorted(suspects):
        if now.get(suspect, 0) == second.stored.get(suspect, 0):
            report.wrong_bins[suspect] = second.off[suspect]
        else:
            report.changing_bins.add(suspect)


def _wait_for_stream(tables: Tables, report: AuditReport, progress: OnProgress) -> None:
    total, waited = len(report.uncounted), 0.0
    while report.uncounted:
        before = len(report.uncounted)
        progress("waiting for the stream", total - before, total)
        sleep(POLL_SECONDS)
        _check_uncounted(tables, report)
        waited = 0.0 if len(report.uncounted) < before else waited + POLL_SECONDS
        if waited >= PATIENCE:
            report.is_stalled = True
            return


def _check_uncounted(tables: Tables, report: AuditReport) -> None:
    """Keep only those uncounted sessions whose marker is still out of date."""
    ids = list(report.uncounted)
    markers, sessions = tables.read_markers(ids), tables.read_session_keys(ids)
    report.markers += sum(marker is not None for marker in markers.values())
    report.markers -= sum(how != NOT_COUNTED for how in report.uncounted.values())
    found = ((session_id, _difference(markers[session_id], sessions[session_id])) for session_id in ids)
    report.uncounted = {session_id: how for session_id, how in found if how is not None}


def _difference(marker: Marker, session: Marker) -> str | None:
    if marker == session:
        return None
    if session is None:
        return "counted, and not in the table"
    return NOT_COUNTED if marker is None else "counted under other keys"


class Comparison:
    """One comparison of all rows of both tables.

    Args:
        watched: bins whose stored numbers are kept.
    """

    def __init__(self, tables: Tables, progress: OnProgress, watched: Collection[Bin] = ()) -> None:
        self._watched = watched
        self.stored: dict[Bin, int] = {}
        self.report = AuditReport()
        self.off: Counter[Bin] = Counter()
        """By how many sessions each wrong bin is off; a positive number means too many."""
        sessions: dict[str, Marker] = {}
        for item in tables.scan_sessions(progress):
            self._read_session(item, sessions)
        for page in tables.scan_counts("comparing counts", progress):
            for row in page:
                if row[BUCKET]["S"] == MARKER_BUCKET:
                    self._compare_marker(row, sessions)
                else:
                    self._compare_row(row)
        self.report.uncounted |= dict.fromkeys(sessions, NOT_COUNTED)

    def _read_session(self, item: Item, sessions: dict[str, Marker]) -> None:
        session_id = item[ID]["S"]
        self.report.sessions += 1
        keys = index_keys(session_id, item)
        if keys is not None:
            sessions[session_id] = keys
        reason = unlisted_reason(session_id, item)
        if reason is not None:
            self.report.unlisted[session_id] = reason

    def _compare_marker(self, row: Item, sessions: dict[str, Marker]) -> None:
        """Compare a marker with its session, and remove the session from `sessions`."""
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
        if bucket.startswith(DAY):
            self.report.earlier_rows += 1
            return
        names = BIN_NAMES.get(bucket[:1], frozenset())
        for name in row.keys() - {SCOPE, BUCKET}:
            number = bin_number(row[name])
            if name not in names or number is None:
                self.report.unknown.append(f"row {scope} {bucket}: {name} is not a bin")
                continue
            self.report.bins += 1
            self._add(Bin(scope, bucket, name), number)
            if Bin(scope, bucket, name) in self._watched:
                self.stored[Bin(scope, bucket, name)] = number

    def _add(self, place: Bin, number: int) -> None:
        self.off[place] += number
        if not self.off[place]:
            del self.off[place]
