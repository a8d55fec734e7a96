"""Compares counters and markers with the sessions table, and lists every difference.

The three cannot be read at one moment, so whatever is created, deleted or counted in between looks like a
difference. When there is any, all is read once more after a pause, and only what differs both times is told.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from ops.rebuild import SESSION_KEYS, Progress, scan
from sessions.counting.transitions import Marker
from sessions.histograms import places
from sessions.schema import BUCKET, ID, MARKER_BUCKET, SCOPE, Item, index_keys, marked_keys, marked_session

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PAUSE: Final = 5.0
"""Seconds before the second look; the stream normally lags a second or two."""

MISSING: Final = "missing"
STALE: Final = "stale"
ORPHANED: Final = "orphaned"


class BinDifference(NamedTuple):
    """A bin that is not the number of sessions that it should count; absent ones count 0."""

    scope: str
    bucket: str
    bin: str
    counted: int | None
    """None for an attribute that is not a number."""
    actual: int


class MarkerDifference(NamedTuple):
    """A marker that is not what its session's keys are.

    `missing`: the session is there and its marker is not; `stale`: the marker has other keys; `orphaned`: the
    marker is there and the session is not, or has no keys.
    """

    session_id: str
    kind: str
    counted: Marker
    actual: Marker


@dataclass
class Report:
    """What was compared, and every difference."""

    sessions: int = 0
    markers: int = 0
    bins: int = 0
    looks: int = 0
    """How often everything was read: once, or twice when the first look found a difference."""
    wrong_bins: list[BinDifference] = field(default_factory=list)
    wrong_markers: list[MarkerDifference] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether everything agrees."""
        return not self.wrong_bins and not self.wrong_markers


def audit(
    dynamodb: DynamoDBClient,
    sessions_table: str,
    counts_table: str,
    *,
    pause: float = PAUSE,
    progress: Progress = lambda _what, _done, _of: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Report:
    """Compares every scope, bucket and marker with the sessions table; changes nothing.

    Keeps the keys of all sessions and all counters in memory: about a gigabyte for a million sessions.

    Args:
        pause: seconds before the second look.
    """
    first = _look(dynamodb, sessions_table, counts_table, progress)
    if first.is_clean:
        return first
    sleep(pause)
    second = _look(dynamodb, sessions_table, counts_table, progress)
    bins = {each[:3] for each in first.wrong_bins}
    markers = {each.session_id for each in first.wrong_markers}
    second.looks = 2
    second.wrong_bins = [each for each in second.wrong_bins if each[:3] in bins]
    second.wrong_markers = [each for each in second.wrong_markers if each.session_id in markers]
    return second


def _look(dynamodb: DynamoDBClient, sessions_table: str, counts_table: str, progress: Progress) -> Report:
    report = Report(looks=1)
    uncounted: dict[str, Marker] = {}
    actual: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for page in scan(dynamodb, sessions_table, SESSION_KEYS):
        for item in page:
            report.sessions += 1
            keys = index_keys(item[ID]["S"], item)
            if keys is not None:
                uncounted[item[ID]["S"]] = keys
                for scope in keys.scopes:
                    actual[scope].update(places(keys.created_at_id))
        progress("reading sessions", report.sessions, None)
    for page in scan(dynamodb, counts_table):
        for row in page:
            if row[BUCKET]["S"] == MARKER_BUCKET:
                report.markers += 1
                report.wrong_markers += _marker_difference(row, uncounted)
            else:
                scope, bucket = row[SCOPE]["S"], row[BUCKET]["S"]
                for name, value in row.items():
                    if name in (SCOPE, BUCKET):
                        continue
                    report.bins += 1
                    counted = int(value["N"]) if "N" in value else None
                    expected = actual[scope].pop((bucket, name), 0) if scope in actual else 0
                    if counted != expected:
                        report.wrong_bins.append(BinDifference(scope, bucket, name, counted, expected))
        progress("comparing counts", report.markers + report.bins, None)
    report.wrong_bins += [
        BinDifference(scope, bucket, name, 0, expected)
        for scope, bins in actual.items()
        for (bucket, name), expected in bins.items()
    ]
    report.wrong_markers += [
        MarkerDifference(session_id, MISSING, None, keys) for session_id, keys in uncounted.items()
    ]
    report.wrong_bins.sort(key=lambda each: each[:3])
    report.wrong_markers.sort(key=lambda each: each.session_id)
    return report


def _marker_difference(row: Item, uncounted: dict[str, Marker]) -> list[MarkerDifference]:
    """Strikes the marker's session off the list, and says how they differ, if they do."""
    session_id, counted = marked_session(row) or "", marked_keys(row)
    expected = uncounted.pop(session_id, None)
    if expected == counted:
        return []
    return [MarkerDifference(session_id, ORPHANED if expected is None else STALE, counted, expected)]
