"""What reading promises beyond the right page: how it counts, skips, stops and sizes; each limit from both sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import botocore.session
import pytest

from sessions import responses
from sessions.contract import PageRequest
from sessions.errors import PageTooLarge, Unavailable
from sessions.histograms import (
    DAY,
    MONTH,
    TEN_MINUTES,
    BinRange,
    add,
    find_bin,
    find_day,
    month_of,
    month_text,
    places,
    total,
)
from sessions.paging.finder import Limits, PageResult, Pages
from sessions.paging.index import PAGE_READS, TRANSFERRED_SKIP
from sessions.paging.locate import NEAR, StartingPoint, is_near, starting_point
from sessions.response_checks import RETRY_DELAY, DamagedResponse, ResponseChecks, find_damage
from sessions.response_parser import ItemParser
from sessions.schema import index_keys
from sessions_cli.load import item_of
from tests.counting.memory import Memory
from tests.service import ORGANIZATION, session


class Recorder:
    """A client that notes its queries."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.queries: list[dict[str, Any]] = []

    def query(self, **parameters: Any) -> dict[str, Any]:
        self.queries.append(parameters)
        return self.memory.query(**parameters)

    @property
    def on_index(self) -> list[dict[str, Any]]:
        return [query for query in self.queries if "IndexName" in query]

    @property
    def buckets(self) -> list[str]:
        """The count rows that were asked for, months left out."""
        asked = [query["ExpressionAttributeValues"].get(":bucket", {}).get("S") for query in self.queries]
        return [bucket for bucket in asked if bucket]


class List:
    """The counted sessions of one organization."""

    def __init__(self, *created_at: str, page: int = 1000) -> None:
        self.memory = Memory(page=page)
        self.client = Recorder(self.memory)
        self.keys: list[str] = []
        for number, moment in enumerate(created_at):
            self.create(number, moment)
        self.keys.sort(reverse=True)

    def create(self, number: int, moment: str, *, is_counted: bool = True) -> None:
        item = item_of(session(number, created_at=moment))
        self.memory.put_item("sessions", item)
        self.keys.append(item["created_at_id"]["S"])
        if is_counted:
            self.count(item, 1)

    def count(self, item: dict[str, Any], sign: int) -> None:
        changes: Counter[Any] = Counter()
        add(changes, index_keys(item["id"]["S"], item), sign)
        for ((scope, bucket), name), change in changes.items():
            row = self.memory.tables["counts"].setdefault(
                (scope, bucket), {"scope": {"S": scope}, "bucket": {"S": bucket}}
            )
            row[name] = {"N": str(int(row.get(name, {"N": "0"})["N"]) + change)}

    def bin(self, bucket: str, name: str, value: int | None) -> None:
        """Makes a bin something else, as a correct history never does."""
        row = self.memory.tables["counts"][ORGANIZATION, bucket]
        if value is None:
            del row[name]
        else:
            row[name] = {"N": str(value)}

    def page(self, offset: int, limit: int, **limits: Any) -> PageResult:
        self.client.queries.clear()
        pages = Pages(cast(Any, self.client), "sessions", "counts", Limits(**limits))
        return pages.page(ORGANIZATION, PageRequest(offset=str(offset), limit=str(limit)))  # type: ignore[arg-type]

    def seen(self, offset: int, limit: int, **limits: Any) -> list[str]:
        return [f"{each['created_at']}#{each['id']}" for each in self.page(offset, limit, **limits).page["data"]]


def seconds(number: int) -> str:
    """So many seconds after a midnight, below 600."""
    return f"2026-11-23T16:4{number // 60}:{number % 60:02}.000000Z"


# ------------------------------------------------------------------------------------------ skipping


def queries_of_skip(skip: int, **limits: Any) -> list[dict[str, Any]]:
    """The index queries of a walk from the newest entry over so many."""
    listed = List(*(f"2026-11-23T16:41:46.{number:06}Z" for number in range(1000)))
    assert listed.seen(skip, 5, near=1000, **limits) == listed.keys[skip : skip + 5]
    return listed.client.on_index


