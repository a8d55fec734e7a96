"""Hostile events: nobody gets in, nothing of another organization shows, nothing crashes that a caller can reach."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from sessions.histograms import add
from sessions.schema import index_keys, marker_index_keys
from tests.counting.memory import Memory
from tests.counting.rows import numbers_of
from tests.proof.hostile_events import THEIRS, authorizer_events, changed, junk, list_events
from tests.service import (
    CONTEXT,
    KEY,
    ORGANIZATION,
    OTHER_ORGANIZATION,
    container,
    event,
    in_memory,
    item_of,
    session,
    stream_record,
)

# More than of other properties: an example takes some milliseconds.
many = settings(max_examples=settings().max_examples * 5)

TITLE: Final = "a title of theirs"
SESSIONS: Final = {ORGANIZATION: 30, OTHER_ORGANIZATION: 1}

_LIVE: Final = re.compile(r"[ \t]*(?:(?:bearer|apikey)[ \t]+)?(evr_\S+?)[ \t]*", re.IGNORECASE)


@contextmanager
def functions() -> Iterator[Memory]:
    """Provide the tables of the handlers, with sessions and keys of two organizations."""
    memory = Memory()
    with in_memory(memory) as service:
        service.put(*map(session, range(SESSIONS[ORGANIZATION])))
        service.put(session(99, organization_id=OTHER_ORGANIZATION, title=TITLE))
        service.issue()
        service.issue(THEIRS, organization_id={"S": OTHER_ORGANIZATION})
        yield memory


def call(name: str, event: Any) -> Any:
    """Return what a handler returns, or the exception that it raises; no log line may hold a key."""
    log = io.StringIO()
    with redirect_stdout(log):
        try:
            returned: Any = container(name).handler(event, CONTEXT)
        except Exception as error:
            returned = error
    for line in log.getvalue().splitlines():
        json.loads(line)
    assert KEY[4:] not in log.getvalue()
    return returned


def organization_of(event: Any) -> Any:
    try:
        return event["requestContext"]["authorizer"]["organization_id"]
    except (KeyError, TypeError):
        return None


def check_response(event: Any, response: Any) -> None:
    """Assert that a response is the contract's, and that its page holds the caller's own sessions alone."""
    assert response["statusCode"] in {200, 400, 401, 403, 404, 405, 500, 503}
    body = json.loads(response["body"])
    organization = organization_of(event)
    assert TITLE not in response["body"] or organization == OTHER_ORGANIZATION
    if response["statusCode"] == 200:
        assert set(body) == {"data", "total", "offset", "limit"}
        assert isinstance(organization, str)
        assert organization
        assert {each["organization_id"] for each in body["data"]} <= {organization}
        assert body["total"] <= SESSIONS.get(organization, 0)
    else:
        assert body == {"error": {"code": body["error"]["code"], "message": body["error"]["message"]}}
        assert isinstance(body["error"]["message"], str)
        assert response["statusCode"] != 500 or body["error"]["message"] == "Internal server error"


@many
@given(event=list_events())
def test_event_of_the_gateway_gets_a_response_of_the_contract(event: dict[str, Any]) -> None:
    with functions():
        response = call("list_sessions", event)
    check_response(event, response)
    assert response["statusCode"] not in (500, 503), response


@many
@given(event=changed(event(name="list_deep_page")) | junk)
def test_no_event_shows_anything_of_another_organization(event: Any) -> None:
    with functions():
        response = call("list_sessions", event)
    if not isinstance(response, Exception):
        check_response(event, response)


def live_key(event: dict[str, Any]) -> str | None:
    """Return the live key that an event carries, found by other means than the package's."""
    values = [
        value for name, each in event["multiValueHeaders"].items() if name.lower() == "authorization" for value in each
    ]
    found = _LIVE.fullmatch(values[0]) if len(values) == 1 else None
    return found[1] if found and found[1] in (KEY, THEIRS) else None


def effect_of(policy: Any) -> str:
    """Return the effect of a policy, which names an organization if it lets somebody in, and no key."""
    (statement,) = policy["policyDocument"]["Statement"]
    assert KEY not in json.dumps(policy)
    if statement["Effect"] == "Allow":
        assert policy["context"]["organization_id"] in SESSIONS
    else:
        assert (policy["principalId"], policy.get("context") or {}) == ("unknown", {})
    return str(statement["Effect"])


@many
@given(event=authorizer_events())
def test_only_a_live_key_in_its_header_gets_in(event: dict[str, Any]) -> None:
    with functions():
        policy = call("authorize", event)
    assert effect_of(policy) == ("Deny" if live_key(event) is None else "Allow")


@many
@given(event=changed(event(name="authorize")) | junk)
def test_no_event_without_a_live_key_gets_in(event: Any) -> None:
    with functions():
        policy = call("authorize", event)
    if not isinstance(policy, Exception) and effect_of(policy) == "Allow":
        assert KEY in json.dumps(event) or THEIRS in json.dumps(event)


@many
@given(hostile=st.lists(changed(event(name="count_insert")["Records"][0]) | junk, min_size=1, max_size=6))
def test_no_stream_record_keeps_others_from_being_counted(hostile: list[Any]) -> None:
    items = [item_of(session(500 + number)) for number in range(5)]
    batch: list[Any] = []
    for number, item in enumerate(items):
        batch += [*hostile[number::5], stream_record(10**20 + number, "INSERT", new=item)]
    with functions() as memory:
        response = call("count_sessions", {"Records": batch})
    assert set(response) == {"batchItemFailures"}
    assert len(response["batchItemFailures"]) <= 1
    rows = memory.tables["counts"]
    marked: Counter[Any] = Counter()
    for (_, bucket), row in rows.items():
        if bucket == "S":
            add(marked, marker_index_keys(row), 1)
    assert numbers_of(rows.values()) == {(*row, name): count for (row, name), count in marked.items() if count}
    for item in items:
        assert marker_index_keys(rows["session#" + item["id"]["S"], "S"]) == index_keys(item["id"]["S"], item)
