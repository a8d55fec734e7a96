"""How a page is read: its round trips, the queries that find it, and what happens when counts and index disagree."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sessions import client
from tests.conftest import Lines
from tests.memory import Memory
from tests.service import ORGANIZATION, Response, item_of, memory_service, newest_first, session


class Listed(Memory):
    """An engine with the sessions of one organization; it records its queries."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, moments: tuple[str, ...], page: int, **limits: float) -> None:
        super().__init__(page=page)
        self.queries: list[dict[str, Any]] = []
        self.service = memory_service(monkeypatch, self, **limits)
        sessions = [session(number, created_at=moment) for number, moment in enumerate(moments)]
        self.service.put(*sessions)
        self.ids = [each["id"] for each in newest_first(sessions)]

    def query(self, *arguments: Any, **parameters: Any) -> dict[str, Any]:
        self.queries.append(parameters)
        return super().query(*arguments, **parameters)

    def get(self, offset: int, limit: int) -> Response:
        self.queries.clear()
        return self.service.get(f"offset={offset}&limit={limit}")

    @property
    def walks(self) -> list[tuple[str, int, bool]]:
        """Kind, limit and direction of the last page's queries on the index; True is from old to new."""
        queries = [query for query in self.queries if "IndexName" in query]
        return [(query.get("Select", "ITEMS"), query["Limit"], query["ScanIndexForward"]) for query in queries]

    def set_bin(self, bucket: str, name: str, value: int) -> None:
        """Give a bin a value that no correct history gives it."""
        self.tables["counts"][ORGANIZATION, bucket][name] = {"N": str(value)}


Build = Callable[..., Listed]


