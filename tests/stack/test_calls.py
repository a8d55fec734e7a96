"""The deployed API over HTTP: keys, pages and the responses that the gateway makes itself."""

from __future__ import annotations

from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from tests.service import session
from tests.stack.account import Account, eventually

ORGANIZATION = f"org_{1:032x}"
COUNT = 45


@pytest.fixture(scope="module")
def key(account: Account, development: str) -> str:
    """A key of an organization with sessions that boto3 has written and the stream has counted."""
    words = ("keys", "create", "--stack", development, "--organization", ORGANIZATION)
    found = account.run("sessions", *words).strip()
    table = account.resources(development)["SessionsTable"]
    for number in range(COUNT):
        item = {name: TypeSerializer().serialize(value) for name, value in stored(number).items()}
        account.client("dynamodb").put_item(TableName=table, Item=item)
    eventually(lambda: account.get(development, "/v1/sessions", found).body["total"] == COUNT)
    return found


def stored(number: int) -> dict[str, Any]:
    """Return a session as docs/data-layout.md says that a writer stores it."""
    made = {name: value for name, value in session(number, organization_id=ORGANIZATION).items() if value is not None}
    return made | {
        "organization_agent": f"{ORGANIZATION}#{made['agent_id']}",
        "created_at_id": f"{made['created_at']}#{made['id']}",
    }


def test_pages_joined_are_the_whole_list(account: Account, development: str, key: str) -> None:
    offsets = range(0, COUNT, 20)
    pages = [account.get(development, f"/v1/sessions?offset={offset}", key).body for offset in offsets]
    ids = [each["id"] for page in pages for each in page["data"]]
    assert ids == [f"session_{number:032x}" for number in reversed(range(COUNT))]
    assert {page["total"] for page in pages} == {COUNT}


def test_an_answer_links_to_its_neighbours(account: Account, development: str, key: str) -> None:
    answer = account.get(development, "/v1/sessions?offset=20&limit=10", key)
    links = {each.split('rel="')[1].rstrip('"') for each in answer.headers["Link"].split(", ")}
    assert links == {"first", "prev", "next", "last"}


def test_a_deleted_session_leaves_the_total(account: Account, development: str, key: str) -> None:
    table, item = account.resources(development)["SessionsTable"], {"id": {"S": f"session_{COUNT:032x}"}}
    item |= {name: TypeSerializer().serialize(value) for name, value in stored(COUNT).items()}
    dynamodb = account.client("dynamodb")
    for change in (
        lambda: dynamodb.put_item(TableName=table, Item=item),
        lambda: dynamodb.delete_item(TableName=table, Key={"id": item["id"]}),
    ):
        total = account.get(development, "/v1/sessions", key).body["total"]
        change()
        eventually(lambda total=total: account.get(development, "/v1/sessions", key).body["total"] != total)
    assert account.get(development, "/v1/sessions", key).body["total"] == COUNT


@pytest.mark.parametrize(
    ("method", "path", "given", "status", "code"),
    [
        ("GET", "/v1/sessions", "", 401, "unauthorized"),
        ("GET", "/v1/sessions", "evr_" + "0" * 32, 401, "unauthorized"),
        ("GET", "/v1/sessions", "Basic YTpi", 401, "unauthorized"),
        ("GET", "/v1/session", "", 404, "not_found"),
        ("GET", "/", "Basic YTpi", 404, "not_found"),
        ("POST", "/v1/sessions", "", 405, "method_not_allowed"),
    ],
)
def test_a_refusal_has_the_contracts_form(
    method: str, path: str, given: str, status: int, code: str, account: Account, development: str
) -> None:
    answer = account.get(development, path, given, method)
    assert answer.status == status
    assert answer.body == {"error": {"code": code, "message": answer.body["error"]["message"]}}
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-Id"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_smoke_test_passes(account: Account, development: str, key: str) -> None:
    account.run("sessions", "smoke", account.base(development), as_user={"SESSIONS_API_KEY": key})
