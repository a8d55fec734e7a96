"""Hostile events: nobody gets in, nothing of another organization shows, nothing crashes that a caller can reach."""

from __future__ import annotations

import copy
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from functools import cache, reduce
from operator import getitem
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from sessions.histograms import add
from sessions.schema import index_keys, marker_index_keys
from tests.counting.rows import numbers_of
from tests.memory import Memory
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

THEIRS: Final = "evr_" + "theirs00" * 4
"""The key of the other organization."""
TITLE: Final = "a title of theirs"
SESSIONS: Final = {ORGANIZATION: 30, OTHER_ORGANIZATION: 1}

_LIVE: Final = re.compile(r"[ \t]*(?:(?:bearer|apikey)[ \t]+)?(evr_\S+?)[ \t]*", re.IGNORECASE)

# --------------------------------------------------------------------------------------------- events

TEXTS: Final = [
    *("", " ", "null", "0", "1", "-1", "20", "101", "1e3", "２", "2147483647", "2147483648", "9" * 400),
    *(ORGANIZATION, OTHER_ORGANIZATION, "org_" + "a" * 31, f"agent_{'1' * 32}", f"agent_{'2' * 31}"),
    *(KEY, f"Bearer {KEY}", f"bearer  {KEY} ", KEY[:-1], KEY + "x", KEY.upper(), f"{KEY}\n", f"{KEY},{KEY}"),
    *("agent_id", "offset", "limit", "organization_id", "__proto__", "../../etc/passwd", "%00", "\r\nX: y"),
    *("\ud800", "é" * 50, "\u202e", "\x00", "{}", "[]", "<script>", "' OR 1=1 --", "*", "org_*"),
]
text = st.text(max_size=30) | st.sampled_from(TEXTS)
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), text),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(
    ["Authorization", "authorization", "AUTHORIZATION", "X-Org-Id", "x-org-id", "Origin", "Accept", "Cookie"]
)
headers = st.dictionaries(names, st.lists(text, min_size=1, max_size=3), max_size=4)
parameters = st.sampled_from(["agent_id", "offset", "limit"]) | text
queries = st.dictionaries(parameters, st.lists(text, min_size=1, max_size=2), max_size=3)
context_names = st.sampled_from(["organization_id", "expires_at", "key_name", "principalId"])
authorizers = st.one_of(
    st.sampled_from([None, {}, {"organization_id": ORGANIZATION}, {"organization_id": OTHER_ORGANIZATION}]),
    st.dictionaries(context_names, text | st.none(), max_size=4),
)


