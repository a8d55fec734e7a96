"""Fields of a session in the response, and items that are not valid sessions."""

from typing import Any

import pytest
from pydantic import ValidationError

from sessions.attributes import binary_text
from sessions.contract import read_session, utc_timestamp
from tests.conftest import Lines
from tests.service import AGENT, ORGANIZATION, OTHER_AGENT, OTHER_ORGANIZATION, Service, item_of, session

COMPLETE = session(
    1,
    status="active",
    started_at="2026-11-23T16:41:47.000001Z",
    finished_at="2026-11-23T16:41:48.999999Z",
    title='Refund für Zoë \U0001f469\u200d\U0001f4bb "quoted" \\ \u2028 \x7f',
    preview="",
    output_preview="line\nline\ttab\u0000",
    model_id="model_01933b5a00007000800000000000001",
    tags=["", "b", "a", "a"],
    capabilities=[
        {"ref": "web"},
        {"ref": "empty", "config": None},
        {"ref": "deep", "config": {"a": [1, -2.5, True, None, {"k": ""}], "b": [], "c": {}}},
        {"ref": "exact", "config": [10**37 + 1, -(10**38) + 1, 0, 9007199254740993]},
        {"ref": "text", "config": "text"},
        {"ref": "no", "config": False},
    ],
    usage={"input_tokens": 2147483647, "output_tokens": 0, "cache_read_tokens": 7},
)

REQUIRED = ("id", "organization_id", "agent_id", "status", "created_at", "updated_at")


def listed(service: Service, **attributes: Any) -> dict[str, Any]:
    """Return session 1 as it is listed when its item has these attributes."""
    service.put_items(item_of(session(1)) | attributes)
    (only,) = service.get().body["data"]
    return dict(only)


def config(value: Any) -> dict[str, Any]:
    return {"L": [{"M": {"ref": {"S": "n"}, "config": value}}]}


def test_every_field_is_served_as_it_is_stored(service: Service) -> None:
    service.put(COMPLETE)
    assert service.get().body["data"] == [COMPLETE]


def test_every_field_is_served_when_only_required_ones_exist(memory_service: Service) -> None:
    stored = (*REQUIRED, "organization_agent", "created_at_id")
    memory_service.put_items({name: value for name, value in item_of(session(1)).items() if name in stored})
    assert memory_service.get().body["data"] == [session(1)]


def test_attributes_outside_the_contract_are_not_served(memory_service: Service) -> None:
    assert listed(memory_service, secret={"S": "internal"}) == session(1)


@pytest.mark.parametrize("cache", [{}, {"cache_read_tokens": {"NULL": True}, "cache_creation_tokens": {"NULL": True}}])
def test_a_cache_count_without_a_value_is_left_out(memory_service: Service, cache: dict[str, Any]) -> None:
    usage = {"M": {"input_tokens": {"N": "1"}, "output_tokens": {"N": "2"}} | cache}
    assert listed(memory_service, usage=usage)["usage"] == {"input_tokens": 1, "output_tokens": 2}


@pytest.mark.parametrize(
    ("number", "served"),
    [
        ("0", 0),
        ("-0.5", -0.5),
        ("99999999999999999999999999999999999999", 99999999999999999999999999999999999999),
        ("0.1", 0.1),
        ("1E+3", 1000),
        ("5.0", 5),
        ("1E+37", 10**37),
        ("1E+38", 1e38),
        ("9.9999999999999999999999999999999999999E+125", 1e126),
        ("1E-130", 1e-130),
    ],
)
def test_integers_are_exact_and_other_numbers_doubles(memory_service: Service, number: str, served: float) -> None:
    found = listed(memory_service, capabilities=config({"N": number}))["capabilities"][0]["config"]
    assert (found, type(found)) == (served, type(served))


def test_sets_and_binary_values_are_served_as_json(service: Service) -> None:
    value = {"set": {"SS": ["x"]}, "numbers": {"NS": ["2"]}, "binary": {"B": b"\xff\x00"}, "several": {"BS": [b"a"]}}
    found = listed(service, capabilities=config({"M": value}), tags={"SS": ["t"]})
    assert found["tags"] == ["t"]
    served = {"set": ["x"], "numbers": [2], "binary": "/wA=", "several": ["YQ=="]}
    assert found["capabilities"] == [{"ref": "n", "config": served}]


def test_only_binary_values_need_a_form_in_json() -> None:
    with pytest.raises(TypeError, match=r"^JSON has no type object$"):
        binary_text(object())


@pytest.mark.parametrize(
    ("stored", "served"),
    [
        ("2026-11-23T16:41:46Z", "2026-11-23T16:41:46.000000Z"),
        ("2026-11-23t18:41:46.5+02:00", "2026-11-23T16:41:46.500000Z"),
        ("2026-11-23t16:41:46.463925z", "2026-11-23T16:41:46.463925Z"),
        ("2026-12-31T23:59:60Z", "2027-01-01T00:00:00.000000Z"),
        ("2026-11-23 16:41:46.1234567Z", "2026-11-23T16:41:46.123456Z"),
    ],
)
def test_times_are_served_in_utc_with_microseconds(
    elsewhere: None, memory_service: Service, stored: str, served: str
) -> None:
    assert listed(memory_service, updated_at={"S": stored})["updated_at"] == served


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-11-23T16:41:46.463925\u0663Z", "not an RFC 3339 date-time"),
        ("2026-11-23T16:41:4\u0663.463925Z", "not an RFC 3339 date-time"),
        ("0001-01-01T00:00:00+00:01", "outside the years 1 to 9999"),
    ],
)
def test_a_text_that_is_no_time_has_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        utc_timestamp(text)


