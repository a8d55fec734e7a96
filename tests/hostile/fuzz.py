"""Events that no gateway and no stream would send, and those that hostile callers can make them send."""

from __future__ import annotations

import copy
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from typing import Any, Final, cast

import pytest
from hypothesis import strategies as st

from sessions.api_keys import ApiKeys, hash_key
from sessions.counting.writer import CountWriter
from sessions.histograms import add
from sessions.paging.finder import Pages
from sessions.schema import index_keys, marker_index_keys
from sessions_cli.load import item_of
from tests.counting.memory import Memory
from tests.counting.rows import numbers_of
from tests.service import CONTEXT, ORGANIZATION, OTHER_ORGANIZATION, ROOT, container, session

KEY: Final = "evr_" + "Az09_-" * 7
THEIRS: Final = "evr_" + "theirs00" * 4
SECRET: Final = "a title of theirs"

STATUSES: Final = {200, 400, 401, 403, 404, 405, 500, 503}

# ------------------------------------------------------------------------------------- what is in events

text = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            *("", " ", "null", "0", "1", "-1", "20", "101", "1e3", "２", "2147483647", "2147483648", "9" * 400),
            *(ORGANIZATION, OTHER_ORGANIZATION, "org_" + "a" * 31, f"agent_{'1' * 32}", f"agent_{'2' * 31}"),
            *(KEY, f"Bearer {KEY}", f"bearer  {KEY} ", KEY[:-1], KEY + "x", KEY.upper(), f"{KEY}\n", f"{KEY},{KEY}"),
            *("agent_id", "offset", "limit", "organization_id", "__proto__", "../../etc/passwd", "%00", "\r\nX: y"),
            *("\ud800", "é" * 50, "\u202e", "\x00", "{}", "[]", "<script>", "' OR 1=1 --", "*", "org_*"),
        ]
    ),
)
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), text),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
header_names = st.sampled_from(
    [
        "Authorization",
        "authorization",
        "AUTHORIZATION",
        "X-Org-Id",
        "x-org-id",
        "Origin",
        "Accept",
        "Cookie",
        "X-Api-Key",
    ]
)
headers = st.dictionaries(header_names, st.lists(text, min_size=1, max_size=3), max_size=4)
queries = st.dictionaries(
    st.sampled_from(["agent_id", "offset", "limit"]) | text, st.lists(text, min_size=1, max_size=2), max_size=3
)


def changed(base: Any) -> st.SearchStrategy[Any]:
    """Copies of an event in which some parts, at any depth, are junk or missing."""

    def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        if path:
            yield path
        inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, each in inner:
            yield from places(each, (*path, key))

    def apply(changes: list[tuple[tuple[Any, ...], bool, Any]]) -> Any:
        made = copy.deepcopy(base)
        for path, is_removed, value in changes:
            holder = made
            try:
                for key in path[:-1]:
                    holder = holder[key]
                if is_removed:
                    del holder[path[-1]]
                else:
                    holder[path[-1]] = value
            except (KeyError, IndexError, TypeError):
                continue
        return made

    one = st.tuples(st.sampled_from(list(places(base))), st.booleans(), junk)
    return st.lists(one, min_size=1, max_size=4).map(apply)


def example(name: str) -> dict[str, Any]:
    """One of `events/`."""
    event: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text())
    return event


# ----------------------------------------------------------------------------------------- the functions


class NoTimeLimit:
    """Runs everything in the thread of the test."""

    reads = ThreadPoolExecutor(2)

    def run(self, work: Callable[[], Any]) -> Any:
        return work()


