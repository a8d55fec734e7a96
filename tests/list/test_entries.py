"""What an entry looks like in the response, and what becomes of one that is broken in the table."""

from typing import Any

import pytest
from pydantic import ValidationError

from sessions.attributes import binary_text, from_attribute, from_item, to_attribute
from sessions.contract import read_session, utc_timestamp
from sessions_cli.items import item_of
from tests.conftest import Lines
from tests.service import AGENT, ORGANIZATION, OTHER_AGENT, OTHER_ORGANIZATION, Service, session

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


def test_every_field_is_served_as_it_was_stored(service: Service) -> None:
    service.put(COMPLETE)
    assert service.get().body["data"] == [COMPLETE]


def test_every_field_is_present_when_only_the_required_ones_are_stored(service: Service) -> None:
    required = (
        "id",
        "organization_id",
        "agent_id",
        "status",
        "created_at",
        "updated_at",
        "organization_agent",
        "created_at_id",
    )
    service.put_items({name: value for name, value in item_of(session(1)).items() if name in required})
    assert service.get().body["data"] == [session(1)]


def test_attributes_that_the_contract_does_not_have_are_not_served(service: Service) -> None:
    service.put_items(item_of(session(1)) | {"secret": {"S": "internal"}})
    assert service.get().body["data"] == [session(1)]


@pytest.mark.parametrize("stored", [{"NULL": True}, None])
def test_a_cache_count_without_a_value_is_left_out(service: Service, stored: dict[str, Any] | None) -> None:
    usage: dict[str, Any] = {"input_tokens": {"N": "1"}, "output_tokens": {"N": "2"}}
    if stored:
        usage |= {"cache_read_tokens": stored, "cache_creation_tokens": stored}
    service.put_items(item_of(session(1)) | {"usage": {"M": usage}})
    assert service.get().body["data"][0]["usage"] == {"input_tokens": 1, "output_tokens": 2}


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
def test_integers_of_38_digits_are_exact_and_other_numbers_doubles(
    service: Service, number: str, served: float
) -> None:
    config = {"L": [{"M": {"ref": {"S": "n"}, "config": {"N": number}}}]}
    service.put_items(item_of(session(1)) | {"capabilities": config})
    response = service.get().body["data"][0]["capabilities"][0]["config"]
    assert response == served
    assert type(response) is type(served)


def test_sets_and_binary_values_in_a_configuration_are_served_as_json(service: Service) -> None:
    config = {
        "M": {"set": {"SS": ["x"]}, "numbers": {"NS": ["2"]}, "binary": {"B": b"\xff\x00"}, "several": {"BS": [b"a"]}}
    }
    service.put_items(
        item_of(session(1))
        | {"capabilities": {"L": [{"M": {"ref": {"S": "n"}, "config": config}}]}, "tags": {"SS": ["t"]}}
    )
    (entry,) = service.get().body["data"]
    assert entry["tags"] == ["t"]
    assert entry["capabilities"] == [
        {"ref": "n", "config": {"set": ["x"], "numbers": [2], "binary": "/wA=", "several": ["YQ=="]}}
    ]


INVALID = [
    ("status", {"S": "running"}),
    ("agent_id", {"S": "agent_XYZ"}),
    ("agent_id", {"NULL": True}),
    ("title", {"B": b"text"}),
    ("tags", {"BS": [b"text"]}),
    ("tags", {"L": [{"B": b"text"}]}),
    ("capabilities", {"L": [{"M": {"ref": {"B": b"text"}}}]}),
    ("updated_at", {"S": "yesterday"}),
    ("started_at", {"S": "2026-02-30T00:00:00Z"}),
    ("finished_at", {"N": "1764000000"}),
    ("title", {"N": "1"}),
    ("tags", {"L": [{"N": "1"}]}),
    ("capabilities", {"L": [{"M": {"config": {"S": "no ref"}}}]}),
    ("usage", {"M": {"input_tokens": {"N": "1"}}}),
    ("usage", {"M": {"input_tokens": {"S": "1"}, "output_tokens": {"N": "2"}}}),
    ("usage", {"M": {"input_tokens": {"N": "1.5"}, "output_tokens": {"N": "2"}}}),
    ("usage", {"M": {"input_tokens": {"BOOL": True}, "output_tokens": {"N": "2"}}}),
    ("model_id", {"N": "4"}),
    ("created_at", {"S": "2026-11-23T16:41:46.463925Z"}),
    ("organization_agent", {"S": "nothing#nothing"}),
    ("organization_agent", {"S": f"{OTHER_ORGANIZATION}#{AGENT}"}),
]


