"""Hostile items: every field of every type, and what only just does not fit; pages come without what is invalid."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from datetime import datetime
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.service import AGENT, ORGANIZATION, OTHER_ORGANIZATION, Service, in_memory, item_of, session

TEXTS: Final = ["", " ", "x", "null", "0", "true", "\u0000", "\U0001f600", "a" * 5000, "2026-11-23", "{}", "[]"]
TIMES: Final = [
    *("2026-11-23T16:41:46Z", "2026-11-23T16:41:46.463925Z", "2026-11-23t16:41:46.1+02:00", "0001-01-01T00:00:00Z"),
    *("2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-11-23T24:00:00Z", "2026-11-23T16:41:46", "yesterday"),
    *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:60Z", "2026-11-23T16:41Z", "20261123T164146Z", "1764000000"),
    *("2026-11-23T16:41:46,5Z", "２026-11-23T16:41:46Z", "2026-11-23T16:41:46.Z", "2026-11-23T16:41:61Z", "-1"),
]
NUMBERS: Final = ["0", "1", "-1", "2147483647", "2147483648", "1.5", "1E+3", "1E-130", "9" * 38, "5.0", "-0"]

ATTRIBUTES: Final[list[dict[str, Any]]] = [
    *({"S": each} for each in [*TEXTS, *TIMES, "started", "active", "idle", "Idle", ORGANIZATION]),
    *({"N": each} for each in NUMBERS),
    *({"BOOL": each} for each in (True, False)),
    {"NULL": True},
    *({"B": each} for each in ("", "/wA=", "aWRsZQ==")),
    *({"SS": each} for each in (["a"], ["a", "b"])),
    {"NS": ["1", "2"]},
    {"BS": ["/wA="]},
    *({"L": each} for each in ([], [{"S": "a"}], [{"N": "1"}], [{"NULL": True}], [{"B": "/wA="}], [{"L": []}])),
    *({"L": [{"M": each}]} for each in ({}, {"ref": {"S": "r"}}, {"ref": {"N": "1"}}, {"config": {"S": "c"}})),
    {"L": [{"M": {"ref": {"S": "r"}, "config": {"B": "/wA="}}}, {"M": {"ref": {"S": ""}, "more": {"S": "x"}}}]},
    *({"M": each} for each in ({}, {"ref": {"S": "r"}}, {"input_tokens": {"N": "1"}})),
    {"M": {"input_tokens": {"N": "1"}, "output_tokens": {"N": "2"}}},
    {"M": {"input_tokens": {"N": "1"}, "output_tokens": {"N": "2"}, "cache_read_tokens": {"NULL": True}}},
    {"M": {"input_tokens": {"N": "1"}, "output_tokens": {"N": "2"}, "cache_read_tokens": {"S": "1"}}},
    {"M": {"input_tokens": {"N": "-1"}, "output_tokens": {"N": "2"}}},
    {"M": {"input_tokens": {"N": "2147483648"}, "output_tokens": {"N": "2"}}},
    {"M": {"input_tokens": {"N": "1.5"}, "output_tokens": {"N": "2"}}},
    {"M": {"input_tokens": {"N": "5.0"}, "output_tokens": {"N": "1E+3"}}},
    {"M": {"input_tokens": {"NS": ["1"]}, "output_tokens": {"N": "2"}}},
]

FIELDS: Final = [name for name in session(0) if name != "id"]
REQUIRED: Final = ("organization_id", "agent_id", "status", "created_at", "updated_at")


def is_readable(field: str, stored: dict[str, Any]) -> bool:
    """Whether a released client can read a field, by the contract; written anew, without the package's models."""
    ((kind, content),) = stored.items()
    match field:
        case "status":
            return stored in ({"S": "started"}, {"S": "active"}, {"S": "idle"})
        case "organization_id" | "agent_id" | "created_at":
            return False  # whatever else it is, it contradicts the keys
        case "updated_at":
            return kind == "S" and _is_time(content)
        case "started_at" | "finished_at":
            return kind == "NULL" or (kind == "S" and _is_time(content))
        case "title" | "preview" | "output_preview" | "model_id":
            return kind in ("S", "NULL")
        case "tags":
            return kind in ("NULL", "SS") or (kind == "L" and all("S" in each for each in content))
        case "capabilities":
            return kind == "NULL" or (kind == "L" and all("S" in each.get("M", {}).get("ref", {}) for each in content))
        case "usage":
            return kind == "NULL" or (kind == "M" and _is_usage(content))
    raise AssertionError(field)


