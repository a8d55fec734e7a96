"""The deployed API over HTTP: pages of sessions that the stream has counted, and the checks of `sessions smoke`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from tests.service import session
from tests.stack.account import Account, eventually

ORGANIZATION = f"org_{1:032x}"
COUNT = 45


def stored(number: int) -> dict[str, Any]:
    """Return the item of a session as docs/data-layout.md has it."""
    made = {name: value for name, value in session(number, organization_id=ORGANIZATION).items() if value is not None}
    made["organization_agent"] = f"{ORGANIZATION}#{made['agent_id']}"
    made["created_at_id"] = f"{made['created_at']}#{made['id']}"
    return {name: TypeSerializer().serialize(value) for name, value in made.items()}


def session_line() -> str:
    """Return a file of one session for `sessions load`."""
    return json.dumps(session(999)) + "\n"


@pytest.fixture(scope="module")
def key(account: Account, development: str) -> str:
    """A key of an organization with sessions that boto3 has written and the stream has counted."""
    found = account.run("sessions", "keys", "create", "--stack", development, "--organization", ORGANIZATION)
    table = account.resources(development)["SessionsTable"]
    for number in range(COUNT):
        account.client("dynamodb").put_item(TableName=table, Item=stored(number))
    eventually(lambda: account.call(development, "/v1/sessions", found).json()["total"] == COUNT)
    return found


def test_pages_joined_are_the_whole_list(account: Account, development: str, key: str) -> None:
    pages = [account.call(development, f"/v1/sessions?offset={offset}", key) for offset in range(0, COUNT, 20)]
    ids = [each["id"] for page in pages for each in page.json()["data"]]
    assert ids == [f"session_{number:032x}" for number in reversed(range(COUNT))]
    assert set(pages[1].links) == {"first", "prev", "next", "last"}


def test_the_smoke_test_passes(account: Account, development: str, key: str) -> None:
    # With 401 for no key and a bad one, 404 and 405 in the contract's form.
    account.run("sessions", "smoke", account.api(development), user={"SESSIONS_API_KEY": key})
