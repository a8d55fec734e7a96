"""`sessions export`: what is in the table comes out whole, and goes in again unchanged."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessions_cli import dynamodb
from sessions_cli.items import item_of
from tests.cli.command import ndjson, sessions, take_over
from tests.cli.test_load import FULL, line, refusal, stored, with_config
from tests.service import AGENT, ORGANIZATION, OTHER_ORGANIZATION, Service, newest_first, session

MOST = b"9.9999999999999999999999999999999999999E+125"
EXACT = [
    *(b"0", b"-1", b"12345678901234567890123456789012345678", b"0.1", b"1E-130", b"-0.0", b"1.50", b"1e20"),
    *(b"3.1415926535897932384626433832795028842", MOST, b"-" + MOST, b"100000000000000000000000000000000000000E+80"),
]
"""Numbers of which a double keeps less than DynamoDB does."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of this test alone."""
    monkeypatch.chdir(tmp_path)


def entries(path: str) -> list[dict[str, Any]]:
    """The sessions of a file."""
    return [json.loads(each) for each in Path(path).read_text().splitlines()]


def empty(service: Service) -> None:
    """Loses the sessions table."""
    for session_id in stored(service):
        service.dynamodb.delete_item(TableName="sessions", Key={"id": {"S": session_id}})


def test_load_export_and_load_again_make_the_same_table(service: Service) -> None:
    least = {
        name: session(2)[name] for name in ("id", "organization_id", "agent_id", "status", "created_at", "updated_at")
    }
    config = with_config(b"[" + b",".join(EXACT) + b"]").replace(session(1)["id"].encode(), session(3)["id"].encode())
    assert sessions("load", "-", given=ndjson(FULL, least) + config).exit_code == 0
    before = stored(service)
    ran = sessions("export", "a.ndjson")
    assert (ran.exit_code, ran.stderr) == (0, "exported 3\n")
    empty(service)
    assert sessions("load", "a.ndjson").exit_code == 0
    assert stored(service) == before


def test_numbers_keep_every_digit(service: Service) -> None:
    assert sessions("load", "-", given=with_config(b"[" + MOST + b",0.12345678901234567890123]")).exit_code == 0
    assert b'"config":[' + MOST + b",0.12345678901234567890123]" in sessions("export", "-").stdout_bytes


def test_every_line_has_the_fields_of_the_contract_and_no_others(service: Service) -> None:
    service.put(session(1), FULL | {"id": "session_2"})
    service.drain()
    assert sessions("export", "a.ndjson").exit_code == 0
    assert newest_first(entries("a.ndjson")) == service.get().body["data"]


def test_one_organization_is_exported_newest_first(service: Service) -> None:
    service.put(*map(session, range(5)), session(9, organization_id=OTHER_ORGANIZATION))
    assert sessions("export", "a.ndjson", "--organization", ORGANIZATION).exit_code == 0
    assert entries("a.ndjson") == newest_first(map(session, range(5)))


def test_all_segments_together_are_the_whole_table(service: Service) -> None:
    service.put(*map(session, range(60)))
    assert sessions("export", "a.ndjson", "--segments", "7").stderr == "exported 60\n"
    assert newest_first(entries("a.ndjson")) == newest_first(map(session, range(60)))


def test_a_file_that_is_packed_is_loaded_as_it_is(service: Service) -> None:
    service.put(session(1))
    before = stored(service)
    assert sessions("export", "a.ndjson.gz").exit_code == 0
    assert json.loads(gzip.decompress(Path("a.ndjson.gz").read_bytes())) == session(1)
    empty(service)
    assert sessions("load", "a.ndjson.gz").stdout.startswith("loaded 1, ")
    assert stored(service) == before