def _is_time(text: str) -> bool:
    date, separator, time = text[:10], text[10:11], text[11:]
    if not text.isascii() or separator not in ("T", "t", " ") or text in ("0001-01-01T00:00:00+01:00",):
        return False
    if text == "9999-12-31T23:59:60Z":
        return False
    try:
        datetime.strptime(date, "%Y-%m-%d")
        clock, zone = (time[:-1], "") if time[-1:] in ("Z", "z") else (time[:-6], time[-6:])
        clock, point, fraction = clock.partition(".")
        datetime.strptime(clock, "%H:%M:%S")
        if zone:
            datetime.strptime(zone[1:], "%H:%M")
    except ValueError:
        return False
    return (fraction.isdigit() if point else True) and (zone == "" or zone[0] in "+-")


def _is_usage(counts: dict[str, Any]) -> bool:
    def is_count(stored: dict[str, Any]) -> bool:
        if "N" not in stored:
            return False
        value = float(stored["N"])
        return value == int(value) and 0 <= value < 2**31

    optional = ("cache_read_tokens", "cache_creation_tokens")
    return all(is_count(counts.get(name, {})) for name in ("input_tokens", "output_tokens")) and all(
        counts[name] == {"NULL": True} or is_count(counts[name]) for name in optional if name in counts
    )


class Shown(NamedTuple):
    """What the pages of some items showed."""

    ids: list[str]
    reasons: dict[str, str]
    """Reasons in the log, by the ids of items that were left out."""
    invalid: int
    """Sum of the metric."""
    total: int


def shown(items: list[dict[str, Any]]) -> Shown:
    """Return what the pages of these items show; none is counted."""
    ids: list[str] = []
    reasons, invalid, total = {}, 0, -1
    with in_memory(scan_max=10**6) as service:
        for item in items:
            service.dynamodb.put_item(TableName="sessions", Item=item)
        for offset in range(0, len(items), 100):
            log = io.StringIO()
            with redirect_stdout(log):
                response = service.get(f"limit=100&offset={offset}")
            assert response.status == 200
            ids += response.ids
            total = response.body["total"]
            for line in map(json.loads, log.getvalue().splitlines()):
                if line.get("message") == "invalid item left out":
                    reasons[line["session_id"]] = line["reason"]
                invalid += int(line.get("InvalidItems", [0])[0])
    return Shown(ids, reasons, invalid, total)


def test_every_field_of_every_type_is_served_or_left_out_by_name() -> None:
    items, readable, broken = [], [], {}
    for number, (field, stored) in enumerate((field, stored) for field in FIELDS for stored in [*ATTRIBUTES, None]):
        item = item_of(session(number))
        # An item whose index keys change is on another page or on none; those are tried below.
        keys = {name: item[name] for name in ("organization_id", "organization_agent", "created_at_id")}
        is_same = stored == item.get(field)
        if field == "organization_id" and not is_same:
            continue
        item.pop(field, None)
        items.append(item | ({} if stored is None else {field: stored}) | keys)
        if is_same or (field not in REQUIRED if stored is None else is_readable(field, stored)):
            readable.append(item["id"]["S"])
        else:
            broken[item["id"]["S"]] = field
    found = shown(items)
    assert len(items) > 700
    assert sorted(found.ids) == sorted(readable)
    assert found.reasons.keys() == broken.keys()
    assert all(field in found.reasons[session_id] for session_id, field in broken.items())
    assert (found.invalid, found.total) == (len(broken), len(items))


