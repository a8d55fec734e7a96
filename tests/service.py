"""The service in one process: the real handlers, the builders of sessions and events, and the stream between tables."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import boto3
import pytest
from boto3.dynamodb.types import TypeSerializer

from sessions.api_keys import hash_key
from sessions.paging import finder, index
from sessions_local import functions
from sessions_local.sam_template import Function, Template
from tests.memory import Memory

ROOT = Path(__file__).parent.parent
TEMPLATE = Template.read(ROOT / "template.yaml")

ORGANIZATION = "org_" + "a" * 32
OTHER_ORGANIZATION = "org_" + "b" * 32
AGENT = "agent_" + "1" * 32
OTHER_AGENT = "agent_" + "2" * 31
KEY = "evr_" + "Az09_-" * 7


class Context(NamedTuple):
    """The part of Lambda's context that Powertools reads."""

    function_name: str = "function"
    function_version: str = "1"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:eu-west-1:123456789012:function:function"
    aws_request_id: str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"


CONTEXT = Context()

# ------------------------------------------------------------------------------------------ sessions


def session(number: int, **fields: Any) -> dict[str, Any]:
    """Return a session as a client gets it; its id and its creation time follow from the number."""
    return {
        "id": f"session_{number:032x}",
        "organization_id": ORGANIZATION,
        "agent_id": AGENT,
        "status": "idle",
        "created_at": created_at(number),
        "updated_at": "2026-11-23T16:41:46.463925Z",
        "started_at": None,
        "finished_at": None,
        "title": None,
        "preview": None,
        "output_preview": None,
        "model_id": None,
        "tags": [],
        "capabilities": [],
        "usage": None,
    } | fields


def created_at(seconds: float) -> str:
    """Return the time so many seconds after 2026-11-01."""
    return (datetime(2026, 11, 1) + timedelta(seconds=seconds)).isoformat(timespec="microseconds") + "Z"