def test_an_entry_more_than_may_be_transferred_is_counted_by_dynamodb() -> None:
    (page,) = queries_of_skip(TRANSFERRED_SKIP)
    assert ("Select" not in page, page["Limit"]) == (True, TRANSFERRED_SKIP + 5)
    count, page = queries_of_skip(TRANSFERRED_SKIP + 1)
    assert (count["Select"], count["Limit"]) == ("COUNT", TRANSFERRED_SKIP + 1)
    assert ("Select" not in page, page["Limit"]) == (True, 5)


def test_counting_a_skip_goes_on_until_what_is_left_may_be_transferred() -> None:
    listed = List(*(f"2026-11-23T16:41:46.{number:06}Z" for number in range(100)), page=10)
    assert listed.seen(47, 3, near=100, transferred_skip=5) == listed.keys[47:50]
    counted = [query for query in listed.client.on_index if query.get("Select") == "COUNT"]
    assert [query["Limit"] for query in counted] == [47, 37, 27, 17, 7]
    assert [query["Limit"] for query in listed.client.on_index if "Select" not in query] == [3]


def test_a_skip_that_runs_off_the_end_says_how_many_there_were() -> None:
    listed = List(*map(seconds, range(12)))
    for bucket, name in (("M2026-11", "23"), ("D2026-11-23", "164"), ("T2026-11-23T16:4", "0:10")):
        listed.bin(bucket, name, 40)
    result = listed.page(30, 5, near=100, transferred_skip=3)
    assert (result.page["data"], result.page["total"]) == ([], 12)
    assert [query.get("Select") for query in listed.client.on_index] == ["COUNT"]


def test_dropped_entries_of_a_skip_may_fill_whole_cursor_pages() -> None:
    listed = List(*map(seconds, range(40)), page=7)
    assert listed.seen(20, 6, near=100) == listed.keys[20:26]
    assert [query["Limit"] for query in listed.client.on_index] == [26, 19, 12, 5]


# ----------------------------------------------------------------------------- cursor pages of a response


def test_entries_are_taken_from_as_many_cursor_pages_as_are_allowed_and_no_more() -> None:
    listed = List(*map(seconds, range(40)), page=5)
    assert listed.seen(0, 20, page_reads=4) == listed.keys[:20]
    with pytest.raises(PageTooLarge):
        listed.page(0, 21, page_reads=4)
    assert len(listed.client.on_index) == 5


def test_cursor_pages_that_are_only_skipped_do_not_count_as_taken_from() -> None:
    listed = List(*map(seconds, range(40)), page=5)
    assert listed.seen(20, 10, near=100, responses_max=2) == listed.keys[20:30]
    with pytest.raises(PageTooLarge):
        listed.page(19, 10, near=100, responses_max=2)


def test_a_response_of_6_mb_comes_from_16_cursor_pages_at_most() -> None:
    assert PAGE_READS == 16
    listed = List(*map(seconds, range(100)), page=6)
    assert listed.seen(0, 96) == listed.keys[:96]
    with pytest.raises(PageTooLarge):
        listed.page(0, 97)


# ------------------------------------------------------------------------------------ what reading takes


def test_a_page_near_the_start_takes_one_round_trip_and_no_finer_row() -> None:
    listed = List(*map(seconds, range(200)))
    result = listed.page(NEAR, 10)
    assert (result.cost.round_trips, result.cost.requests, listed.client.buckets) == (1, 2, [])
    result = listed.page(NEAR + 1, 10)
    assert result.cost.round_trips == 4
    assert listed.client.buckets == ["D2026-11-23", "T2026-11-23T16:4"]