CONTRADICTIONS: Final[list[dict[str, Any]]] = [
    {"created_at_id": {"S": "2026-11-01T09:00:00.000000Z#{id}"}},
    {"created_at_id": {"S": "2026-11-01T00:00:02.000000Z"}},
    {"created_at_id": {"S": "2026-11-01T00:00:02.000000Z#session_other"}},
    {"created_at_id": {"S": "#"}},
    {"created_at_id": {"S": "zebra"}},
    {"organization_agent": {"S": "#"}},
    {"organization_agent": {"S": ORGANIZATION}},
    {"organization_agent": {"S": f"{OTHER_ORGANIZATION}#{AGENT}"}},
    {"organization_agent": {"N": "1"}},
    {"organization_agent": {"NULL": True}},
    {"created_at": {"S": "2026-11-01T00:00:02Z"}, "created_at_id": {"S": "2026-11-01T00:00:02Z#{id}"}},
    {"agent_id": {"S": "agent_" + "9" * 32}},
]


@pytest.mark.parametrize("change", CONTRADICTIONS, ids=range(len(CONTRADICTIONS)))
def test_item_whose_keys_contradict_its_fields_is_in_no_list(change: dict[str, Any]) -> None:
    good, bad = item_of(session(1)), item_of(session(2))
    session_id = bad["id"]["S"]
    change = {
        name: {kind: str(value).format(id=session_id) for kind, value in each.items()} for name, each in change.items()
    }
    found = shown([good, bad | change])
    assert found.ids == [good["id"]["S"]]
    assert (list(found.reasons), found.invalid, found.total) == ([session_id], 1, 2)


junk = st.recursive(
    st.sampled_from(ATTRIBUTES),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda each: {"L": each})
        | st.dictionaries(
            st.sampled_from(["ref", "config", "input_tokens", "output_tokens", "x", ""]), inner, max_size=3
        ).map(lambda each: {"M": each})
    ),
    max_leaves=5,
)


@settings(max_examples=settings().max_examples * 3)
@given(
    changes=st.lists(st.dictionaries(st.sampled_from([*FIELDS, "more"]), junk, min_size=1, max_size=3), max_size=8),
    good=st.integers(1, 3),
)
def test_no_item_takes_another_one_with_it(changes: list[dict[str, Any]], good: int) -> None:
    keys = ("id", "organization_id", "organization_agent", "created_at_id")
    changed = [item_of(session(number)) for number in range(len(changes))]
    items = [item | change | {key: item[key] for key in keys} for item, change in zip(changed, changes, strict=True)]
    whole = [item_of(session(100 + number)) for number in range(good)]
    found = shown([*items, *whole])
    assert {item["id"]["S"] for item in whole} <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    assert {*found.ids, *found.reasons} == {item["id"]["S"] for item in [*items, *whole]}
    assert (found.invalid, found.total) == (len(found.reasons), len(items) + good)


def test_items_of_400_kb_are_served_but_the_invalid_one(service: Service) -> None:
    size = 400_000  # an engine in memory takes a little less than DynamoDB does
    service.put(*(session(number, title="x" * size) for number in range(3)))
    service.put_items(item_of(session(3, title="x" * (size - 100))) | {"status": {"S": "y" * 50}})
    service.drain()
    response = service.get("limit=4")
    assert (response.status, len(response.ids), response.body["total"]) == (200, 3, 4)


@pytest.mark.parametrize(
    ("filling", "fits"),
    [
        ("x" * 62_000, True),
        ("x" * 63_000, False),
        ('"' * 15_000, True),  # 3 MB as JSON, 6 MB as JSON in JSON
        ('"' * 21_000, False),  # 4.2 MB as JSON, 8.4 MB as JSON in JSON
        ("\\" * 21_000, False),
        ("é" * 31_000, True),
        ("\n" * 20_000, True),  # `\\n`: three bytes in the outer JSON
        ("\n" * 21_000, False),
        ("\u0001" * 8_500, True),  # `\\u0001`: seven bytes
        ("\u0001" * 9_000, False),
    ],
    ids=range(10),
)
def test_100_items_of_6_mb_fit_or_are_refused_as_by_lambda(memory_service: Service, filling: str, fits: bool) -> None:
    memory_service.put(*(session(number, title=filling) for number in range(100)))
    response = memory_service.get("limit=100")
    assert response.status == (200 if fits else 500)
    # Lambda measures the response as JSON that is not escaped to ASCII.
    assert len(json.dumps(response.text, ensure_ascii=False).encode()) < 6_291_556
    if not fits:
        assert response.body["error"]["code"] == "page_too_large"
        assert memory_service.get("limit=70").status == 200