@pytest.fixture
def build(environment: None, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Return a function that stores one session for each moment, and counts them unless told otherwise."""

    def built(*moments: str, page: int = 1000, is_counted: bool = True, **limits: float) -> Listed:
        listed = Listed(monkeypatch, moments, page, **limits)
        if is_counted:
            listed.service.drain()
        return listed

    return built


def seconds(number: int) -> list[str]:
    """Return so many moments, each a second after the one before."""
    return [f"2026-11-23T16:{40 + each // 60}:{each % 60:02}.000000Z" for each in range(number)]


def one_second(number: int, day: int = 23) -> list[str]:
    """Return so many moments in one second."""
    return [f"2026-11-{day}T16:41:46.{each:06}Z" for each in range(number)]


# -------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize(
    ("offset", "round_trips", "requests"),
    [
        (0, 1, 2),  # the index, and the months at the same time
        (30, 1, 2),
        (31, 3, 4),  # months, the day's rows, two walks on the index at the same time
        (169, 3, 4),
        (170, 2, 2),  # near the end of its day
        (205, 2, 2),  # near the start of an older day
        (250, 1, 1),  # past the end: the months
    ],
)
def test_a_page_takes_at_most_three_round_trips(
    build: Build, lines: Lines, offset: int, round_trips: int, requests: int
) -> None:
    listed = build(*seconds(200), *one_second(50, day=22))
    lines()
    assert listed.get(offset, 10).ids == listed.ids[offset : offset + 10]
    (line,) = lines()
    assert (line["RoundTrips"], line["requests"]) == ([round_trips], requests)


@pytest.mark.parametrize(("transfer_max", "most"), [(49, 3), (48, 4)])
def test_a_fourth_round_trip_skips_more_than_one_response(
    build: Build, lines: Lines, transfer_max: int, most: int
) -> None:
    listed = build(*one_second(100), transfer_max=transfer_max)
    lines()
    for offset in range(101):
        assert listed.get(offset, 1).ids == listed.ids[offset : offset + 1]
    assert max(line["RoundTrips"][0] for line in lines()) == most


def test_a_page_across_two_bins_is_read_by_two_walks_at_once(build: Build, lines: Lines) -> None:
    listed = build(*one_second(50, day=22), *one_second(50, day=23))
    lines()
    assert listed.get(45, 10).ids == listed.ids[45:55]
    (line,) = lines()
    assert (line["RoundTrips"], line["requests"]) == ([2], 3)
    assert sorted(listed.walks) == [("ITEMS", 5, False), ("ITEMS", 5, True)]


def test_of_two_simultaneous_reads_the_longer_one_is_counted(build: Build, lines: Lines) -> None:
    listed = build(*(f"2026-{month:02}-01T00:00:00.000000Z" for month in range(1, 13)), page=5)
    lines()
    assert listed.get(0, 2).body["total"] == 12
    (line,) = lines()
    assert (line["RoundTrips"], line["requests"]) == ([3], 4)


def test_a_page_costs_what_dynamodb_says_it_consumed(build: Build, lines: Lines) -> None:
    listed = build(*seconds(200))
    query = listed.query
    listed.query = lambda **each: query(**each) | {"ConsumedCapacity": {"CapacityUnits": 0.5}}  # type: ignore[method-assign]
    lines()
    listed.get(31, 10)
    (line,) = lines()
    assert (line["ReadUnits"], line["ItemsRead"]) == ([4 * 0.5], [1 + 1 + 10])  # a month, ten minutes, the page
    assert {each["ReturnConsumedCapacity"] for each in listed.queries} == {"TOTAL"}


def test_no_read_begins_after_the_deadline(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = build(*seconds(200))
    query = listed.query
    now = 0.0

    def slow(**parameters: Any) -> Any:
        nonlocal now
        now += 6
        return query(**parameters)

    listed.query = slow  # type: ignore[method-assign]
    monkeypatch.setattr(client, "time", SimpleNamespace(monotonic=lambda: now))
    response = listed.get(31, 10)
    error = {"code": "unavailable", "message": "The response took too long; try again shortly."}
    assert (response.status, response.body) == (503, {"error": error})
    assert len(listed.queries) == 2  # neither of the two walks at the same time


# ----------------------------------------------------------------------------------- walks and skips


@pytest.mark.parametrize(
    ("skip", "walks"),
    [(6, [("ITEMS", 8, False)]), (7, [("COUNT", 7, False), ("ITEMS", 2, False)])],
)
def test_a_skip_longer_than_one_response_is_counted(build: Build, skip: int, walks: list[Any]) -> None:
    listed = build(*one_second(30), scan_max=20, transfer_max=6)
    assert listed.get(skip, 2).ids == listed.ids[skip : skip + 2]
    assert listed.walks == walks


def test_a_count_goes_on_until_the_rest_may_be_transferred(build: Build) -> None:
    listed = build(*one_second(100), page=10, scan_max=100, transfer_max=5)
    assert listed.get(27, 3).ids == listed.ids[27:30]
    assert listed.walks == [("COUNT", 27, False), ("COUNT", 17, False), ("COUNT", 7, False), ("ITEMS", 3, False)]


@pytest.mark.parametrize(
    ("offset", "walks"),
    [
        (140, [("ITEMS", 50, False)]),
        (160, [("ITEMS", 40, True)]),
        (195, [("ITEMS", 5, False), ("ITEMS", 5, True)]),
    ],
)
def test_a_walk_starts_at_the_nearer_end_of_its_range(build: Build, offset: int, walks: list[Any]) -> None:
    listed = build(*one_second(100, day=21), *one_second(100, day=22), *one_second(100, day=23), scan_max=0)
    assert listed.get(offset, 10).ids == listed.ids[offset : offset + 10]
    assert sorted(listed.walks) == walks


def test_a_page_takes_sessions_from_few_responses(build: Build) -> None:
    listed = build(*seconds(40), page=5, responses_max=2, scan_max=100)
    assert listed.get(20, 10).ids == listed.ids[20:30]  # the responses that are only skipped do not count
    assert listed.get(19, 10).body["error"]["code"] == "page_too_large"


# ---------------------------------------------------------------------- counts that contradict the index


def test_a_skip_past_the_end_proves_the_total(build: Build) -> None:
    listed = build(*seconds(12), transfer_max=3)
    listed.set_bin("M2026-11", "23", 90)
    listed.set_bin("T2026-11-23T16:4", "0:10", 90)
    body = listed.get(40, 5).body
    assert (body["data"], body["total"]) == ([], 12)


@pytest.mark.parametrize(
    ("counted", "offset", "limit", "total"), [(5, 0, 8, 8), (5, 2, 8, 9), (5, 5, 8, 5), (20, 0, 8, 20), (20, 0, 10, 9)]
)
def test_a_page_overrules_a_total_that_it_disproves(
    build: Build, counted: int, offset: int, limit: int, total: int
) -> None:
    listed = build(*seconds(9), scan_max=2)
    listed.set_bin("M2026-11", "23", counted)
    assert listed.get(offset, limit).body["total"] == total


def test_two_walks_to_the_oldest_session_prove_the_total(build: Build) -> None:
    listed = build(*one_second(50, day=22), *one_second(50, day=23))
    for session_id in listed.ids[-3:]:
        listed.service.delete(session_id)
    assert listed.get(45, 60).body["total"] == 97


def test_a_walk_past_the_newest_session_starts_again_from_it(build: Build) -> None:
    listed = build(*one_second(40), scan_max=0)
    for session_id in listed.ids[:25]:
        listed.service.delete(session_id)
    assert listed.get(10, 4).ids == listed.ids[35:39]
    body = listed.get(24, 4).body  # sixteen sessions from there on by the counts, fifteen in the table
    assert (body["data"], body["total"]) == ([], 15)


@pytest.mark.parametrize("is_missing", [False, True])
def test_reading_goes_on_in_older_sessions_when_rows_hold_less(build: Build, is_missing: bool) -> None:
    listed = build(*one_second(10, day=22), *one_second(10, day=23), scan_max=0)
    for session_id in listed.ids[: 10 if is_missing else 6]:
        listed.service.delete(session_id)
    if is_missing:
        del listed.tables["counts"][ORGANIZATION, "T2026-11-23T16:4"]
        expected = listed.ids[15:18]  # rank 5, of which none are on the 23rd
    else:
        listed.set_bin("T2026-11-23T16:4", "1:45", 4)
        expected = listed.ids[11:14]  # rank 5, of which four are on the 23rd
    assert listed.get(5, 3).ids == expected


def test_a_deletion_between_two_reads_leaves_the_page_exact(build: Build) -> None:
    listed = build(*one_second(4, day=22), *one_second(4, day=23), scan_max=0)
    query = listed.query

    def query_after_deletion(**parameters: Any) -> Any:
        if len(listed.queries) == 1:  # the months have been read
            for session_id in listed.ids[:3]:
                listed.service.delete(session_id)
            listed.service.drain()
        return query(**parameters)

    listed.query = query_after_deletion  # type: ignore[method-assign]
    response = listed.get(2, 2)
    assert response.ids == listed.ids[5:7]
    assert response.body["total"] >= 4


def test_a_negative_bin_counts_as_zero_and_is_reported(build: Build, lines: Lines) -> None:
    moments = [f"2026-{month}-{day}T16:41:46.000000Z" for month in ("10", "11") for day in ("22", "23")]
    listed = build(*moments, scan_max=-1)
    listed.set_bin("M2026-11", "24", -1)
    listed.set_bin("T2026-11-23T16:4", "9:55", -100)
    lines()
    for offset in range(4):
        response = listed.get(offset, 4)
        assert (response.ids, response.body["total"]) == (listed.ids[offset:], 4)
    line = lines()[0]
    assert (line["NegativeBins"], line["negative_buckets"]) == ([2], ["M2026-11", "T2026-11-23T16:4"])


def test_a_bin_of_zero_is_no_fault(build: Build, lines: Lines) -> None:
    listed = build(*seconds(1))
    listed.set_bin("M2026-11", "24", 0)
    lines()
    listed.get(0, 4)
    assert lines()[0]["NegativeBins"] == [0]


def test_the_first_and_the_last_possible_month_are_read(build: Build) -> None:
    listed = build(scan_max=-1)
    for number, month in enumerate(("0000-01", "0000-02", "9999-11", "9999-12")):
        moment = f"{month}-23T16:41:46.000000Z"
        item = item_of(session(number, created_at=moment)) | {"created_at_id": {"S": f"{moment}#{number}"}}
        listed.service.put_items(item)  # invalid, so it is left out and keeps its place
    listed.service.drain()
    for offset in range(4):
        body = listed.get(offset, 1).body
        assert (body["data"], body["total"]) == ([], 4)


# ------------------------------------------------------------------------- partitions never counted


@pytest.mark.parametrize("row", [None, {"count": {"N": "7"}}])
def test_any_page_of_a_partition_never_counted_is_found(build: Build, row: dict[str, Any] | None) -> None:
    listed = build(*seconds(8), page=10, is_counted=False, scan_max=0)
    if row:  # it has no bins
        listed.put_item("counts", {"scope": {"S": ORGANIZATION}, "bucket": {"S": "M2026-11"}} | row)
    for offset in range(9):
        response = listed.get(offset, 3)
        assert (response.ids, response.body["total"]) == (listed.ids[offset : offset + 3], 8)


def test_a_long_partition_never_counted_is_unavailable(build: Build) -> None:
    message = "The sessions of this organization are still being counted; try again later."
    listed = build(*seconds(30), page=10, is_counted=False, scan_max=5, count_responses_max=3)
    assert listed.get(25, 10).body["total"] == 30
    listed.service.put(session(1000))
    response = listed.get(25, 10)
    assert (response.status, response.body) == (503, {"error": {"code": "unavailable", "message": message}})


def test_a_first_page_that_holds_everything_needs_no_count(build: Build) -> None:
    listed = build(*seconds(8), is_counted=False, count_responses_max=0)
    assert listed.get(2, 10).body["total"] == 8
    assert listed.get(2, 3).status == 503