def test_a_finer_row_is_read_only_where_more_entries_lie_before_the_offset_than_may_be_walked() -> None:
    listed = List(*(f"2026-11-{day:02}T10:00:00.00000{number}Z" for day in (10, 20) for number in range(8)))
    for offset, is_looked_up in ((10, True), (9, True), (11, True), (12, True), (13, True), (14, False), (15, False)):
        assert listed.seen(offset, 2, near=2) == listed.keys[offset : offset + 2], offset
        assert bool(listed.client.buckets) == (is_looked_up and offset != 10 and offset != 9), offset


def test_an_offset_at_the_total_reads_the_months_alone() -> None:
    listed = List(*map(seconds, range(40)))
    result = listed.page(40, 10)
    assert (result.page["data"], result.page["total"], result.cost.requests) == ([], 40, 1)
    assert listed.seen(39, 10) == listed.keys[39:]


def test_the_walk_to_a_page_comes_from_the_nearer_end_of_its_five_seconds() -> None:
    listed = List(*(f"2026-11-23T16:41:46.{number:06}Z" for number in range(100)))
    assert listed.seen(40, 10, near=0) == listed.keys[40:50]
    assert [(query["ScanIndexForward"], query["Limit"]) for query in listed.client.on_index] == [(False, 50)]
    assert listed.seen(60, 10, near=0) == listed.keys[60:70]
    assert [(query["ScanIndexForward"], query["Limit"]) for query in listed.client.on_index] == [(True, 40)]
    assert listed.seen(95, 10, near=0) == listed.keys[95:]
    walks = sorted((query["ScanIndexForward"], query["Limit"]) for query in listed.client.on_index)
    assert walks == [(False, 5), (True, 5)]


def test_the_two_walks_of_a_page_across_a_bin_are_made_at_the_same_time() -> None:
    listed = List(*(f"2026-11-{day:02}T16:41:46.{number:06}Z" for day in (22, 23) for number in range(50)))
    result = listed.page(45, 10, near=0)
    assert [f"{each['created_at']}#{each['id']}" for each in result.page["data"]] == listed.keys[45:55]
    assert (result.cost.requests, result.cost.round_trips) == (5, 4)


def test_two_walks_that_come_to_the_oldest_end_prove_the_total() -> None:
    listed = List(*(f"2026-11-{day:02}T16:41:46.{number:06}Z" for day in (22, 23) for number in range(50)))
    for key in listed.keys[-3:]:
        del listed.memory.tables["sessions"][(key.partition("#")[2],)]
    assert listed.page(45, 60).page["total"] == 97


def test_of_two_reads_at_the_same_time_the_longer_one_is_waited_for() -> None:
    listed = List(*(f"2026-{month:02}-01T00:00:00.000000Z" for month in range(1, 13)), page=5)
    cost = listed.page(0, 2).cost
    assert (cost.requests, cost.round_trips) == (len(listed.client.queries), len(listed.client.queries) - 1)
    assert cost.round_trips >= 3


def test_every_read_asks_what_it_consumes_and_an_engine_that_does_not_say_is_taken_for_free() -> None:
    listed = List(*map(seconds, range(50)))
    assert listed.page(40, 5).cost.read_units == 0.0
    assert {query["ReturnConsumedCapacity"] for query in listed.client.queries} == {"TOTAL"}


def test_the_cost_is_what_dynamodb_says_it_consumed() -> None:
    listed = List(*map(seconds, range(50)))
    original = listed.memory.query
    listed.memory.query = lambda **parameters: (
        original(**parameters)
        | {  # type: ignore[method-assign]
            "ConsumedCapacity": {"CapacityUnits": 0.5}
        }
    )
    cost = listed.page(40, 5).cost
    assert (cost.requests, cost.read_units) == (len(listed.client.queries), 0.5 * len(listed.client.queries))
    near = listed.page(3, 5).cost
    assert (near.requests, near.round_trips, near.read_units, near.items_read) == (2, 1, 1.0, 1 + 8)


# --------------------------------------------------------------------------------- rows that contradict


