"""Count rows and their bins: names, and arithmetic on them, as pure functions that reading and counting share.

A count row is a histogram: one item with a number for each part of a span of time.

    level         bucket               spans         its bins              most bins
    month         M2026-11             a month       days, 23                     31
    ten minutes   T2026-11-23T16:4     ten minutes   five seconds, 1:45          120

Rows and bins are ranges of the indexes' sort key, which begins with the creation time at a fixed width, so text order
is time order. A bin reaches from its own start to the start of the next bin; the first bin of a row starts where the
row starts, and the last bin ends where the row ends. Every sort key, even one that is not a time, therefore falls into
exactly one bin of each level.

A row stays below 1 kB, which is one write unit: 120 bins of 4 bytes of name and 3 of number, and a key of at most 102
bytes. Updating a histogram costs as much as updating a plain counter.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from sessions.schema import IndexKeys


class Level(NamedTuple):
    """One of the two levels of count rows."""

    letter: str
    """First character of its buckets."""
    bins: tuple[str, ...]
    """Names of its bins, oldest first."""
    starts: tuple[str, ...]
    """Text that follows the row's own text in the sort key at the start of each bin."""

    def bucket(self, text: str) -> str:
        """Return the bucket of the row whose span starts with this text."""
        return self.letter + text


_DAYS: Final = tuple(f"{day:02}" for day in range(1, 32))
_FIVE_SECONDS: Final = tuple(f"{minute}:{second:02}" for minute in range(10) for second in range(0, 60, 5))

MONTH: Final = Level("M", _DAYS, tuple(f"-{day}" for day in _DAYS))
TEN_MINUTES: Final = Level("T", _FIVE_SECONDS, _FIVE_SECONDS)
LEVELS: Final = (MONTH, TEN_MINUTES)

ROW_STARTS: Final = tuple(f"T{hour:02}:{ten}" for hour in range(24) for ten in range(6))
"""Text that follows a day in the sort key at the start of each of its 144 rows of ten minutes."""

MONTHS: Final = range(10_000 * 12)
"""Numbers of all months that a year of four digits allows, from January of the year 0."""

Row = tuple[str, str]
"""Scope and bucket: the key of a count row."""

Bins = Mapping[str, int]
"""The numbers of a row by bin; a missing bin is 0."""


def month_text(month: int) -> str:
    """Return the start of the sort keys of a month, such as `2026-11`."""
    return f"{month // 12:04}-{month % 12 + 1:02}"


def month_number(bucket: str) -> int | None:
    """Return the number of the month that a bucket names, or None for any other bucket."""
    month = _month(bucket.removeprefix(MONTH.letter))
    return month if bucket == MONTH.bucket(month_text(month)) else None


def places(created_at_id: str) -> list[tuple[str, str]]:
    """Return the bucket and the bin that count a sort key, month first."""
    month = month_text(_month(created_at_id))
    number = _part(month, MONTH.starts, created_at_id)
    day = month + MONTH.starts[number]
    row = day + ROW_STARTS[_part(day, ROW_STARTS, created_at_id)]
    return [
        (MONTH.bucket(month), MONTH.bins[number]),
        (TEN_MINUTES.bucket(row), TEN_MINUTES.bins[_part(row, TEN_MINUTES.starts, created_at_id)]),
    ]


def day_buckets(day: str) -> tuple[str, str]:
    """Return the first and the last bucket of the rows of ten minutes of a day, such as `2026-11-23`."""
    return TEN_MINUTES.bucket(day + ROW_STARTS[0]), TEN_MINUTES.bucket(day + ROW_STARTS[-1])


def add(changes: Counter[tuple[Row, str]], keys: IndexKeys | None, sign: int) -> None:
    """Add a session's contribution to each bin, times `sign`, to `changes`."""
    if keys is None:
        return
    for bucket, name in places(keys.created_at_id):
        for scope in keys.scopes:
            changes[(scope, bucket), name] += sign


def total(bins: Bins) -> int:
    """Return how many sessions a row counts; a negative bin, which only a fault produces, counts as 0."""
    return sum(count for count in bins.values() if count > 0)


class Span(NamedTuple):
    """A range of sort keys and the ranks of its sessions; rank 0 is the newest session."""

    text: str
    """Start of the range; names the rows of the next level."""
    lower: str | None
    """Least sort key of the range; None: unbounded."""
    upper: str | None
    """Least sort key above the range; None: unbounded."""
    start: int
    """Rank of its newest session."""
    end: int
    """Rank of the first session that is older than all of its sessions."""


def find_day(months: Iterable[tuple[int, Bins]], offset: int) -> Span | None:
    """Return the day that holds the session of rank `offset`, or None if there are fewer sessions.

    Args:
        months: number and bins of each month, newest first.
    """
    start = 0
    for month, bins in months:
        end = start + total(bins)
        if offset < end:
            lower = None if month == MONTHS[0] else month_text(month)
            upper = None if month == MONTHS[-1] else month_text(month + 1)
            return _find(Span(month_text(month), lower, upper, start, end), MONTH.starts, _counts(MONTH, bins), offset)
        start = end
    return None


def find_five_seconds(day: Span, rows: Mapping[str, Bins], offset: int) -> Span:
    """Return the five seconds of a day that hold the session of rank `offset`.

    Sessions deleted between the two reads may leave fewer sessions in the rows than the month's bin said. The span
    then ends at or before the offset, and the session is found among the older ones.

    Args:
        day: a result of `find_day`.
        rows: bins of the day's rows of ten minutes by bucket.
    """
    bins = [rows.get(TEN_MINUTES.bucket(day.text + start), {}) for start in ROW_STARTS]
    ten_minutes = _find(day, ROW_STARTS, [total(each) for each in bins], offset)
    if ten_minutes.end <= offset:
        return ten_minutes
    found = bins[ROW_STARTS.index(ten_minutes.text.removeprefix(day.text))]
    return _find(ten_minutes, TEN_MINUTES.starts, _counts(TEN_MINUTES, found), offset)


def _find(span: Span, starts: tuple[str, ...], counts: list[int], offset: int) -> Span:
    """Return the part of a span that holds the session of rank `offset`, or an empty one at its older end."""
    start, upper = span.start, span.upper
    for number in reversed(range(len(starts))):
        text = span.text + starts[number]
        lower = text if number else span.lower
        end = start + counts[number]
        if offset < end:
            return Span(text, lower, upper, start, end)
        start, upper = end, lower
    return Span(span.text, span.lower, span.upper, span.start, start)


def _counts(level: Level, bins: Bins) -> list[int]:
    return [max(0, bins.get(name, 0)) for name in level.bins]


def _month(created_at_id: str) -> int:
    """Return the last month that starts at or before a sort key; the first month for a key below all of them."""
    return max(0, bisect_right(MONTHS, created_at_id, key=month_text) - 1)


def _part(text: str, starts: tuple[str, ...], created_at_id: str) -> int:
    """Return the number of the part that holds a sort key, in a span that starts with `text`."""
    if created_at_id.startswith(text):
        return max(0, bisect_right(starts, created_at_id[len(text) :]) - 1)
    return 0 if created_at_id < text else len(starts) - 1
