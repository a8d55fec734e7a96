"""From an offset to the place in the index where reading starts: pure functions over count rows."""

from __future__ import annotations

from typing import Final, NamedTuple

from sessions.histograms import BinRange

NEAR: Final = 30
"""Entries that are walked over rather than looked up. At 1.4 kB each costs a sixth of a read unit and about 10 us of
CPU; another count row costs half a unit and a round trip of about 5 ms, which is what the caller waits for. 30 is as
many as keep an ordinary page (limit 20, four years of months) below 12 read units: 1.5 for the months, 0.5 for the day,
0.5 for the ten minutes and 9 for 50 entries."""


class StartingPoint(NamedTuple):
    """Where a walk starts, and the rank of what it meets there."""

    bound: str | None
    """A sort key: the walk down starts below it, the walk up at it; None: at the end of the partition."""
    rank: int
    """Of the first entry that the walk down meets; of the first one below `bound` for the walk up."""
    is_upward: bool = False


def is_near(bin_range: BinRange, offset: int, near: int = NEAR) -> bool:
    """Whether so few entries lie between an offset and the nearer end of a range that they may be walked over."""
    return min(offset - bin_range.start, bin_range.end - offset) <= near


def starting_point(bin_range: BinRange, offset: int, limit: int) -> StartingPoint:
    """The end of a range from which the walk to a page is shorter.

    From the upper end the walk goes down to the older entries. From the lower end it goes up, which is shorter when
    more entries lie above the page than below it.
    """
    above, below = offset - bin_range.start, bin_range.end - offset
    if bin_range.lower is None:  # the oldest range has no lower bound to walk up from
        return StartingPoint(bin_range.upper, bin_range.start)
    if below <= 0:  # the finer rows held less than the coarser one said: the page is among the older entries
        return StartingPoint(bin_range.lower, bin_range.end)
    if above + limit <= max(below, limit):
        return StartingPoint(bin_range.upper, bin_range.start)
    return StartingPoint(bin_range.lower, bin_range.end, is_upward=True)