@pytest.fixture
def drifted() -> List:
    """Ten entries in each of two five seconds of two days, whose newer ten minutes hold less than its day says."""
    listed = List(
        *(f"2026-11-22T16:41:46.{number:06}Z" for number in range(10)),
        *(f"2026-11-23T16:41:46.{number:06}Z" for number in range(10)),
    )
    for key in listed.keys[:6]:
        del listed.memory.tables["sessions"][(key.partition("#")[2],)]
    listed.keys = listed.keys[6:]
    return listed


def test_a_ten_minutes_row_that_holds_less_than_its_day_ends_the_search_there(drifted: List) -> None:
    drifted.bin("T2026-11-23T16:4", "1:45", 4)
    # By months and day rank 5 is on the 23rd; its row has four entries left, so rank 5 is the second of the 22nd.
    assert drifted.seen(5, 3, near=0) == drifted.keys[5:8]
    assert drifted.client.buckets == ["D2026-11-23", "T2026-11-23T16:4"]
    (walk,) = drifted.client.on_index
    # Down from the beginning of the five seconds that hold too little, over the one entry of the 22nd before it.
    assert (walk["ExpressionAttributeValues"][":bound"]["S"], walk["Limit"]) == ("2026-11-23T16:4", 4)


def test_a_day_row_that_holds_less_than_its_month_ends_the_search_there(drifted: List) -> None:
    drifted.bin("D2026-11-23", "164", 4)
    assert drifted.seen(5, 3, near=0) == drifted.keys[5:8]
    assert drifted.client.buckets == ["D2026-11-23"]


def test_a_row_that_is_missing_is_one_without_bins(drifted: List) -> None:
    del drifted.memory.tables["counts"][ORGANIZATION, "D2026-11-23"]
    # By the months rank 5 is on the 23rd, whose row has none: it is looked for among the entries before that day.
    assert drifted.seen(5, 3, near=0) == drifted.keys[9:12]
    assert drifted.client.buckets == ["D2026-11-23"]


def test_months_are_read_over_as_many_cursor_pages_as_they_fill() -> None:
    listed = List(*(f"2026-{month:02}-01T00:00:00.000000Z" for month in range(1, 13)), page=5)
    for offset in range(12):
        assert listed.seen(offset, 2, near=0) == listed.keys[offset:][:2]
        assert listed.page(offset, 2, near=0).page["total"] == 12


def test_the_first_and_the_last_month_that_can_be_are_read() -> None:
    listed = List()
    for number, month in enumerate(("0000-01", "0000-02", "9999-11", "9999-12")):
        item = item_of(session(number)) | {"created_at_id": {"S": f"{month}-23T16:41:46.000000Z#{number}"}}
        listed.memory.put_item("sessions", item)
        listed.count(item, 1)
    for offset in range(4):
        result = listed.page(offset, 1, near=-1)
        # What contradicts its key is left out, but has its rank.
        assert [each.id for each in result.invalid] == [session(3 - offset)["id"]]
        assert result.page["total"] == 4


def test_a_month_row_of_an_earlier_version_is_none() -> None:
    listed = uncounted(40, 1000)
    listed.memory.tables["counts"][ORGANIZATION, "M2026-11"] = {
        **{name: {"S": value} for name, value in (("scope", ORGANIZATION), ("bucket", "M2026-11"))},
        "count": {"N": "7"},
    }
    assert listed.seen(35, 3) == listed.keys[35:38]
    assert listed.page(35, 3).page["total"] == 40