def newest_first(sessions: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return sessions in the order of the contract."""
    return sorted(sessions, key=lambda each: (each["created_at"], each["id"]), reverse=True)


def item_of(session: dict[str, Any]) -> dict[str, Any]:
    """Return the item of a session: without null fields, with the composed keys of docs/data-layout.md."""
    values = {name: value for name, value in session.items() if value is not None}
    values["organization_agent"] = f"{session['organization_id']}#{session['agent_id']}"
    values["created_at_id"] = f"{session['created_at']}#{session['id']}"
    exact = json.loads(json.dumps(values), parse_float=Decimal)
    return {name: TypeSerializer().serialize(value) for name, value in exact.items()}


# -------------------------------------------------------------------------------------------- events


def event(query: str = "", *, name: str = "list_first_page", **changes: Any) -> dict[str, Any]:
    """Return one of `events/` with another query string, decoded as the gateway does."""
    made: dict[str, Any] = json.loads(_text(name))
    values: dict[str, list[str]] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        values.setdefault(key, []).append(value)
    made["multiValueQueryStringParameters"] = values or None
    made["queryStringParameters"] = {key: several[-1] for key, several in values.items()} or None
    return made | changes


def list_event(query: str, authorizer: dict[str, Any] | None, **changes: Any) -> dict[str, Any]:
    """Return the event of `list_sessions` with the context that the authorizer answered with."""
    made = event(query, **changes)
    made["requestContext"]["authorizer"] = authorizer
    return made


def authorizer_event(*authorization: str, header: str = "Authorization", **changes: Any) -> dict[str, Any]:
    """Return the event of `authorize` for these values of the header."""
    headers = {header: value for value in authorization}
    return event(name="authorize", headers=headers, multiValueHeaders={header: list(authorization)}) | changes


def stream_record(number: int, kind: str, *, new: Any = None, old: Any = None) -> dict[str, Any]:
    """Return a stream record with this sequence number: `INSERT`, `MODIFY` or `REMOVE` of an item."""
    images = ({"NewImage": new} if new else {}) | ({"OldImage": old} if old else {})
    stream = {"Keys": {"id": (new or old)["id"]}, "SequenceNumber": str(number), **images}
    return {"eventID": str(number), "eventName": kind, "eventSource": "aws:dynamodb", "dynamodb": stream}


@cache
def _text(name: str) -> str:
    return (ROOT / "events" / f"{name}.json").read_text()


# ----------------------------------------------------------------------------------------- functions


def load(name: str, **variables: str | None) -> ModuleType:
    """Return a function's module, loaded as a cold start does, with other variables; None leaves one out."""
    declared = {each.name: each.environment for each in TEMPLATE.functions}.get(name, {})
    environment = {key: value for key, value in (declared | variables).items() if value is not None}
    function = Function(name, ROOT / "functions" / name, "app.handler", environment, 20.0, 512)
    module = functions.load(function)
    functions.send_log(function, CurrentOutput())
    return module


@cache
def container(name: str) -> ModuleType:
    """Return a function's module; one container serves all tests, as it serves many requests."""
    return load(name)


class CurrentOutput:
    """The present standard output; a logger keeps the one that it was made with, which ends with its test."""

    def write(self, text: str) -> None:
        sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


def small_limits(monkeypatch: pytest.MonkeyPatch, dynamodb: Any = None, **limits: float) -> None:
    """Lower thresholds of `list_sessions`, so that short lists take every path of long ones.

    Args:
        monkeypatch: undoes it.
        dynamodb: a client to read with instead of the function's own.
        limits: values of the constants `scan_max`, `transfer_max`, `responses_max`, `count_responses_max`.
    """
    for name, value in limits.items():
        monkeypatch.setattr(finder if name == "scan_max" else index, name.upper(), value)
    if dynamodb is not None:
        monkeypatch.setattr(container("list_sessions").finder, "_client", dynamodb)


# ------------------------------------------------------------------------------------------- service


class Response(NamedTuple):
    """A response as a client gets it."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def ids(self) -> list[str]:
        return [session["id"] for session in self.body["data"]]

    @property
    def links(self) -> dict[str, str]:
        """The targets of the `Link` header by relation."""
        return {name: target for target, name in re.findall(r'<([^>]*)>; rel="(\w+)"', self.headers.get("Link", ""))}


def response_of(proxy: dict[str, Any]) -> Response:
    """Return a Lambda proxy response as the gateway sends it."""
    headers = {name: ", ".join(values) for name, values in proxy["multiValueHeaders"].items()}
    assert proxy["isBase64Encoded"] is False
    json.dumps(proxy)
    return Response(proxy["statusCode"], headers, proxy["body"])


class Service:
    """Tables and handlers; a test says when the stream between them is delivered."""

    def __init__(self, dynamodb: Any = None) -> None:
        """Create the tables.

        Args:
            dynamodb: an engine that has them already; None: moto.
        """
        self.dynamodb = dynamodb or boto3.client("dynamodb")
        for table in () if dynamodb else TEMPLATE.tables:
            self.dynamodb.create_table(**table.arguments)
        self._numbers = itertools.count(1)
        self._records: list[dict[str, Any]] = []

    def put(self, *sessions: dict[str, Any]) -> None:
        """Write sessions."""
        self.put_items(*map(item_of, sessions))

    def put_items(self, *items: dict[str, Any]) -> None:
        """Write items as a writer in another language would."""
        for item in items:
            if self._read(item["id"]["S"]) is None:  # the event source mapping filters modifications out
                self._records.append(stream_record(next(self._numbers), "INSERT", new=item))
            self.dynamodb.put_item(TableName="sessions", Item=item)

    def delete(self, session_id: str) -> None:
        """Remove a session."""
        item = self._read(session_id)
        if item is not None:
            self._records.append(stream_record(next(self._numbers), "REMOVE", old=item))
        self.dynamodb.delete_item(TableName="sessions", Key={"id": {"S": session_id}})

    def drain(self) -> None:
        """Deliver the stream."""
        while self._records:
            batch, self._records = self._records[:100], self._records[100:]
            outcome = self.function("count_sessions").handler({"Records": batch}, CONTEXT)
            assert outcome == {"batchItemFailures": []}

    def get(
        self,
        query: str = "",
        *,
        organization: str | None = ORGANIZATION,
        context: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Response:
        """Return the response of `list_sessions` to a caller whom the authorizer has let in."""
        caller = {"organization_id": organization} if organization else {}
        made = list_event(query, caller | (context or {}), **changes)
        return response_of(self.function("list_sessions").handler(made, CONTEXT))

    def issue(self, key: str = KEY, **attributes: Any) -> None:
        """Store an API key as `sessions keys create` does, with other attributes; None leaves one out."""
        item = {"key_hash": {"S": hash_key(key)}, "organization_id": {"S": ORGANIZATION}, "name": {"S": "console"}}
        item = {name: value for name, value in (item | attributes).items() if value is not None}
        self.dynamodb.put_item(TableName="api_keys", Item=item)

    def authorize(self, *authorization: str, **changes: Any) -> dict[str, Any]:
        """Return the policy of `authorize` for these values of the header `Authorization`."""
        policy: dict[str, Any] = self.function("authorize").handler(
            authorizer_event(*authorization, **changes), CONTEXT
        )
        return policy

    def function(self, name: str) -> Any:
        """Return the module of a function."""
        return container(name)

    def _read(self, session_id: str) -> Any:
        request = {"sessions": {"Keys": [{"id": {"S": session_id}}]}}
        return next(iter(self.dynamodb.batch_get_item(RequestItems=request)["Responses"]["sessions"]), None)


def memory_service(monkeypatch: pytest.MonkeyPatch, engine: Memory | None = None, **limits: float) -> Service:
    """Return a service on an engine in memory, which is some hundred times faster than moto.

    Args:
        monkeypatch: undoes it.
        engine: keeps the tables; None: a new one.
        limits: see `small_limits`.
    """
    engine = engine or Memory()
    small_limits(monkeypatch, engine, **limits)
    monkeypatch.setattr(container("count_sessions").counts, "_dynamodb", engine)
    monkeypatch.setattr(container("authorize").api_keys, "_dynamodb", engine)
    return Service(engine)


@contextmanager
def in_memory(engine: Memory | None = None, **limits: float) -> Iterator[Service]:
    """Provide a service on an engine in memory, for one example of a property."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield memory_service(monkeypatch, engine, **limits)
