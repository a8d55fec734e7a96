"""Compares counters and markers with the sessions table, and lists every difference.

The three cannot be read at one moment, so whatever is created, deleted or counted in between looks like a
difference. When there is any, all is read once more after a pause, and only what differs both times is told.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from ops.rebuild import SESSION_KEYS, Progress, is_marker, scan
from sessions.counting import ORGANIZATION, ORGANIZATION_AGENT, SORT_KEY, Marker, keys_of, marker_of, session_of
from sessions.dynamodb import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PAUSE: Final = 5.0
"""Seconds before the second look; the stream normally lags a second or two."""

MISSING: Final = "missing"
STALE: Final = "stale"
ORPHANED: Final = "orphaned"


class Counter(NamedTuple):
    """A counter that is not the number of sessions that it should count; absent ones count 0."""

    scope: str
    bucket: str
    counted: int | None
    """None for a row without a number."""
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
    counters: int = 0
    looks: int = 0
    """How often everything was read: once, or twice when the first look found a difference."""
    wrong_counters: list[Counter] = field(default_factory=list)
    wrong_markers: list[MarkerDifference] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether everything agrees."""
        return not self.wrong_counters and not self.wrong_markers


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
    counters = {(each.scope, each.bucket) for each in first.wrong_counters}
    markers = {each.session_id for each in first.wrong_markers}
    second.looks = 2
    second.wrong_counters = [each for each in second.wrong_counters if (each.scope, each.bucket) in counters]
    second.wrong_markers = [each for each in second.wrong_markers if each.session_id in markers]
    return second


def _look(dynamodb: DynamoDBClient, sessions_table: str, counts_table: str, progress: Progress) -> Report:
    report = Report(looks=1)
    uncounted: dict[str, Marker] = {}
    actual: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for page in scan(dynamodb, sessions_table, SESSION_KEYS):
        for item in page:
            report.sessions += 1
            keys = keys_of(item["id"]["S"], item)
            if keys is not None:
                uncounted[item["id"]["S"]] = keys
                for scope, bucket in keys.rows:
                    actual[scope][bucket] += 1
        progress("reading sessions", report.sessions, None)
    for page in scan(dynamodb, counts_table, ("scope", "bucket", "count", ORGANIZATION, ORGANIZATION_AGENT, SORT_KEY)):
        for row in page:
            if is_marker(row):
                report.markers += 1
                report.wrong_markers += _marker_difference(row, uncounted)
            else:
                report.counters += 1
                scope, bucket = row["scope"]["S"], row["bucket"]["S"]
                counted, expected = _number(row), actual[scope].pop(bucket, 0) if scope in actual else 0
                if counted != expected:
                    report.wrong_counters.append(Counter(scope, bucket, counted, expected))
        progress("comparing counts", report.markers + report.counters, None)
    report.wrong_counters += [
        Counter(scope, bucket, 0, expected) for scope, rows in actual.items() for bucket, expected in rows.items()
    ]
    report.wrong_markers += [
        MarkerDifference(session_id, MISSING, None, keys) for session_id, keys in uncounted.items()
    ]
    report.wrong_counters.sort()
    report.wrong_markers.sort(key=lambda each: each.session_id)
    return report


def _marker_difference(row: Item, uncounted: dict[str, Marker]) -> list[MarkerDifference]:
    """Strikes the marker's session off the list, and says how they differ, if they do."""
    session_id, counted = session_of(row["scope"]["S"]), marker_of(row)
    expected = uncounted.pop(session_id, None)
    if expected == counted:
        return []
    return [MarkerDifference(session_id, ORPHANED if expected is None else STALE, counted, expected)]


def _number(row: Item) -> int | None:
    number = row.get("count", {}).get("N")
    return None if number is None else int(number)