@pytest.mark.parametrize("value", [-1, -100])
def test_a_bin_below_zero_counts_as_none_at_every_level_and_is_reported(value: int) -> None:
    listed = List(*(f"2026-{month}-{day}T16:41:46.000000Z" for month in ("10", "11") for day in ("22", "23")))
    for bucket, name in (
        ("M2026-11", "24"),
        ("D2026-11-23", "165"),
        ("T2026-11-23T16:4", "9:55"),
    ):
        listed.bin(bucket, name, value)
    for offset in range(4):
        result = listed.page(offset, 4, near=-1)
        assert [f"{each['created_at']}#{each['id']}" for each in result.page["data"]] == listed.keys[offset:]
        assert result.page["total"] == 4
    assert listed.page(0, 4, near=-1).negative_buckets == ["M2026-11", "D2026-11-23", "T2026-11-23T16:4"]
    assert total({"01": value, "02": 3}) == 3


def test_a_bin_of_zero_is_no_drift() -> None:
    listed = List(seconds(1))
    listed.bin("M2026-11", "24", 0)
    assert listed.page(0, 4).negative_buckets == []


def test_a_total_that_its_page_disproves_gives_way() -> None:
    listed = List(*map(seconds, range(9)))
    listed.bin("M2026-11", "23", 5)
    assert listed.page(0, 8).page["total"] == 8
    assert listed.page(2, 8).page["total"] == 9
    assert listed.page(5, 8, near=0).page["total"] == 5  # past the counted end no entry is read that proves more
    listed.bin("M2026-11", "23", 20)
    assert listed.page(0, 8).page["total"] == 20
    assert listed.page(0, 10).page["total"] == 9


def test_a_walk_up_that_runs_off_the_newest_end_begins_again_from_there() -> None:
    listed = List(*(f"2026-11-23T16:41:46.{number:06}Z" for number in range(40)))
    for key in listed.keys[:25]:
        del listed.memory.tables["sessions"][(key.partition("#")[2],)]
    left = listed.keys[25:]
    result = listed.page(24, 4, near=0)  # sixteen below it by the counts, fifteen in the table
    assert (result.page["data"], result.page["total"]) == ([], len(left))
    result = listed.page(10, 4, near=0)
    assert [f"{each['created_at']}#{each['id']}" for each in result.page["data"]] == left[10:14]


# ------------------------------------------------------------------------------------- never counted


def uncounted(entries: int, page: int) -> List:
    listed = List(page=page)
    for number in range(entries):
        listed.create(number, seconds(number), is_counted=False)
    listed.keys.sort(reverse=True)
    return listed


def test_a_partition_without_counts_is_counted_over_as_many_cursor_pages_as_are_allowed_and_no_more() -> None:
    listed = uncounted(entries=30, page=10)
    listed.memory.names_the_end = False
    assert listed.page(25, 10, count_responses_max=3, near=0).page["total"] == 30
    with pytest.raises(Unavailable, match="still being counted"):
        listed.page(25, 10, uncounted_pages=2, near=0)


def test_a_page_near_the_start_that_reaches_the_end_needs_no_counting() -> None:
    listed = uncounted(entries=8, page=10)
    result = listed.page(2, 10, uncounted_pages=0)
    assert (len(result.page["data"]), result.page["total"]) == (6, 8)
    with pytest.raises(Unavailable):
        listed.page(2, 3, uncounted_pages=0)


def test_any_page_of_a_partition_without_counts_is_found() -> None:
    listed = uncounted(entries=8, page=10)
    for offset in range(9):
        result = listed.page(offset, 3, near=0)
        assert [f"{each['created_at']}#{each['id']}" for each in result.page["data"]] == listed.keys[offset:][:3]
        assert result.page["total"] == 8


# ---------------------------------------------------------------------------------- locating: pure functions

RANGE = BinRange("2026-11", "2026-11", "2026-12", start=100, end=200)


