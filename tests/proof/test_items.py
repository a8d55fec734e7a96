"""Hostile items: every field of every type, and keys that contradict fields; pages come without what is invalid."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from datetime import datetime
from typing import Any, Final, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.service import AGENT, ORGANIZATION, OTHER_ORGANIZATION, in_memory, item_of, session

TEXTS: Final = ["", " ", "x", "null", "0", "true", "\u0000", "\U0001f600", "a" * 5000, "2026-11-23", "{}", "[]"]
TIMES: Final = [
    *("2026-11-23T16:41:46Z", "2026-11-23T16:41:46.463925Z", "2026-11-23t16:41:46.1+02:00", "0001-01-01T00:00:00Z"),
    *("2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-11-23T24:00:00Z", "2026-11-23T16:41:46", "yesterday"),
    *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:60Z", "2026-11-23T16:41Z", "20261123T164146Z", "1764000000"),
    *("2026-11-23T16:41:46,5Z", "２026-11-23T16:41:46Z", "2026-11-23T16:41:46.Z", "2026-11-23T16:41:61Z", "-1"),
]
NUMBERS: Final = ["0", "1", "-1", "2147483647", "2147483648", "1.5", "1E+3", "1E-130", "9" * 38, "5.0", "-0"]


def usage(first: dict[str, Any], second: str = "2", **more: dict[str, Any]) -> dict[str, Any]:
    return {"M": {"input_tokens": first, "output_tokens": {"N": second}, **more}}


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
    *(usage({"N": each}) for each in ("1", "-1", "2147483648", "1.5")),
    usage({"N": "1"}, cache_read_tokens={"NULL": True}),
    usage({"N": "1"}, cache_read_tokens={"S": "1"}),
    usage({"N": "5.0"}, "1E+3"),
    usage({"NS": ["1"]}),
]

FIELDS: Final = [name for name in session(0) if name != "id"]
REQUIRED: Final = ("organization_id", "agent_id", "status", "created_at", "updated_at")
KEYS: Final = ("id", "organization_id", "organization_agent", "created_at_id")


def is_readable(field: str, stored: dict[str, Any] | None) -> bool:
    """Whether a released client can read a field, by the contract; written anew, without the package's models."""
    if stored is None:
        return field not in REQUIRED
    ((kind, content),) = stored.items()
    match field:
        case "status":
            return stored in ({"S": "started"}, {"S": "active"}, {"S": "idle"})
        case "agent_id" | "created_at":
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
    if not text.isascii() or text in ("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:60Z"):  # no time in UTC
        return False
    time, zone = (text[:-1], "+00:00") if text[-1:] in ("Z", "z") else (text[:-6], text[-6:])
    time, point, fraction = time.partition(".")
    try:
        datetime.strptime(f"{time.upper().replace('T', ' ')} {zone}", "%Y-%m-%d %H:%M:%S %z")
    except ValueError:
        return False
    return not point or fraction.isdigit()


def _is_usage(counts: dict[str, Any]) -> bool:
    def is_count(stored: dict[str, Any]) -> bool:
        value = float(stored.get("N", "-1"))
        return value == int(value) and 0 <= value < 2**31

    optional = (counts.get(name, {"NULL": True}) for name in ("cache_read_tokens", "cache_creation_tokens"))
    return all(is_count(counts.get(name, {})) for name in ("input_tokens", "output_tokens")) and all(
        stored == {"NULL": True} or is_count(stored) for stored in optional
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
    # Items whose index keys change are on other pages or on none; those are tried below.
    cases = [(field, stored) for field in FIELDS[1:] for stored in [*ATTRIBUTES, None]]
    for number, (field, stored) in enumerate(cases):
        item = item_of(session(number))
        session_id = item["id"]["S"]
        if stored == item.get(field) or is_readable(field, stored):
            readable.append(session_id)
        else:
            broken[session_id] = field
        items.append({name: value for name, value in (item | {field: stored}).items() if value is not None})
    found = shown(items)
    assert len(items) > 700
    assert sorted(found.ids) == sorted(readable)
    assert found.reasons.keys() == broken.keys()
    assert all(field in found.reasons[session_id] for session_id, field in broken.items())
    assert (found.invalid, found.total) == (len(broken), len(items))


def test_items_whose_keys_contradict_their_fields_are_in_no_list() -> None:
    good, *items = (item_of(session(number)) for number in range(13))
    ids = [item["id"]["S"] for item in items]
    changes: list[dict[str, Any]] = [
        {"created_at_id": {"S": f"2026-11-01T09:00:00.000000Z#{ids[0]}"}},
        {"created_at_id": {"S": items[1]["created_at"]["S"]}},
        {"created_at_id": {"S": items[2]["created_at"]["S"] + "#session_other"}},
        {"created_at_id": {"S": "#"}},
        {"created_at_id": {"S": "zebra"}},
        {"organization_agent": {"S": "#"}},
        {"organization_agent": {"S": ORGANIZATION}},
        {"organization_agent": {"S": f"{OTHER_ORGANIZATION}#{AGENT}"}},
        {"organization_agent": {"N": "1"}},
        {"organization_agent": {"NULL": True}},
        {"created_at": {"S": "2026-11-01T00:00:11Z"}, "created_at_id": {"S": f"2026-11-01T00:00:11Z#{ids[10]}"}},
        {"agent_id": {"S": "agent_" + "9" * 32}},
    ]
    found = shown([good, *(item | change for item, change in zip(items, changes, strict=True))])
    assert found.ids == [good["id"]["S"]]
    assert (sorted(found.reasons), found.invalid, found.total) == (ids, 12, 13)


names = st.sampled_from(["ref", "config", "input_tokens", "output_tokens", "x", ""])
junk = st.recursive(
    st.sampled_from(ATTRIBUTES),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda each: {"L": each})
        | st.dictionaries(names, inner, max_size=3).map(lambda each: {"M": each})
    ),
    max_leaves=5,
)


@settings(max_examples=settings().max_examples * 3)
@given(
    changes=st.lists(st.dictionaries(st.sampled_from([*FIELDS, "more"]), junk, min_size=1, max_size=3), max_size=8),
    good=st.integers(1, 3),
)
def test_no_item_takes_another_one_with_it(changes: list[dict[str, Any]], good: int) -> None:
    changed = [item_of(session(number)) for number in range(len(changes))]
    items = [item | change | {key: item[key] for key in KEYS} for item, change in zip(changed, changes, strict=True)]
    whole = [item_of(session(100 + number)) for number in range(good)]
    found = shown([*items, *whole])
    assert {item["id"]["S"] for item in whole} <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    assert {*found.ids, *found.reasons} == {item["id"]["S"] for item in [*items, *whole]}
    assert (found.invalid, found.total) == (len(found.reasons), len(items) + good)