@pytest.mark.parametrize(("field", "stored"), INVALID)
def test_an_invalid_item_keeps_its_place(service: Service, field: str, stored: dict[str, Any], lines: Lines) -> None:
    service.put(*(session(number) for number in (1, 2, 4, 5)))
    service.put_items(item_of(session(3)) | {field: stored})
    service.drain()

    page = service.get("limit=2&offset=1")
    assert page.ids == [session(4)["id"]]
    assert page.body["total"] == 5
    assert service.get("limit=2&offset=3").ids == [session(2)["id"], session(1)["id"]]

    written = lines()
    (reported,) = [line for line in written if line.get("message") == "invalid item left out"]
    assert reported["session_id"] == session(3)["id"]
    assert reported["level"] == "ERROR"
    assert [line["InvalidItems"] for line in written if "InvalidItems" in line] == [[1], [0]]


def test_a_session_in_the_list_of_another_agent_is_left_out(service: Service) -> None:
    stray = item_of(session(1, agent_id=OTHER_AGENT)) | {"organization_agent": {"S": f"{ORGANIZATION}#{AGENT}"}}
    service.put_items(stray)
    service.drain()
    assert service.get(f"agent_id={AGENT}").body["data"] == []


def test_a_session_without_the_key_of_agents_is_listed_by_its_organization(service: Service) -> None:
    item = item_of(session(1))
    del item["organization_agent"]
    service.put_items(item)
    service.drain()
    assert service.get().ids == [session(1)["id"]]


def test_a_session_of_another_organization_never_shows_through_a_wrong_key(service: Service) -> None:
    theirs = session(1, organization_id=OTHER_ORGANIZATION, title="theirs")
    service.put_items(item_of(theirs) | {"organization_agent": {"S": f"{ORGANIZATION}#{AGENT}"}})
    service.drain()
    response = service.get(f"agent_id={AGENT}")
    assert response.body["data"] == []
    assert "theirs" not in response.text


def test_what_neither_json_nor_dynamodb_has_is_named_by_its_type() -> None:
    for convert in (to_attribute, binary_text):
        with pytest.raises(TypeError, match=r"^JSON has no type object$"):
            convert(object())


def test_null_is_written_as_dynamodbs_own() -> None:
    assert to_attribute({"nothing": None}) == {"M": {"nothing": {"NULL": True}}}


def test_a_string_is_read_alone_as_it_is_within_an_item() -> None:
    assert from_attribute({"S": "text"}) == "text"
    assert from_item({"a": {"S": "text"}, "b": {"L": [{"S": "text"}]}}) == {"a": "text", "b": ["text"]}


def test_a_field_that_the_contract_does_not_have_is_ignored_unless_it_is_forbidden() -> None:
    entry = session(1) | {"more": 1}
    assert read_session(entry) == session(1)
    with pytest.raises(ValidationError, match="more"):
        read_session(entry, extra="forbid")


def test_digits_of_another_script_make_no_time() -> None:
    for text in ("2026-11-23T16:41:46.463925\u0663Z", "2026-11-23T16:41:4\u0663.463925Z"):
        with pytest.raises(ValueError, match="not an RFC 3339 date-time"):
            utc_timestamp(text)


def test_times_do_not_depend_on_the_time_zone_of_the_machine(elsewhere: None) -> None:
    assert utc_timestamp("2026-11-23T18:41:46+02:00") == "2026-11-23T16:41:46.000000Z"


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
def test_other_times_are_served_in_utc_whatever_form_they_were_stored_in(
    service: Service, stored: str, served: str
) -> None:
    service.put_items(item_of(session(1)) | {"updated_at": {"S": stored}})
    assert service.get().body["data"][0]["updated_at"] == served