@pytest.mark.parametrize(
    ("offset", "limit", "expected"),
    [
        (100, 20, StartingPoint("2026-12", 100)),
        (140, 20, StartingPoint("2026-12", 100)),  # 60 entries down, 60 up
        (141, 20, StartingPoint("2026-11", 200, is_upward=True)),
        (199, 20, StartingPoint("2026-11", 200, is_upward=True)),
        (100, 100, StartingPoint("2026-12", 100)),  # as far as the walk up, which would take another one beside it
        (101, 100, StartingPoint("2026-11", 200, is_upward=True)),
        (200, 20, StartingPoint("2026-11", 200)),
        (205, 20, StartingPoint("2026-11", 200)),
    ],
)
def test_a_walk_starts_where_it_is_shorter(offset: int, limit: int, expected: StartingPoint) -> None:
    assert starting_point(RANGE, offset, limit) == expected


def test_a_walk_starts_at_the_top_of_a_range_that_has_no_lower_end() -> None:
    span = RANGE._replace(lower=None)
    assert starting_point(span, 199, 20) == StartingPoint("2026-12", 100)
    assert starting_point(span, 250, 20) == StartingPoint("2026-12", 100)


def test_an_offset_is_near_when_either_end_of_its_range_is() -> None:
    near = [offset for offset in range(100, 200) if is_near(RANGE, offset, near=3)]
    assert near == [100, 101, 102, 103, 197, 198, 199]
    assert is_near(RANGE, 130)
    assert not is_near(RANGE, 131)
    assert not is_near(RANGE, 169)
    assert is_near(RANGE, 170)


def test_the_day_of_a_rank_is_found_over_the_months() -> None:
    months = [(2026 * 12 + 10, {"02": 2, "05": 3, "07": -4}), (2026 * 12 + 8, {"30": 1, "01": 2})]
    found = [find_day(months, offset) for offset in range(9)]
    newer = BinRange("2026-11-05", "2026-11-05", "2026-11-06", 0, 3)
    older = BinRange("2026-11-02", "2026-11-02", "2026-11-03", 3, 5)
    last = BinRange("2026-09-30", "2026-09-30", "2026-09-31", 5, 6)
    first = BinRange("2026-09-01", "2026-09", "2026-09-02", 6, 8)
    assert found == [newer, newer, newer, older, older, last, first, first, None]


def test_the_first_and_the_last_month_have_no_end() -> None:
    assert find_day([(0, {"01": 1})], 0) == BinRange("0000-01-01", None, "0000-01-02", 0, 1)
    assert find_day([(119_999, {"31": 1})], 0) == BinRange("9999-12-31", "9999-12-31", None, 0, 1)


def test_a_range_that_holds_less_than_was_said_ends_before_the_offset() -> None:
    span = BinRange("2026-11-23", "2026-11-23", "2026-11-24", 10, 20)
    assert find_bin(span, DAY, {"164": 4, "165": -2}, 15) == BinRange("2026-11-23", "2026-11-23", "2026-11-24", 10, 14)
    ten = BinRange("2026-11-23T16:4", "2026-11-23T16:4", "2026-11-23T16:5", 10, 14)
    assert find_bin(span, DAY, {"164": 4, "165": -2}, 13) == ten


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("2026-11-23T16:41:46.463925Z#s", [("M2026-11", "23"), ("D2026-11-23", "164"), ("T2026-11-23T16:4", "1:45")]),
        ("2026-11-01T00:00:00.000000Z#s", [("M2026-11", "01"), ("D2026-11-01", "000"), ("T2026-11-01T00:0", "0:00")]),
        ("2026-11-30T23:59:59.999999Z#s", [("M2026-11", "30"), ("D2026-11-30", "235"), ("T2026-11-30T23:5", "9:55")]),
        ("2026-11-23T16:41:4", [("M2026-11", "23"), ("D2026-11-23", "164"), ("T2026-11-23T16:4", "1:35")]),
        ("2026-11-23T16:49:60", [("M2026-11", "23"), ("D2026-11-23", "164"), ("T2026-11-23T16:4", "9:55")]),
        ("", [("M0000-01", "01"), ("D0000-01-01", "000"), ("T0000-01-01T00:0", "0:00")]),
        ("zebra", [("M9999-12", "31"), ("D9999-12-31", "235"), ("T9999-12-31T23:5", "9:55")]),
        ("2026-11", [("M2026-11", "01"), ("D2026-11-01", "000"), ("T2026-11-01T00:0", "0:00")]),
        ("2026-12-", [("M2026-12", "01"), ("D2026-12-01", "000"), ("T2026-12-01T00:0", "0:00")]),
        ("2026-11-99", [("M2026-11", "31"), ("D2026-11-31", "235"), ("T2026-11-31T23:5", "9:55")]),
    ],
)
def test_every_sort_key_has_one_place_at_each_level(key: str, expected: list[tuple[str, str]]) -> None:
    assert places(key) == expected


