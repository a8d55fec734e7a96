"""A page at an offset: locate it by the counts, walk to it once, and reconcile the total once.

DynamoDB can neither skip nor count, so an offset is looked up like a word in a dictionary: the months (whose sum is the
total, and whose bins say the day), that day, those ten minutes, and from those five seconds on the entries themselves.
Steps that would save less than they cost are left out:

    near the start      the page straight from the index, beside the months          1 round trip
    anywhere else       months, day, ten minutes, page                    at most    4 round trips
    past the end        the months alone                                             1 round trip

Where more than 1,200 sessions were created within five seconds, counting over those between takes a fifth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import ValidationError

from sessions.attributes import from_item
from sessions.client import DEADLINE, Cost, Reader, TimeLimit
from sessions.contract import Page, PageRequest, Session, read_session
from sessions.errors import Unavailable
from sessions.histograms import DAY, TEN_MINUTES, BinRange, find_bin, find_day, total
from sessions.paging.counts import CountRows, MonthRows
from sessions.paging.index import PAGE_READS, TRANSFERRED_SKIP, IndexPartition, WalkResult
from sessions.paging.locate import NEAR, StartingPoint, is_near, starting_point
from sessions.schema import CREATED_AT_ID, ORGANIZATION_AGENT, Item, Partition, composed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

UNCOUNTED_PAGES: Final = 10
"""Cursor pages of 1 MB that are counted one by one for a partition that has no count row at all."""


class Limits(NamedTuple):
    """Thresholds at which reading changes its strategy; tests lower them."""

    near: int = NEAR
    transferred_skip: int = TRANSFERRED_SKIP
    page_reads: int = PAGE_READS
    uncounted_pages: int = UNCOUNTED_PAGES
    deadline: float = DEADLINE


class InvalidItem(NamedTuple):
    """An item that is in the index and is not a Session."""

    id: str
    reason: str


class PageResult(NamedTuple):
    """A page, what was wrong on the way to it, and what it cost."""

    page: Page
    invalid: list[InvalidItem]
    negative_buckets: list[str]
    cost: Cost


class PageItems(NamedTuple):
    """The items of a page, newest first, invalid ones included, and the number of entries in all."""

    items: list[Item]
    total: int


class Pages:
    """The list of sessions of any organization."""

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        sessions_table: str,
        counts_table: str,
        limits: Limits = Limits(),  # noqa: B008  (immutable)
        time_limit: TimeLimit | None = None,
    ) -> None:
        self._dynamodb = dynamodb
        self._sessions_table = sessions_table
        self._counts_table = counts_table
        self._limits = limits
        self._time_limit = time_limit or TimeLimit()

    def page(self, organization_id: str, request: PageRequest) -> PageResult:
        """The page that a request asks for.

        Raises:
            Unavailable: DynamoDB did not respond in time, or the partition was never counted and is too long to be
                counted for one request.
            PageTooLarge: its items do not fit into a response.
        """
        return self._time_limit.run(lambda: self._page(organization_id, request))

    def _page(self, organization_id: str, request: PageRequest) -> PageResult:
        partition, limits = Partition(organization_id, request.agent_id), self._limits
        reader = Reader(self._dynamodb, self._time_limit.reads, limits.deadline)
        counts = CountRows(reader, self._counts_table, partition.scope)
        index = IndexPartition(reader, self._sessions_table, partition, limits.transferred_skip, limits.page_reads)
        found = PageFinder(reader, counts, index, limits, request.offset, request.limit).find()
        data, invalid = read_sessions(found.items)
        page = Page(data=data, total=found.total, offset=request.offset, limit=request.limit)
        return PageResult(page, invalid, counts.negative, reader.cost)


class PageFinder:
    """One search for the entries from rank `offset` on, at most `limit`."""

    def __init__(
        self, reader: Reader, counts: CountRows, index: IndexPartition, limits: Limits, offset: int, limit: int
    ) -> None:
        self._reader = reader
        self._counts = counts
        self._index = index
        self._limits = limits
        self._offset = offset
        self._limit = limit

    def find(self) -> PageItems:
        """The items of the page, and the total."""
        if self._offset <= self._limits.near:
            months, walk = self._reader.run_in_parallel(self._counts.months, self._walk_from_newest)
            counted = self._total(months) if months or not walk.at_end else walk.passed
            return self._reconcile_total(counted, walk, first=0)
        months = self._counts.months()
        counted = self._total(months)
        if self._offset >= counted:
            return PageItems([], counted)
        start = starting_point(self._narrowed(months, counted), self._offset, self._limit)
        if start.is_upward:
            return self._walk_up(start, counted)
        return self._reconcile_total(counted, self._walk_down(start), first=start.rank)

    def _total(self, months: MonthRows) -> int:
        """The entries in all; of a partition that was never counted they are counted for this request."""
        if months:
            return sum(total(bins) for _, bins in months)
        counted = self._index.count(self._limits.uncounted_pages)
        if counted is None:
            raise Unavailable("The sessions of this organization are still being counted; try again later.")
        return counted

    def _narrowed(self, months: MonthRows, counted: int) -> BinRange:
        """The finest range that the offset is looked up in."""
        bin_range = find_day(months, self._offset)
        if bin_range is None:  # never counted: the whole partition is one range
            return BinRange("", None, None, 0, counted)
        for level in (DAY, TEN_MINUTES):
            if is_near(bin_range, self._offset, self._limits.near):
                break
            narrower = find_bin(bin_range, level, self._counts.row(level, bin_range.text), self._offset)
            if narrower.end <= self._offset:
                return narrower
            bin_range = narrower
        return bin_range

    def _walk_from_newest(self) -> WalkResult:
        return self._walk_down(StartingPoint(bound=None, rank=0))

    def _walk_down(self, start: StartingPoint) -> WalkResult:
        return self._index.query_descending(start.bound, skip=self._offset - start.rank, take=self._limit)

    def _walk_up(self, start: StartingPoint, counted: int) -> PageItems:
        """The page by a walk up to it, and what it lacks by a walk down from the same point at the same time."""
        below = start.rank - self._offset
        inside = min(below, self._limit)

        def up() -> WalkResult:
            return self._index.query_ascending(start.bound, skip=below - inside, take=inside)

        def down() -> WalkResult:
            return self._index.query_descending(start.bound, skip=0, take=self._limit - inside)

        if inside == self._limit:
            upper, lower = up(), WalkResult([], skipped=0, at_end=False)
        else:
            upper, lower = self._reader.run_in_parallel(up, down)
        if upper.passed < below:
            # The table lost entries that are still counted, so many that the walk ran off the newest end.
            return self._reconcile_total(counted, self._walk_from_newest(), first=0)
        joined = WalkResult(upper.items[::-1] + lower.items, skipped=0, at_end=lower.at_end)
        return self._reconcile_total(counted, joined, first=self._offset)

    def _reconcile_total(self, counted: int, walk: WalkResult, first: int) -> PageItems:
        """The page with a total that it does not contradict: where the page proves more entries, or no more, it wins.

        Args:
            first: the rank of the first entry that the walk passed.
        """
        if walk.at_end:
            return PageItems(walk.items, first + walk.passed)
        return PageItems(walk.items, max(counted, self._offset + len(walk.items)))


def read_sessions(items: list[Item]) -> tuple[list[Session], list[InvalidItem]]:
    """The items that are Sessions, and what is wrong with the others; no item takes another one with it."""
    sessions: list[Session] = []
    invalid: list[InvalidItem] = []
    for item in items:
        values = from_item(item)
        try:
            session = read_session(values)
            _check_keys(session, item)
        except ValidationError as error:
            fields = (".".join(map(str, each["loc"])) for each in error.errors(include_url=False))
            invalid.append(InvalidItem(str(values.get("id")), "not valid: " + ", ".join(fields)))
        except ValueError as error:
            invalid.append(InvalidItem(str(values.get("id")), str(error)))
        else:
            sessions.append(session)
    return sessions, invalid


def _check_keys(session: Session, item: Item) -> None:
    # Keys that contradict the fields would list an entry in the place, or in the list, of another.
    if item[CREATED_AT_ID]["S"] != composed(session["created_at"], session["id"]):
        raise ValueError(f"{CREATED_AT_ID} contradicts created_at and id")
    expected = composed(session["organization_id"], session["agent_id"])
    if item.get(ORGANIZATION_AGENT, {"S": expected}).get("S") != expected:
        raise ValueError(f"{ORGANIZATION_AGENT} contradicts organization_id and agent_id")