@st.composite
def gateway_events(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Draw an event in the gateway's form, with anything in what callers choose."""
    made = event(name=name)
    query, sent = draw(queries), draw(headers)
    made["multiValueQueryStringParameters"] = query or None
    made["queryStringParameters"] = {name: values[-1] for name, values in query.items()} or None
    made["multiValueHeaders"] = sent or None
    made["headers"] = {name: values[-1] for name, values in sent.items()} or None
    made["httpMethod"] = draw(st.sampled_from(["GET"] * 5 + ["POST", "HEAD", "OPTIONS", "DELETE", "PUT", "PATCH"]))
    made["path"] = draw(st.sampled_from(["/v1/sessions", "/base/v1/sessions"]) | text)
    made["resource"] = draw(st.sampled_from(["/v1/sessions"] * 5 + ["/", "/{proxy+}"]))
    made["requestContext"]["authorizer"] = draw(authorizers)
    return made


def paths(value: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the path to each part of a value, at any depth."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (key,)
        yield from ((key, *path) for path in paths(each))


@st.composite
def changed(draw: st.DrawFn, base: Any) -> Any:
    """Draw a copy of an event in which some parts, at any depth, are junk or missing."""
    made = copy.deepcopy(base)
    for *way, last in draw(st.lists(st.sampled_from(list(paths(base))), min_size=1, max_size=4)):
        is_removed, value = draw(st.booleans()), draw(junk)
        with suppress(KeyError, IndexError, TypeError):  # if an earlier change has removed the way
            holder = reduce(getitem, way, made)
            if is_removed:
                del holder[last]
            else:
                holder[last] = value
    return made


# -------------------------------------------------------------------------------------------- functions


@cache
def tables() -> dict[str, dict[tuple[str, ...], Any]]:
    """Return tables with sessions and keys of two organizations."""
    with in_memory() as service:
        service.put(*map(session, range(SESSIONS[ORGANIZATION])))
        service.put(session(99, organization_id=OTHER_ORGANIZATION, title=TITLE))
        service.issue()
        service.issue(THEIRS, organization_id={"S": OTHER_ORGANIZATION})
        return dict(service.dynamodb.tables)


def call(name: str, event: Any) -> tuple[Any, Memory]:
    """Return what a handler returns or raises, and the tables afterwards; no log line may hold a key."""
    memory, log = Memory(), io.StringIO()
    memory.tables = {table: dict(items) for table, items in tables().items()}
    with in_memory(memory), redirect_stdout(log):
        try:
            returned = container(name).handler(event, CONTEXT)
        except Exception as error:
            returned = error
    for line in log.getvalue().splitlines():
        json.loads(line)
    assert KEY[4:] not in log.getvalue()
    return returned, memory


def check_response(event: Any, response: Any) -> None:
    """Assert that a response is the contract's, and that its page holds the caller's own sessions alone."""
    try:
        organization = event["requestContext"]["authorizer"]["organization_id"]
    except (KeyError, TypeError):
        organization = None
    body = json.loads(response["body"])
    assert TITLE not in response["body"] or organization == OTHER_ORGANIZATION
    if response["statusCode"] == 200:
        assert set(body) == {"data", "total", "offset", "limit"}
        assert isinstance(organization, str)
        assert organization
        assert {each["organization_id"] for each in body["data"]} <= {organization}
        assert body["total"] <= SESSIONS.get(organization, 0)
    else:
        assert response["statusCode"] in {400, 401, 403, 404, 405, 500, 503}
        assert body == {"error": {"code": body["error"]["code"], "message": body["error"]["message"]}}
        assert isinstance(body["error"]["message"], str)
        assert response["statusCode"] != 500 or body["error"]["message"] == "Internal server error"


@many
@given(event=gateway_events("list_first_page"))
def test_event_of_the_gateway_gets_a_response_of_the_contract(event: dict[str, Any]) -> None:
    response, _ = call("list_sessions", event)
    check_response(event, response)
    assert response["statusCode"] not in (500, 503), response


@many
@given(event=changed(event(name="list_deep_page")) | junk)
def test_no_event_shows_anything_of_another_organization(event: Any) -> None:
    response, _ = call("list_sessions", event)
    if not isinstance(response, Exception):
        check_response(event, response)


def live_key(event: dict[str, Any]) -> str | None:
    """Return the live key that an event carries, found by other means than the package's."""
    sent = event["multiValueHeaders"] or {}
    values = [value for name, several in sent.items() if name.lower() == "authorization" for value in several]
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
@given(event=gateway_events("authorize"))
def test_only_a_live_key_in_its_header_gets_in(event: dict[str, Any]) -> None:
    policy, _ = call("authorize", event)
    assert effect_of(policy) == ("Deny" if live_key(event) is None else "Allow")


@many
@given(event=changed(event(name="authorize")) | junk)
def test_no_event_without_a_live_key_gets_in(event: Any) -> None:
    policy, _ = call("authorize", event)
    if not isinstance(policy, Exception) and effect_of(policy) == "Allow":
        assert KEY in json.dumps(event) or THEIRS in json.dumps(event)


@many
@given(hostile=st.lists(changed(event(name="count_insert")["Records"][0]) | junk, min_size=1, max_size=6))
def test_no_stream_record_keeps_others_from_being_counted(hostile: list[Any]) -> None:
    items = [item_of(session(500 + number)) for number in range(5)]
    batch: list[Any] = []
    for number, item in enumerate(items):
        batch += [*hostile[number::5], stream_record(10**20 + number, "INSERT", new=item)]
    response, memory = call("count_sessions", {"Records": batch})
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