@pytest.mark.parametrize(
    ("bucket", "month"),
    [("M2026-11", 24_322), ("M0000-01", 0), ("M9999-12", 119_999)]
    + [(bucket, None) for bucket in ("M2026-13", "M2026-00", "M2026-1", "M2026-11-", "2026-11", "D2026-11", "M", "")],
)
def test_only_the_bucket_of_a_month_names_one(bucket: str, month: int | None) -> None:
    assert month_of(bucket) == month
    assert month is None or MONTH.bucket(month_text(month)) == bucket


def test_a_row_has_a_bin_for_each_part_of_its_span() -> None:
    assert (len(MONTH.bins), len(DAY.bins), len(TEN_MINUTES.bins)) == (31, 144, 120)
    assert (MONTH.bins[0], MONTH.bins[-1], MONTH.beginnings[0]) == ("01", "31", "-01")
    assert (DAY.bins[0], DAY.bins[-1], DAY.beginnings[99]) == ("000", "235", "T16:3")
    assert (TEN_MINUTES.bins[0], TEN_MINUTES.bins[-1], TEN_MINUTES.beginnings[13]) == ("0:00", "9:55", "1:05")
    assert [level.letter for level in (MONTH, DAY, TEN_MINUTES)] == ["M", "D", "T"]


# ------------------------------------------------------------------------------------------- 6 MB

