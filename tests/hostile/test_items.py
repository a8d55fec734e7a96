"""Hostile items: every field of every type, and what only just does not fit; pages come without what is invalid."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from datetime import datetime
from typing import Any, Final, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessions.paging.finder import Limits, Pages
from sessions_cli.load import item_of
from tests.counting.memory import Memory
from tests.hostile.fuzz import NoTimeLimit
from tests.service import CONTEXT, ORGANIZATION, OTHER_ORGANIZATION, Service, container, event, response_of, session

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
TIMES_OF: Final = ("updated_at", "started_at", "finished_at")
TEXTS_OF: Final = ("title", "preview", "output_preview", "model_id")


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


def look(items: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], dict[str, str], int, int]:
    """The ids on the pages of these items, what the log says of others, the metric, and the total."""
    memory = Memory()
    for item in items:
        memory.put_item("sessions", item)
    pages = Pages(cast(Any, memory), "sessions", "counts", Limits(near=10**6), cast(Any, NoTimeLimit()))
    monkeypatch.setattr(container("list_sessions"), "pages", pages)
    served, reasons, counted, total = [], {}, 0, -1
    for offset in range(0, len(items), 100):
        written = io.StringIO()
        made = event(f"limit=100&offset={offset}")
        made["requestContext"]["authorizer"] = {"organization_id": ORGANIZATION}
        with redirect_stdout(written):
            response = response_of(container("list_sessions").handler(made, CONTEXT))
        assert response.status == 200
        served += response.ids
        total = response.body["total"]
        for line in map(json.loads, written.getvalue().splitlines()):
            if line.get("message") == "invalid item left out":
                reasons[line["session_id"]] = line["reason"]
            counted += int(line.get("InvalidItems", [0])[0])
    return served, reasons, counted, total


def test_every_field_of_every_type_is_served_or_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [(field, stored) for field in FIELDS for stored in [*ATTRIBUTES, None]]
    items, readable, broken = [], [], {}
    for number, (field, stored) in enumerate(cases):
        item = item_of(session(number))
        keys = {name: item[name] for name in ("organization_id", "organization_agent", "created_at_id")}
        if stored is None:
            item.pop(field, None)
        else:
            item[field] = stored
        # A key of the index stays, or the item would be on no page: those are tried below.
        item |= {} if field == "organization_id" else keys
        required = field in ("organization_id", "agent_id", "status", "created_at", "updated_at")
        same = stored == item_of(session(number)).get(field)
        is_valid = same or (not required if stored is None else is_readable(field, stored))
        if item.get("organization_id") != keys["organization_id"]:
            continue
        items.append(item)
        if is_valid:
            readable.append(item["id"]["S"])
        else:
            broken[item["id"]["S"]] = field
    served, reasons, counted, total = look(items, monkeypatch)
    assert len(items) > 700
    assert sorted(served) == sorted(readable)
    assert reasons.keys() == broken.keys()
    assert counted == len(broken)
    assert total == len(items)
    for session_id, field in broken.items():
        wanted = {"agent_id": ("agent_id",), "created_at": ("created_at",)}.get(field, (field,))
        assert any(each in reasons[session_id] for each in wanted), (field, reasons[session_id])


def test_keys_that_contradict_the_fields_leave_an_item_out_of_any_list(monkeypatch: pytest.MonkeyPatch) -> None:
    good = item_of(session(1))
    items = [good]
    changes: list[dict[str, Any]] = [
        {"created_at_id": {"S": f"2026-11-01T09:00:00.000000Z#{good['id']['S']}"}},
        {"created_at_id": {"S": good["created_at"]["S"]}},
        {"created_at_id": {"S": good["created_at"]["S"] + "#session_other"}},
        {"created_at_id": {"S": "#"}},
        {"created_at_id": {"S": "zebra"}},
        {"organization_agent": {"S": "#"}},
        {"organization_agent": {"S": ORGANIZATION}},
        {"organization_agent": {"S": f"{OTHER_ORGANIZATION}#{good['agent_id']['S']}"}},
        {"organization_agent": {"N": "1"}},
        {"organization_agent": {"NULL": True}},
        {"created_at": {"S": "2026-11-01T00:00:01Z"}},  # the same moment, in another form than its key
        {"agent_id": {"S": "agent_" + "9" * 32}},
    ]
    for number, change in enumerate(changes, start=2):
        item = item_of(session(number)) | change
        if "created_at_id" in change:
            item["created_at_id"] = {"S": change["created_at_id"]["S"].replace(good["id"]["S"], item["id"]["S"])}
        if "created_at" in change:
            item |= {"created_at": {"S": item["created_at"]["S"].replace(".000000", "")}}
            item["created_at_id"] = {"S": item["created_at"]["S"] + "#" + item["id"]["S"]}
        items.append(item)
    served, reasons, counted, total = look(items, monkeypatch)
    assert served == [good["id"]["S"]]
    assert (len(reasons), counted, total) == (len(changes), len(changes), len(items))


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
    items = []
    for number, change in enumerate(changes):
        item = item_of(session(number))
        items.append(item | change | {name: item[name] for name in keys})
    whole = [item_of(session(100 + number)) for number in range(good)]
    with pytest.MonkeyPatch.context() as monkeypatch:
        served, reasons, counted, total = look([*items, *whole], monkeypatch)
    assert {item["id"]["S"] for item in whole} <= set(served)
    assert len(served) == len(set(served))
    assert {*served, *reasons} == {item["id"]["S"] for item in [*items, *whole]}
    assert (counted, total) == (len(reasons), len(items) + good)


# --------------------------------------------------------------------------------------------- sizes


def test_items_of_400_kb_are_served_one_by_one_and_the_invalid_one_is_left_out(service: Service) -> None:
    size = 400_000  # an engine in memory takes a little less than DynamoDB does
    service.put(*(session(number, title="x" * size) for number in range(3)))
    service.put_items(item_of(session(3, title="x" * (size - 100))) | {"status": {"S": "y" * 50}})
    service.drain()
    response = service.get("limit=4")
    assert (response.status, len(response.ids), response.body["total"]) == (200, 3, 4)


@pytest.mark.parametrize(
    ("filling", "fits", "is_too_large"),
    [
        ("x" * 62_000, True, False),
        ("x" * 63_000, False, True),
        ('"' * 15_000, True, False),  # 3 MB as JSON, 6 MB as JSON in JSON
        ('"' * 21_000, False, True),  # 4.2 MB as JSON, 8.4 MB as JSON in JSON: its escapes alone take it there
        ("\\" * 21_000, False, True),
        ("é" * 31_000, True, False),
        ("\n" * 20_000, True, False),  # `\\n`: three bytes in the outer JSON
        ("\n" * 21_000, False, True),
        ("\u0001" * 8_500, True, False),  # `\\u0001`: seven bytes
        ("\u0001" * 9_000, False, True),
    ],
    ids=range(10),
)
def test_100_items_around_6_mb_fit_or_are_refused_as_lambda_would(
    monkeypatch: pytest.MonkeyPatch, filling: str, fits: bool, is_too_large: bool
) -> None:
    memory = Memory()
    for number in range(100):
        memory.put_item("sessions", item_of(session(number, title=filling)))
    pages = Pages(cast(Any, memory), "sessions", "counts", Limits(), cast(Any, NoTimeLimit()))
    monkeypatch.setattr(container("list_sessions"), "pages", pages)
    made = event("limit=100")
    made["requestContext"]["authorizer"] = {"organization_id": ORGANIZATION}
    proxied = container("list_sessions").handler(made, CONTEXT)
    assert (proxied["statusCode"] == 200) == fits
    assert (proxied["statusCode"] == 500) == is_too_large
    # Lambda's own measure: the response as JSON, not escaped to ASCII.
    assert len(json.dumps(proxied, ensure_ascii=False).encode()) <= 6_291_556
    if is_too_large:
        assert json.loads(proxied["body"])["error"]["code"] == "page_too_large"
        made["multiValueQueryStringParameters"] = {"limit": ["70"]}
        assert container("list_sessions").handler(made, CONTEXT)["statusCode"] == 200
