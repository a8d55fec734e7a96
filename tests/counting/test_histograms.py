"""Count rows and their bins, for any text that a writer may have put into a sort key."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.histograms import (
    LEVELS,
    Bins,
    Level,
    Span,
    add,
    day_buckets,
    find_day,
    find_five_seconds,
    month_number,
    places,
    total,
)
from sessions.schema import BUCKET, CREATED_AT_ID, ORGANIZATION_AGENT, ORGANIZATION_ID, SCOPE, IndexKeys

times = st.datetimes().map(lambda moment: moment.isoformat(timespec="microseconds") + "Z#session_1")
odd_texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
near_misses = st.builds(
    lambda time, cut, rest: time[:cut] + rest,
    times,
    st.integers(0, 30),
    st.text(st.characters(min_codepoint=32, max_codepoint=0x100), max_size=3),
).filter(bool)
sort_keys = st.one_of(times, odd_texts, near_misses)


@pytest.mark.parametrize(
    ("sort_key", "expected"),
    [
        ("2026-11-23T16:41:46.463925Z#session_1", [("M2026-11", "23"), ("T2026-11-23T16:4", "1:45")]),
        ("2026-11-23T16:50:00.000000Z#session_1", [("M2026-11", "23"), ("T2026-11-23T16:5", "0:00")]),
        ("2026-11", [("M2026-11", "01"), ("T2026-11-01T00:0", "0:00")]),
        ("2026-11-23T99", [("M2026-11", "23"), ("T2026-11-23T23:5", "9:55")]),
        (" ", [("M0000-01", "01"), ("T0000-01-01T00:0", "0:00")]),
        ("later", [("M9999-12", "31"), ("T9999-12-31T23:5", "9:55")]),
    ],
    ids=["a time", "start of ten minutes", "a month", "no such hour", "before all", "after all"],
)
def test_sort_key_has_a_place_at_each_level(sort_key: str, expected: list[tuple[str, str]]) -> None:
    assert places(sort_key) == expected


def test_buckets_of_a_day_are_its_first_and_its_last_ten_minutes() -> None:
    assert day_buckets("2026-11-23") == ("T2026-11-23T00:0", "T2026-11-23T23:5")


@given(sort_key=sort_keys)
def test_any_sort_key_has_one_bin_of_each_level(sort_key: str) -> None:
    for level, (bucket, name) in zip(LEVELS, places(sort_key), strict=True):
        assert bucket.startswith(level.letter)
        assert name in level.bins


@given(keys=st.lists(sort_keys, min_size=2, max_size=20))
def test_bins_partition_the_key_space_in_its_order(keys: list[str]) -> None:
    ordered = sorted(keys, key=str.encode)  # DynamoDB compares the bytes of UTF-8
    assert [places(key) for key in ordered] == sorted(places(key) for key in ordered)


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.letter)
def test_fullest_row_with_the_longest_key_is_below_1_kb(level: Level) -> None:
    scope = f"org_{'f' * 32}#agent_{'f' * 32}"
    bucket = max((each for key in ("2026-11-23T16:41", "zz") for each, _ in places(key)), key=len)
    # An index partition takes 500 creations a second: 43,200,000 a day and 2,500 in five seconds. A number takes a
    # byte for each two digits and one more ('DynamoDB item sizes and formats').
    digits = {"M": 8, "T": 4}[level.letter]
    key = len(SCOPE) + len(scope) + len(BUCKET) + len(bucket)
    assert key + sum(len(name) + digits // 2 + 1 for name in level.bins) < 1024


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.letter)
def test_no_bin_has_the_name_of_another_attribute(level: Level) -> None:
    others = {SCOPE, BUCKET, "count", ORGANIZATION_ID, ORGANIZATION_AGENT, CREATED_AT_ID}
    assert others.isdisjoint(level.bins)


def rows_of(keys: Iterable[str]) -> dict[str, Counter[str]]:
    """Return the rows of one scope that counting makes of these sort keys."""
    changes: Counter[tuple[tuple[str, str], str]] = Counter()
    for key in keys:
        add(changes, IndexKeys("org_1", None, key), 1)
    rows: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for ((_, bucket), name), count in changes.items():
        rows[bucket][name] = count
    return rows


def months_of(rows: dict[str, Counter[str]]) -> list[tuple[int, Bins]]:
    numbered = {month: rows[bucket] for bucket in rows if (month := month_number(bucket)) is not None}
    return sorted(numbered.items(), reverse=True)


@given(keys=st.lists(sort_keys, min_size=1, max_size=25, unique=True))
def test_every_rank_is_found_in_the_span_that_holds_it(keys: list[str]) -> None:
    newest_first = sorted(keys, key=str.encode, reverse=True)
    rows = rows_of(keys)
    assert sum(total(bins) for _, bins in months_of(rows)) == len(keys)
    for rank, key in enumerate(newest_first):
        day = find_day(months_of(rows), rank)
        assert day is not None
        for span in (day, find_five_seconds(day, rows, rank)):
            held = [each for each in newest_first if holds(span, each)]
            assert held == newest_first[span.start : span.end]
            assert key in held
    assert find_day(months_of(rows), len(keys)) is None


def holds(span: Span, key: str) -> bool:
    lower, upper = span.lower or "", span.upper
    return lower.encode() <= key.encode() and (upper is None or key.encode() < upper.encode())


DAY = Span("2026-11-23", "2026-11-23", "2026-11-24", 10, 20)


@pytest.mark.parametrize(
    ("rows", "ends"),
    [
        ({"T2026-11-23T16:4": {"1:45": 3}}, 13),
        ({}, 10),
        ({"T2026-11-23T16:4": {"1:45": -3}}, 10),
        ({"T2026-11-23T16:4": {"1:45": -3, "2:00": 4}}, 14),
    ],
    ids=["fewer", "none", "negative", "negative beside others"],
)
def test_day_whose_rows_hold_fewer_ends_before_the_offset(rows: dict[str, Bins], ends: int) -> None:
    span = find_five_seconds(DAY, rows, 15)
    assert (span.start, span.end, span.lower) == (10, ends, "2026-11-23")


def test_negative_bin_counts_as_zero() -> None:
    assert total({"01": 5, "02": -3}) == 5
    day = find_day([(2026 * 12 + 10, {"30": -3, "01": 5})], 0)
    assert day == Span("2026-11-01", "2026-11", "2026-11-02", 0, 5)


@pytest.mark.parametrize(
    "bucket", ["M", "M2026-13", "M2026-1", "M2026-11-", "D2026-11-23", "H2026-11-23T16", "S", "M２026-11"]
)
def test_other_buckets_name_no_month(bucket: str) -> None:
    assert month_number(bucket) is None