ROOM = 6_291_556 - 4_096
"""Lambda's response ('Lambda quotas'), less what surrounds the body."""


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        (b"x" * ROOM, True),
        (b"x" * (ROOM + 1), False),
        (b'"' * (ROOM // 2), True),
        (b'"' * (ROOM // 2) + b"x", False),
        (b"\\" * (ROOM // 2) + b"x", False),
        (b'"\\' * (ROOM // 4) + b"x", False),
        (b'"' * 1000 + b"x" * (ROOM - 2000), True),
        (b'"' * 1000 + b"x" * (ROOM - 1999), False),
        (b"\\" * 1000 + b"x" * (ROOM - 1999), False),
        ("é".encode() * (ROOM // 2), True),
        ("é".encode() * (ROOM // 2 + 1), False),
    ],
    ids=range(11),
)
def test_a_body_fits_with_its_quotes_and_backslashes_escaped_once_more(body: bytes, fits: bool) -> None:
    assert responses.fits_response(body) == fits


# -------------------------------------------------------------------------------- believed responses

QUERY = {"ResponseMetadata": {}, "Count": 1, "ScannedCount": 1, "Items": [{}]}
GET_ITEM = {"ResponseMetadata": {}}
BATCH = {"ResponseMetadata": {}, "Responses": {"counts": [{}]}}


def without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda parsed: {key: value for key, value in parsed.items() if key != name}


@pytest.mark.parametrize(
    ("operation", "parsed", "is_believed"),
    [
        ("Query", QUERY, True),
        ("Query", {**QUERY, "Count": 0, "ScannedCount": 0, "Items": []}, True),
        ("Query", {**QUERY, "Count": 5, "Items": None}, True),
        ("Query", without("Items")(QUERY), True),
        ("Query", {**QUERY, "Count": -1, "Items": None}, False),
        ("Query", {**QUERY, "ScannedCount": -1}, False),
        ("Query", {**QUERY, "ScannedCount": True}, False),
        ("Query", {**QUERY, "ScannedCount": "1"}, False),
        ("Query", {**QUERY, "Count": 1.0}, False),
        ("Query", {**QUERY, "Count": 2}, False),
        ("Query", {**QUERY, "Items": [[]]}, False),
        ("Query", {**QUERY, "Items": {}}, False),
        ("Query", {**QUERY, "Items": "a"}, False),
        ("Query", without("Count")(QUERY), False),
        ("Query", without("ScannedCount")(QUERY), False),
        ("Query", without("ResponseMetadata")(QUERY), False),
        ("GetItem", GET_ITEM, True),
        ("GetItem", {**GET_ITEM, "Item": {}}, True),
        ("GetItem", {**GET_ITEM, "Item": []}, False),
        ("GetItem", {**GET_ITEM, "Item": None}, False),
        ("BatchGetItem", BATCH, True),
        ("BatchGetItem", {**BATCH, "Responses": {}}, True),
        ("BatchGetItem", {**BATCH, "Responses": []}, False),
        ("BatchGetItem", {**BATCH, "Responses": {"counts": {}}}, False),
        ("BatchGetItem", {**BATCH, "Responses": {"counts": [1]}}, False),
        ("BatchGetItem", without("Responses")(BATCH), False),
        ("TransactWriteItems", GET_ITEM, True),
        ("TransactWriteItems", {}, False),
    ],
)
def test_a_response_is_believed_only_in_the_shape_of_its_operation(
    operation: str, parsed: dict[str, Any], is_believed: bool
) -> None:
    reason = find_damage(operation, {}, b"{}", parsed)
    in_json = "ResponseMetadata" in parsed
    assert reason == (None if is_believed else "not of the operation's shape" if in_json else "not a JSON object")


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        ({"content-length": "2", "x-amz-crc32": "2745614147"}, b"{}", None),
        ({}, b"{}\n", None),
        ({"content-length": "3"}, b"{}", "2 of 3 bytes"),
        ({"content-length": "1"}, b"{}", "2 of 1 bytes"),
        ({"x-amz-crc32": "2745614146"}, b"{}", "its checksum is wrong"),
        ({}, b"", "not a JSON object"),
        ({}, b"[]", "not a JSON object"),
        ({}, b"{", "not a JSON object"),
        ({}, b"}", "not a JSON object"),
        ({}, b"<html>", "not a JSON object"),
    ],
)
def test_a_response_is_believed_only_whole_and_true(headers: dict[str, str], body: bytes, reason: str | None) -> None:
    assert find_damage("GetItem", headers, body, GET_ITEM) == reason


@pytest.mark.parametrize("body", [b"null", b"[]", b"5", b'"x"', b"\xff", b"", b"{", b"<html>"])
@pytest.mark.parametrize("operation", ["Query", "GetItem", "BatchGetItem", "TransactWriteItems"])
def test_a_body_that_is_no_object_is_read_as_nothing_and_refused(operation: str, body: bytes) -> None:
    model = botocore.session.Session().get_service_model("dynamodb").operation_model(operation)
    response = {"status_code": 200, "headers": {}, "body": body, "context": {"operation_name": operation}}
    parsed = ItemParser().parse(response, model.output_shape)
    assert parsed.keys() <= {"ResponseMetadata"}
    assert find_damage(operation, {}, body, parsed) == "not a JSON object"


def test_a_damaged_response_is_worth_another_try_and_after_the_last_one_a_fault() -> None:
    checks = ResponseChecks(2)
    answer = SimpleNamespace(status_code=200, headers={}, content=b""), {}
    query = SimpleNamespace(name="Query")
    assert checks(answer, query, 1) == RETRY_DELAY
    with pytest.raises(DamagedResponse) as raised:
        checks(answer, query, 2)
    assert str(raised.value) == "The response to Query was damaged: not a JSON object"