class Keys(Memory):
    """The API keys table."""

    def get_item(self, TableName: str, Key: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        owners = {hash_key(KEY): ORGANIZATION, hash_key(THEIRS): OTHER_ORGANIZATION}
        owner = owners.get(Key["key_hash"]["S"])
        return {"Item": {"organization_id": {"S": owner}, "name": {"S": "console"}}} if owner else {}


@contextmanager
def functions() -> Iterator[Memory]:
    """The handlers on tables in memory, with sessions of two organizations in them."""
    memory = Keys()
    with pytest.MonkeyPatch.context() as monkeypatch:
        time_limit = cast(Any, NoTimeLimit())
        monkeypatch.setattr(
            container("list_sessions"),
            "pages",
            Pages(cast(Any, memory), "sessions", "counts", time_limit=time_limit),
        )
        monkeypatch.setattr(container("authorize"), "api_keys", ApiKeys(cast(Any, memory), "api_keys", time_limit))
        writer = CountWriter(cast(Any, memory), "counts", sleep=lambda _: None)
        monkeypatch.setattr(container("count_sessions"), "counts", writer)
        for number in range(30):
            memory.put_item("sessions", item_of(session(number)))
        theirs = session(99, organization_id=OTHER_ORGANIZATION, title=SECRET)
        memory.put_item("sessions", item_of(theirs))
        yield memory


def call(name: str, event: Any) -> tuple[Any, str]:
    """What a handler returns, or the exception that it raises, and what it writes."""
    written = io.StringIO()
    with redirect_stdout(written):
        try:
            returned: Any = container(name).handler(event, CONTEXT)
        except Exception as error:
            returned = error
    log = written.getvalue()
    for line in log.splitlines():
        json.loads(line)
    assert KEY[4:] not in log
    return returned, log


# ----------------------------------------------------------------------------------------- list_sessions


def check_list_response(event: Any, response: Any, *, by_gateway: bool) -> None:
    """A response is one of the contract's, and a page holds the caller's own sessions only."""
    if isinstance(response, Exception):
        assert not by_gateway, response
        return
    assert response["statusCode"] in STATUSES
    assert response["isBase64Encoded"] is False
    body = json.loads(response["body"])
    assert SECRET not in response["body"] or _organization(event) == OTHER_ORGANIZATION
    if response["statusCode"] == 200:
        assert set(body) == {"data", "total", "offset", "limit"}
        organization = _organization(event)
        assert isinstance(organization, str)
        assert organization
        assert {entry["organization_id"] for entry in body["data"]} <= {organization}
        assert body["total"] <= {ORGANIZATION: 30, OTHER_ORGANIZATION: 1}.get(organization, 0)
    else:
        assert body == {"error": {"code": body["error"]["code"], "message": body["error"]["message"]}}
        assert isinstance(body["error"]["message"], str)
        # Of what is wrong with us, a caller learns nothing.
        assert response["statusCode"] != 500 or body["error"]["message"] == "Internal server error"
    if by_gateway:
        assert response["statusCode"] not in (500, 503), response


def _organization(event: Any) -> Any:
    try:
        return event["requestContext"]["authorizer"]["organization_id"]
    except (KeyError, TypeError):
        return None


@st.composite
def list_events(draw: st.DrawFn) -> dict[str, Any]:
    """What the gateway can send: its own form, with anything in what callers choose."""
    event = example("list_first_page")
    query, sent = draw(queries), draw(headers)
    event["multiValueQueryStringParameters"] = query or None
    event["queryStringParameters"] = {name: values[-1] for name, values in query.items()} or None
    event["multiValueHeaders"] = sent or None
    event["headers"] = {name: values[-1] for name, values in sent.items()} or None
    event["httpMethod"] = draw(st.sampled_from(["GET"] * 5 + ["POST", "HEAD", "OPTIONS", "DELETE", "PUT", "PATCH"]))
    event["path"] = draw(st.sampled_from(["/v1/sessions", "/base/v1/sessions"]) | text)
    event["resource"] = draw(st.sampled_from(["/v1/sessions"] * 5 + ["/", "/{proxy+}"]))
    event["requestContext"]["authorizer"] = draw(
        st.sampled_from([None, {}, {"organization_id": ORGANIZATION}, {"organization_id": OTHER_ORGANIZATION}])
        | st.dictionaries(
            st.sampled_from(["organization_id", "expires_at", "key_name", "principalId"]), text | st.none(), max_size=4
        )
    )
    return event


# --------------------------------------------------------------------------------------------- authorize

_LIVE = re.compile(r"[ \t]*(?:(?:bearer|apikey)[ \t]+)?(evr_\S+?)[ \t]*", re.IGNORECASE)


def live_key(event: Any) -> str | None:
    """The live key that an event carries by the contract, found by other means than the package's."""
    try:
        several = event["multiValueHeaders"] or {name: [value] for name, value in (event["headers"] or {}).items()}
        values = [value for name, each in several.items() if name.lower() == "authorization" for value in each]
    except (KeyError, TypeError, AttributeError):
        return None
    if len(values) != 1 or not isinstance(values[0], str):
        return None
    found = _LIVE.fullmatch(values[0])
    return found[1] if found and found[1] in (KEY, THEIRS) else None


def check_policy(event: Any, policy: Any, *, by_gateway: bool) -> None:
    """Only a live key is let in, and only into its own organization."""
    if isinstance(policy, Exception):
        assert not by_gateway, policy
        return
    (statement,) = policy["policyDocument"]["Statement"]
    key = live_key(event)
    if statement["Effect"] == "Allow":
        if by_gateway:
            assert key is not None
        assert KEY in json.dumps(event) or THEIRS in json.dumps(event)
        assert policy["context"]["organization_id"] in (ORGANIZATION, OTHER_ORGANIZATION)
    else:
        assert statement["Effect"] == "Deny"
        assert policy["principalId"] == "unknown"
        assert not policy.get("context")
        if by_gateway:
            assert key is None
    assert KEY not in json.dumps(policy)


@st.composite
def authorizer_events(draw: st.DrawFn) -> dict[str, Any]:
    """What the gateway can send, with anything in the headers."""
    event = example("authorize")
    sent = draw(headers)
    event["multiValueHeaders"] = sent
    event["headers"] = {name: values[-1] for name, values in sent.items()}
    return event


# ---------------------------------------------------------------------------------------- count_sessions

VALID: Final = 5


def records(hostile: list[Any]) -> tuple[list[Any], list[dict[str, Any]]]:
    """A batch of hostile records with valid ones between them, and the items of those."""
    items = [item_of(session(500 + number)) for number in range(VALID)]
    batch: list[Any] = []
    for number, item in enumerate(items):
        batch += hostile[number::VALID]
        stream = {"Keys": {"id": item["id"]}, "SequenceNumber": str(10**20 + number), "NewImage": item}
        batch.append({"eventID": f"valid {number}", "eventName": "INSERT", "dynamodb": stream})
    return batch, items


def check_counted(memory: Memory, items: list[dict[str, Any]], response: Any) -> None:
    """The valid sessions are counted, each once, and every bin is the number of markers that say so."""
    assert not isinstance(response, Exception), response
    assert set(response) == {"batchItemFailures"}
    assert len(response["batchItemFailures"]) <= 1
    rows = memory.tables["counts"]
    said: Counter[Any] = Counter()
    for (_, bucket), row in rows.items():
        if bucket == "S":
            add(said, marker_index_keys(row), 1)
    assert numbers_of(rows.values()) == {(*row, name): count for (row, name), count in said.items() if count}
    for item in items:
        assert marker_index_keys(rows["session#" + item["id"]["S"], "S"]) == index_keys(item["id"]["S"], item)


stream_records = changed(example("count_insert")["Records"][0]) | junk
