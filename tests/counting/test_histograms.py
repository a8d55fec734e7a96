"""Count rows and their bins, for any text that a writer may have put into a sort key."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.histograms import (
    DAY,
    MONTH,
    TEN_MINUTES,
    BinRange,
    Bins,
    Level,
    add,
    find_bin,
    find_day,
    month_of,
    month_text,
    places,
    total,
)
from sessions.schema import IndexKeys

LEVELS = (MONTH, DAY, TEN_MINUTES)

times = st.datetimes().map(lambda moment: moment.isoformat(timespec="microseconds") + "Z#session_1")
odd_texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
near_misses = st.builds(
    lambda time, cut, rest: time[:cut] + rest,
    times,
    st.integers(0, 30),
    st.text(st.characters(min_codepoint=32, max_codepoint=0x100), max_size=3),
).filter(bool)
sort_keys = st.one_of(times, odd_texts, near_misses)


def test_a_session_is_counted_in_a_bin_of_its_month_day_and_ten_minutes() -> None:
    assert places("2026-11-23T16:41:46.463925Z#session_1") == [
        ("M2026-11", "23"),
        ("D2026-11-23", "164"),
        ("T2026-11-23T16:4", "1:45"),
    ]


@given(sort_key=sort_keys)
def test_any_sort_key_has_one_of_the_bins_of_each_level(sort_key: str) -> None:
    for level, (bucket, name) in zip(LEVELS, places(sort_key), strict=True):
        assert bucket.startswith(level.letter)
        assert name in level.names


@given(sort_keys=st.lists(sort_keys, min_size=2, max_size=20))
def test_rows_and_bins_are_in_the_order_of_the_sort_keys(sort_keys: list[str]) -> None:
    # DynamoDB compares the bytes of UTF-8.
    ordered = sorted(sort_keys, key=str.encode)
    assert [places(key) for key in ordered] == sorted(places(key) for key in ordered)


@pytest.mark.parametrize(("level", "most"), [(MONTH, 31), (DAY, 144), (TEN_MINUTES, 120)])
def test_a_level_has_no_more_bins_than_keep_a_row_below_1_kb(level: Level, most: int) -> None:
    assert len(level.bins) == most
    key = len("scope") + len("org_#agent_") + 64 + len("bucket") + len("T2026-11-23T16:4")
    number = 3 if level is not MONTH else 5  # bytes of 4 digits; of 8 digits ('DynamoDB item sizes and formats')
    assert key + sum(len(name) + number for name in level.bins) < 1024


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.letter)
def test_no_bin_has_the_name_of_another_attribute(level: Level) -> None:
    assert level.names.isdisjoint(
        {"scope", "bucket", "count", "organization_id", "organization_agent", "created_at_id"}
    )


def rows_of(keys: Iterable[str]) -> dict[str, Counter[str]]:
    """The rows of one scope that counting makes."""
    changes: Counter[tuple[tuple[str, str], str]] = Counter()
    for key in keys:
        add(changes, IndexKeys("org_1", None, key), 1)
    rows: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for ((_, bucket), name), count in changes.items():
        rows[bucket][name] = count
    return rows


def months_of(rows: dict[str, Counter[str]]) -> list[tuple[int, Bins]]:
    numbered = {month: rows[bucket] for bucket in rows if (month := month_of(bucket)) is not None}
    return sorted(numbered.items(), reverse=True)


@given(sort_keys=st.lists(sort_keys, min_size=1, max_size=25, unique=True))
def test_every_rank_is_found_in_the_range_that_holds_its_entry(sort_keys: list[str]) -> None:
    newest_first = sorted(sort_keys, key=str.encode, reverse=True)
    rows = rows_of(sort_keys)
    assert sum(total(bins) for _, bins in months_of(rows)) == len(sort_keys)
    for rank, key in enumerate(newest_first):
        span = find_day(months_of(rows), rank)
        for level in (None, DAY, TEN_MINUTES):
            assert span is not None
            if level is not None:
                span = find_bin(span, level, rows[level.bucket(span.text)], rank)
            assert span.start <= rank < span.end
            held = [each for each in newest_first if within(span, each)]
            assert held == newest_first[span.start : span.end]
            assert key in held
    assert find_day(months_of(rows), len(sort_keys)) is None


def within(span: BinRange, key: str) -> bool:
    return (span.lower is None or span.lower.encode() <= key.encode()) and (
        span.upper is None or key.encode() < span.upper.encode()
    )


def test_a_row_that_holds_less_than_the_coarser_one_said_ends_before_the_offset() -> None:
    span = BinRange("2026-11-23", "2026-11-23", "2026-11-24", 10, 20)
    narrower = find_bin(span, DAY, {"164": 3}, 15)
    assert (narrower.start, narrower.end, narrower.lower) == (10, 13, "2026-11-23")


def test_a_bin_below_zero_counts_as_0() -> None:
    assert total({"01": 5, "02": -3}) == 5
    assert find_bin(BinRange("2026-11", "2026-11", "2026-12", 0, 5), MONTH, {"30": -3, "01": 5}, 0).text == "2026-11-01"


@pytest.mark.parametrize("bucket", ["M", "M2026-13", "M2026-1", "M2026-11-", "H2026-11-23T16", "S", "M２026-11"])
def test_a_bucket_that_names_no_month_is_told_apart(bucket: str) -> None:
    assert month_of(bucket) is None


def test_months_are_numbered_in_the_order_of_their_texts() -> None:
    numbers = [month_of("M" + text) for text in ("0000-01", "1999-12", "2000-01", "9999-12")]
    assert numbers == sorted(numbers, key=lambda number: number or 0)
    assert [month_text(number) for number in numbers if number is not None] == [
        "0000-01",
        "1999-12",
        "2000-01",
        "9999-12",
    ]
