"""A page at an offset, out of counts and table.

DynamoDB can neither skip nor count, so an offset is looked up like a word in a dictionary: the months
(whose sum is the total), the hours of one month, the minutes of one hour, and from that minute on the
entries themselves. Steps that would save less than they cost are left out:

    near the start      the page straight from the index, beside the months         1 round trip
    anywhere else       months, hours, minutes, page                          at most 4 round trips
    past the end        the months alone                                            1 round trip
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sessions.buckets import above, prefix_of
from sessions.contract import Page, PageRequest
from sessions.counts import Counts, Span, total
from sessions.dynamodb import Item, Reader
from sessions.errors import Unavailable
from sessions.table import Broken, Listing, Sessions, Stretch

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NEAR: Final = 100
"""Entries that are walked over rather than looked up: at 1.4 kB they cost 18 read units, while hours and
minutes would cost up to 7 and two round trips."""

UNCOUNTED_PAGES: Final = 10
"""Cursor pages of 1 MB that are counted one by one for a listing that has no count row at all."""


class Listed(NamedTuple):
    """A page, what was wrong on the way to it, and what it cost."""

    page: Page
    broken: list[Broken]
    negative_buckets: list[str]
    cost: Reader


class Pages:
    """The list of sessions of any organization."""

    def __init__(self, dynamodb: DynamoDBClient, sessions_table: str, counts_table: str) -> None:
        self._dynamodb = dynamodb
        self._sessions_table = sessions_table
        self._counts_table = counts_table

    def page(self, organization_id: str, request: PageRequest) -> Listed:
        """The page that a request asks for.

        Raises:
            Unavailable: see `find_page`.
        """
        listing = Listing(organization_id, request.agent_id)
        reader = Reader(self._dynamodb)
        counts = Counts(self._counts_table, listing.scope)
        sessions = Sessions(self._sessions_table, listing)
        found = find_page(reader, counts, sessions, request.offset, request.limit)
        data, broken = sessions.sessions(found.items)
        page = Page(data, found.total, request.offset, request.limit)
        return Listed(page, broken, counts.negative, reader)


class Found(NamedTuple):
    """The entries of a page, newest first, broken ones included, and the number of entries in all."""

    items: list[Item]
    total: int


def find_page(reader: Reader, counts: Counts, sessions: Sessions, offset: int, limit: int) -> Found:
    """The entries from rank `offset` on, at most `limit`, and the total.

    Raises:
        Unavailable: DynamoDB did not answer in time, or the listing was never counted and is too long to
            be counted for one request.
    """
    if offset <= NEAR:
        months, walk = reader.together(
            counts.months, lambda beside: sessions.older(beside, below=None, skip=offset, take=limit)
        )
        counted = total(months) if months or walk.at_end else _uncounted(reader, sessions)
        return _settled(offset, counted, walk, first=0)
    months = counts.months(reader)
    counted = total(months) if months else _uncounted(reader, sessions)
    if offset >= counted:
        return Found([], counted)
    if not months:
        return _settled(offset, counted, sessions.older(reader, None, skip=offset, take=limit), first=0)
    span = counts.find(reader, months, offset, near=NEAR)
    return _from_span(reader, sessions, span, counted, offset, limit)


def _from_span(reader: Reader, sessions: Sessions, span: Span, counted: int, offset: int, limit: int) -> Found:
    """The page, walked to from the end of the span that is nearer."""
    before, behind = offset - span.start, span.end - offset
    lowest = prefix_of(span.bucket)
    if behind <= 0:
        walk = sessions.older(reader, below=lowest, skip=-behind, take=limit)
        return _settled(offset, counted, walk, first=span.end)
    if before + limit <= max(behind, limit):
        walk = sessions.older(reader, below=above(span.bucket), skip=before, take=limit)
        return _settled(offset, counted, walk, first=span.start)

    inside = min(behind, limit)

    def newer(beside: Reader) -> Stretch:
        return sessions.newer(beside, start=lowest, skip=behind - inside, take=inside)

    if inside == limit:
        upward, onward = newer(reader), Stretch([], skipped=0, at_end=False)
    else:
        upward, onward = reader.together(
            newer, lambda beside: sessions.older(beside, below=lowest, skip=0, take=limit - inside)
        )
    if upward.seen < behind:
        # The table lost entries that are still counted, so many that the walk ran off the newest end.
        return _settled(offset, counted, sessions.older(reader, None, skip=offset, take=limit), first=0)
    joined = Stretch(upward.items[::-1] + onward.items, skipped=0, at_end=onward.at_end)
    return _settled(offset, counted, joined, first=offset)


def _settled(offset: int, counted: int, walk: Stretch, first: int) -> Found:
    """The page with a total that it does not contradict.

    Args:
        first: the rank of the first entry that the walk passed.
    """
    if walk.at_end:
        return Found(walk.items, first + walk.seen)
    return Found(walk.items, max(counted, offset + len(walk.items)))


def _uncounted(reader: Reader, sessions: Sessions) -> int:
    entries = sessions.count(reader, pages=UNCOUNTED_PAGES)
    if entries is None:
        raise Unavailable("The sessions of this organization are still being counted; try again later.")
    return entries
