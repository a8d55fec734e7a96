"""Names of count rows and their bins, and arithmetic on them: pure functions, shared by reading and counting.

A count row is a histogram: one item that holds a number for each part of its span of time.

    level         bucket               spans         its bins                 most bins
    month         M2026-11             a month       days, 23                        31
    day           D2026-11-23          a day         ten minutes, 164 (16:40)       144
    ten minutes   T2026-11-23T16:4     ten minutes   five seconds, 1:45             120

The sort key of the indexes begins with the time of creation at a fixed width, so text order is time order, and both
rows and bins are ranges of the sort key: a bin reaches from its own beginning to that of the next one, the first bin of
a row begins where the row begins, and the last ends where the row ends. So every sort key, even one that is not a time,
falls into exactly one bin at each level, and the number of bins of a row is bounded.

An item with that many bins stays under 1 kB, which is one write unit, so that an update costs what an update of a plain
counter costs: 120 bins of 7 bytes, their names of 4 bytes included, and a key of up to 102 bytes. Only a day with more
than 10,000 sessions in each of over 60 of its ten minutes is larger, and then takes a second unit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from sessions.schema import IndexKeys


class Level(NamedTuple):
    """One of the three levels of count rows."""

    letter: str
    """First character of its buckets."""
    bins: tuple[str, ...]
    """Names of its bins, oldest first."""
    beginnings: tuple[str, ...]
    """What follows the row's own text in the sort key where each bin begins."""

    names: frozenset[str]
    """The same names, to tell bins from the other attributes of a row."""

    def bucket(self, text: str) -> str:
        """The name of the row whose span begins with this text."""
        return self.letter + text


_DAYS: Final = tuple(f"{day:02}" for day in range(1, 32))
_TEN_MINUTES: Final = tuple((f"{hour:02}", ten) for hour in range(24) for ten in "012345")
_FIVE_SECONDS: Final = tuple(f"{minute}:{second:02}" for minute in range(10) for second in range(0, 60, 5))


def _level(letter: str, bins: tuple[str, ...], beginnings: tuple[str, ...]) -> Level:
    return Level(letter, bins, beginnings, frozenset(bins))


MONTH: Final = _level("M", _DAYS, tuple(f"-{day}" for day in _DAYS))
DAY: Final = _level(
    "D",
    tuple(hour + ten for hour, ten in _TEN_MINUTES),
    tuple(f"T{hour}:{ten}" for hour, ten in _TEN_MINUTES),
)
TEN_MINUTES: Final = _level("T", _FIVE_SECONDS, _FIVE_SECONDS)

MONTHS: Final = range(10_000 * 12)
"""Every month that four digits of a year can name."""

Row = tuple[str, str]
"""Scope and bucket: the key of a count row."""

Bins = Mapping[str, int]
"""The numbers of a row by bin; a bin that is not there is 0."""


def month_text(month: int) -> str:
    """How sort keys of a month begin, `2026-11`; months are numbered from January of the year 0."""
    return f"{month // 12:04}-{month % 12 + 1:02}"


def places(created_at_id: str) -> list[tuple[str, str]]:
    """The bucket and bin that count a sort key, month first."""
    text = month_text(_month(created_at_id))
    found = []
    for level in (MONTH, DAY, TEN_MINUTES):
        number = _bin_number(level, text, created_at_id)
        found.append((level.bucket(text), level.bins[number]))
        text += level.beginnings[number]
    return found


def add(changes: Counter[tuple[Row, str]], keys: IndexKeys | None, sign: int) -> None:
    """Adds what a session under these keys contributes to each bin, times `sign`."""
    if keys is None:
        return
    for bucket, name in places(keys.created_at_id):
        for scope in keys.scopes:
            changes[(scope, bucket), name] += sign


class BinRange(NamedTuple):
    """A range of sort keys that one bin counts, and the ranks of its entries; rank 0 is the newest entry."""

    text: str
    """Where the bin begins; the row of the next level is named by it."""
    lower: str | None
    """The least sort key of the range; None: there is no lower one."""
    upper: str | None
    """The least sort key above the range; None: there is no higher one."""
    start: int
    """Rank of its newest entry."""
    end: int
    """Rank of the first entry that is older than all of its entries."""


def find_day(months: Iterable[tuple[int, Bins]], offset: int) -> BinRange | None:
    """The day that holds the entry of a rank, by the rows of all months; None when there are not that many entries.

    Args:
        months: number and bins of each month, newest first.
    """
    start = 0
    for month, bins in months:
        counted = total(bins)
        if offset < start + counted:
            bin_range = BinRange(
                month_text(month),
                None if month == MONTHS[0] else month_text(month),
                None if month == MONTHS[-1] else month_text(month + 1),
                start,
                start + counted,
            )
            return find_bin(bin_range, MONTH, bins, offset)
        start += counted
    return None


def find_bin(bin_range: BinRange, level: Level, bins: Bins, offset: int) -> BinRange:
    """The bin of a row that holds the entry of a rank.

    A row that is read later may hold fewer entries than the level above said, because sessions were deleted in between:
    the range then ends before the offset, and the entry is among the older ones.

    Args:
        bin_range: what the row spans.
        level: the level of the row.
    """
    start, upper = bin_range.start, bin_range.upper
    for number in reversed(range(len(level.bins))):
        text = bin_range.text + level.beginnings[number]
        lower = text if number else bin_range.lower
        end = start + max(0, bins.get(level.bins[number], 0))
        if offset < end:
            return BinRange(text, lower, upper, start, end)
        start, upper = end, lower
    return BinRange(bin_range.text, bin_range.lower, bin_range.upper, bin_range.start, start)


def total(bins: Bins) -> int:
    """How many entries a row counts; a negative bin, which no correct history leads to, counts as 0."""
    return sum(count for count in bins.values() if count > 0)


def month_of(bucket: str) -> int | None:
    """The number of the month that a bucket of months names, or None when it is the bucket of something else."""
    text = bucket.removeprefix(MONTH.letter)
    month = _month(text)
    return month if bucket == MONTH.bucket(month_text(month)) else None


def _month(created_at_id: str) -> int:
    """The last month that begins at or before a sort key; the first one for what lies below all months."""
    return max(0, bisect_right(MONTHS, created_at_id, key=month_text) - 1)


def _bin_number(level: Level, text: str, created_at_id: str) -> int:
    if created_at_id.startswith(text):
        return max(0, bisect_right(level.beginnings, created_at_id[len(text) :]) - 1)
    return 0 if created_at_id < text else len(level.bins) - 1