def test_a_file_appears_only_when_it_is_whole(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.put(session(1))
    Path("a.ndjson").write_text("what was there before")

    def refuse(_real: Callable[..., Any], **_: Any) -> Any:
        raise refusal("AccessDeniedException")

    take_over(monkeypatch, service.dynamodb, get_paginator=lambda _real, name: Refusing(refuse))
    ran = sessions("export", "a.ndjson")
    assert (ran.exit_code, ran.stderr) == (1, "Error: BatchWriteItem: AccessDeniedException: no\n")
    assert {path.name: path.read_text() for path in Path().iterdir()} == {"a.ndjson": "what was there before"}


class Refusing:
    """A paginator that fails at its first page."""

    def __init__(self, refuse: Callable[..., Any]) -> None:
        self.paginate = lambda **parameters: refuse(None, **parameters)


def test_what_cannot_be_written_is_named(service: Service) -> None:
    ran = sessions("export", "no/such/folder")
    assert (ran.exit_code, ran.stderr) == (1, "Error: no/such/folder: No such file or directory.\n")


def test_items_that_are_not_sessions_are_reported_and_left_out(service: Service) -> None:
    contradicting = item_of(session(2)) | {"created_at_id": {"S": f"2026-11-01T00:00:09.000000Z#{session(2)['id']}"}}
    service.put_items({"id": {"S": "session_0"}, "title": {"S": "a fragment"}}, contradicting, item_of(session(3)))
    ran = sessions("export", "a.ndjson", "--segments", "1")
    assert ran.exit_code == 1
    assert entries("a.ndjson") == [session(3)]
    assert set(ran.stderr.splitlines()) == {
        "2 are not Sessions.",
        "exported 1",
        "session_0: organization_id: Field required; agent_id: Field required; status: Field required; "
        "created_at: Field required; updated_at: Field required",
        f"{session(2)['id']}: created_at_id contradicts the fields that it is composed of",
    }


def test_attributes_that_the_contract_does_not_have_are_named(service: Service) -> None:
    service.put_items(item_of(session(1)) | {"expires": {"N": "1"}, "colour": {"S": "red"}})
    ran = sessions("export", "a.ndjson")
    assert ran.stderr == "Left out, since the contract does not have them: colour, expires.\nexported 1\n"
    assert entries("a.ndjson") == [session(1)]


@pytest.mark.parametrize(
    ("stored_as", "written_as"),
    [
        ({"capabilities": {"L": [{"M": {"ref": {"S": "a"}, "more": {"S": "b"}}}]}}, {"capabilities": [{"ref": "a"}]}),
        ({"capabilities": {"NULL": True}, "tags": {"NULL": True}}, {}),
        ({"tags": {"SS": ["a", "b"]}}, {"tags": ["a", "b"]}),
        (
            {"capabilities": {"L": [{"M": {"ref": {"S": "a"}, "config": {"B": b"\x00\xff"}}}]}},
            {"capabilities": [{"ref": "a", "config": "AP8="}]},
        ),
        (
            {"capabilities": {"L": [{"M": {"ref": {"S": "a"}, "config": {"NS": ["1.5"]}}}]}},
            {"capabilities": [{"ref": "a", "config": [1.5]}]},
        ),
    ],
    ids=["an attribute more", "NULL", "a set of texts", "binary", "a set of numbers"],
)
def test_what_other_writers_store_is_written_as_the_api_shows_it(
    service: Service, stored_as: dict[str, Any], written_as: dict[str, Any]
) -> None:
    service.put_items(item_of(session(1)) | stored_as)
    assert sessions("export", "a.ndjson").exit_code == 0
    assert entries("a.ndjson") == [session(1) | written_as]


def test_the_rate_is_kept(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []
    monkeypatch.setattr(dynamodb.RateLimiter, "wait", lambda _self, amount: limits.append(amount))
    service.put(*map(session, range(3)))
    assert sessions("export", "a.ndjson", "--rate", "1").exit_code == 0
    assert sum(limits) == 3


def test_agents_and_times_survive_a_round_trip_in_any_form(service: Service) -> None:
    given = line(created_at="2026-11-23T16:41:46+01:00", finished_at="2026-11-23 16:41:46Z")
    assert sessions("load", "-", given=given).exit_code == 0
    assert sessions("export", "a.ndjson").exit_code == 0
    (entry,) = entries("a.ndjson")
    assert (entry["agent_id"], entry["created_at"], entry["finished_at"]) == (
        AGENT,
        "2026-11-23T15:41:46.000000Z",
        "2026-11-23T16:41:46.000000Z",
    )
