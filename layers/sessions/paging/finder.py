"""Finds the page at an offset by the counts, reads it from the index, and reconciles its total once.

DynamoDB can neither skip nor count. The sum of the months is the total, and their bins tell which day holds the offset.
The bins of that day's rows of ten minutes tell which five seconds. From there on the index is read. A step is left out
when it would save less than it costs.

    near the start      the index, and the months at the same time        1 round trip
    anywhere else       months, rows of the day, index          at most   3 round trips
    past the end        months                                            1 round trip

Where more than 1,200 sessions were created within five seconds, skipping those before the page takes one more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import ValidationError

from sessions.attributes import from_item
from sessions.client import Cost, Reader
from sessions.contract import Page, PageRequest, Session, read_session
from sessions.errors import Unavailable
from sessions.histograms import Span, find_day, find_five_seconds, total
from sessions.paging.counts import CountRows, MonthRows
from sessions.paging.index import IndexPartition, Walk
from sessions.schema import CREATED_AT_ID, ORGANIZATION_AGENT, Item, Partition, composed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SCAN_MAX: Final = 30
"""Skip distance in sessions up to which the index is scanned and no further count rows are read. A skipped session of
1.4 kB costs a sixth of a read unit; the rows of a day cost a round trip and 0.5 to 16 units."""


class InvalidItem(NamedTuple):
    """An item of the index that is not a valid Session."""

    id: str
    reason: str


class Listing(NamedTuple):
    """A page, the faults met while it was read, and its cost."""

    page: Page
    invalid: list[InvalidItem]
    negative_buckets: list[str]
    cost: Cost


class Found(NamedTuple):
    """The items of a page, newest first, invalid ones included, and the total."""

    items: list[Item]
    total: int


class SessionFinder:
    """The lists of sessions in one pair of tables."""

    def __init__(self, client: DynamoDBClient, sessions_table: str, counts_table: str) -> None:
        self._client = client
        self._sessions_table = sessions_table
        self._counts_table = counts_table

    def find(self, organization_id: str, request: PageRequest) -> Listing:
        """Return the page that a request asks for.

        Raises:
            Unavailable: DynamoDB did not respond in time, or the partition has no count rows and is too long to be
                counted during one request.
            PageTooLarge: the items exceed Lambda's response.
        """
        partition = Partition(organization_id, request.agent_id)
        reader = Reader(self._client)
        counts = CountRows(self._counts_table, partition.scope)
        search = _Search(reader, counts, IndexPartition(self._sessions_table, partition), request)
        found = search.run()
        sessions, invalid = read_sessions(found.items)
        page = Page(data=sessions, total=found.total, offset=request.offset, limit=request.limit)
        return Listing(page, invalid, counts.negative, reader.cost)


class _Search:
    """The search for one page."""

    def __init__(self, reader: Reader, counts: CountRows, index: IndexPartition, request: PageRequest) -> None:
        self._reader = reader
        self._counts = counts
        self._index = index
        self._offset = request.offset
        self._limit = request.limit

    def run(self) -> Found:
        if self._offset <= SCAN_MAX:
            months, walk = self._reader.read_both(self._counts.months, self._walk_from_newest)
            counted = self._total(months) if months or not walk.at_end else walk.passed
            return self._reconcile(counted, walk, first=0)
        months = self._counts.months(self._reader)
        counted = self._total(months)
        if self._offset >= counted:
            return Found([], counted)
        return self._walk_from_nearest_end(self._locate(months, counted), counted)

    def _total(self, months: MonthRows) -> int:
        """Return the number of sessions; in a partition without count rows they are counted now."""
        if months:
            return sum(total(bins) for _, bins in months)
        counted = self._index.count(self._reader)
        if counted is None:
            raise Unavailable("The sessions of this organization are still being counted; try again later.")
        return counted

    def _locate(self, months: MonthRows, counted: int) -> Span:
        """Return the range of sort keys to walk in."""
        day = find_day(months, self._offset)
        if day is None:  # no count rows: the whole partition is one range
            return Span("", None, None, 0, counted)
        if min(self._offset - day.start, day.end - self._offset) <= SCAN_MAX:
            return day
        return find_five_seconds(day, self._counts.ten_minutes(self._reader, day.text), self._offset)

    def _walk_from_nearest_end(self, span: Span, counted: int) -> Found:
        """Return the page by a walk from the end of the span that is nearer to it."""
        above, below = self._offset - span.start, span.end - self._offset
        if span.lower is not None and below <= 0:  # the day's rows hold fewer sessions than the month's bin said
            return self._walk_down(span.lower, span.end, counted)
        if span.lower is not None and above + self._limit > max(below, self._limit):
            return self._walk_up(span.lower, below, counted)
        return self._walk_down(span.upper, span.start, counted)

    def _walk_from_newest(self, reader: Reader) -> Walk:
        return self._index.walk_down(reader, None, skip=self._offset, take=self._limit)

    def _walk_down(self, bound: str | None, rank: int, counted: int) -> Found:
        """Return the page by a walk down from `bound`, below which the first session has this rank."""
        walk = self._index.walk_down(self._reader, bound, skip=self._offset - rank, take=self._limit)
        return self._reconcile(counted, walk, first=rank)

    def _walk_up(self, bound: str, distance: int, counted: int) -> Found:
        """Return the page by a walk up from `bound` and, for sessions below it, a walk down at the same time.

        Args:
            bound: a sort key.
            distance: sessions from the page's first one down to `bound`.
            counted: the total so far.
        """
        above = min(distance, self._limit)

        def up(reader: Reader) -> Walk:
            return self._index.walk_up(reader, bound, skip=distance - above, take=above)

        def down(reader: Reader) -> Walk:
            return self._index.walk_down(reader, bound, skip=0, take=self._limit - above)

        if above == self._limit:
            upper, lower = up(self._reader), Walk([], skipped=0, at_end=False)
        else:
            upper, lower = self._reader.read_both(up, down)
        if upper.passed < distance:  # so many counted sessions are gone that the walk passed the newest session
            return self._reconcile(counted, self._walk_from_newest(self._reader), first=0)
        joined = Walk(upper.items[::-1] + lower.items, skipped=0, at_end=lower.at_end)
        return self._reconcile(counted, joined, first=self._offset)

    def _reconcile(self, counted: int, walk: Walk, first: int) -> Found:
        """Return the page with a total that it does not contradict: if it proves more sessions, or no more, it wins.

        Args:
            counted: the total by the counts.
            walk: the walk that read the page.
            first: rank of the first session that the walk passed.
        """
        if walk.at_end:
            return Found(walk.items, first + walk.passed)
        return Found(walk.items, max(counted, self._offset + len(walk.items)))


def read_sessions(items: list[Item]) -> tuple[list[Session], list[InvalidItem]]:
    """Return the items that are valid Sessions, and the others with what is wrong with each."""
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
    # Keys that contradict the fields would list a session in another session's place or in another list.
    if item[CREATED_AT_ID]["S"] != composed(session["created_at"], session["id"]):
        raise ValueError(f"{CREATED_AT_ID} contradicts created_at and id")
    expected = composed(session["organization_id"], session["agent_id"])
    if item.get(ORGANIZATION_AGENT, {"S": expected}).get("S") != expected:
        raise ValueError(f"{ORGANIZATION_AGENT} contradicts organization_id and agent_id")