def test_an_unknown_field_is_ignored_unless_forbidden() -> None:
    values = session(1) | {"more": 1}
    assert read_session(values) == session(1)
    with pytest.raises(ValidationError, match="more"):
        read_session(values, extra="forbid")


# ------------------------------------------------------------------------------------ invalid items

NUMBER = {"N": "1"}
BINARY = {"B": "dGV4dA=="}  # base64, as the engine sends it

INVALID = [
    ("status", {"S": "running"}, "not valid: status"),
    ("agent_id", {"S": "agent_XYZ"}, "organization_agent contradicts organization_id and agent_id"),
    ("agent_id", {"NULL": True}, "not valid: agent_id"),
    ("title", BINARY, "not valid: title"),
    ("title", NUMBER, "not valid: title"),
    ("tags", {"BS": ["dGV4dA=="]}, "not valid: tags.0"),
    ("tags", {"L": [BINARY]}, "not valid: tags.0"),
    ("tags", {"L": [{"S": "a"}, NUMBER]}, "not valid: tags.1"),
    ("capabilities", {"L": [{"M": {"ref": BINARY}}]}, "not valid: capabilities.0.ref"),
    ("capabilities", {"L": [{"M": {"config": {"S": "no ref"}}}]}, "not valid: capabilities.0.ref"),
    ("updated_at", {"S": "yesterday"}, "not valid: updated_at"),
    ("started_at", {"S": "2026-02-30T00:00:00Z"}, "not valid: started_at"),
    ("finished_at", {"N": "1764000000"}, "not valid: finished_at"),
    ("usage", {"M": {"input_tokens": NUMBER}}, "not valid: usage.output_tokens"),
    ("usage", {"M": {}}, "not valid: usage.input_tokens, usage.output_tokens"),
    ("usage", {"M": {"input_tokens": {"S": "1"}, "output_tokens": NUMBER}}, "not valid: usage.input_tokens"),
    ("usage", {"M": {"input_tokens": {"N": "1.5"}, "output_tokens": NUMBER}}, "not valid: usage.input_tokens"),
    ("usage", {"M": {"input_tokens": {"BOOL": True}, "output_tokens": NUMBER}}, "not valid: usage.input_tokens"),
    ("model_id", NUMBER, "not valid: model_id"),
    ("created_at", {"S": "2026-11-23T16:41:46.463925Z"}, "created_at_id contradicts created_at and id"),
    ("organization_agent", {"S": "nothing#nothing"}, "organization_agent contradicts organization_id and agent_id"),
    (
        "organization_agent",
        {"S": f"{OTHER_ORGANIZATION}#{AGENT}"},
        "organization_agent contradicts organization_id and agent_id",
    ),
]


@pytest.mark.parametrize(("field", "stored", "reason"), INVALID)
def test_an_invalid_item_keeps_its_place_and_is_logged(
    memory_service: Service, field: str, stored: dict[str, Any], reason: str, lines: Lines
) -> None:
    memory_service.put(*(session(number) for number in (1, 2, 4, 5)))
    memory_service.put_items(item_of(session(3)) | {field: stored})
    memory_service.drain()
    lines()

    page = memory_service.get("limit=2&offset=1")
    assert (page.ids, page.body["total"]) == ([session(4)["id"]], 5)
    reported, listed = lines()
    assert (reported["level"], reported["message"]) == ("ERROR", "invalid item left out")
    assert (reported["session_id"], reported["reason"]) == (session(3)["id"], reason)
    assert listed["InvalidItems"] == [1]
    assert memory_service.get("limit=2&offset=3").ids == [session(2)["id"], session(1)["id"]]
    assert lines()[0]["InvalidItems"] == [0]


@pytest.mark.parametrize("owner", [{"agent_id": OTHER_AGENT}, {"organization_id": OTHER_ORGANIZATION}])
def test_a_wrong_key_shows_no_session_of_another_list(memory_service: Service, owner: dict[str, str]) -> None:
    stray = session(1, title="theirs", **owner)
    memory_service.put_items(item_of(stray) | {"organization_agent": {"S": f"{ORGANIZATION}#{AGENT}"}})
    response = memory_service.get(f"agent_id={AGENT}")
    assert response.body["data"] == []
    assert "theirs" not in response.text


def test_a_session_without_the_agents_key_is_in_its_organization(memory_service: Service) -> None:
    item = item_of(session(1))
    del item["organization_agent"]
    memory_service.put_items(item)
    assert memory_service.get().ids == [session(1)["id"]]
