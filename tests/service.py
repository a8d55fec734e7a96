"""The service in one process for tests: real handlers on tables built from the template, in moto."""

from __future__ import annotations

import importlib.util
import itertools
import json
import logging
import re
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import boto3
import pytest

from sessions import client
from sessions.paging import finder, index
from sessions_cli.items import item_of
from sessions_local.sam_template import Template

ROOT = Path(__file__).parent.parent
TEMPLATE = Template.read(ROOT / "template.yaml")

ORGANIZATION = "org_" + "a" * 32
OTHER_ORGANIZATION = "org_" + "b" * 32
AGENT = "agent_" + "1" * 32
OTHER_AGENT = "agent_" + "2" * 31


class Context(NamedTuple):
    """What Lambda passes to a handler, as far as Powertools looks."""

    function_name: str = "function"
    function_version: str = "1"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:eu-west-1:123456789012:function:function"
    aws_request_id: str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"


CONTEXT = Context()


class Response(NamedTuple):
    """What a client would see."""

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


def session(number: int, **fields: Any) -> dict[str, Any]:
    """A Session of the contract as a client gets it; the number makes its id, and its second."""
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


def created_at(seconds: int) -> str:
    """So many seconds after the first of November 2026."""
    return (datetime(2026, 11, 1) + timedelta(seconds=seconds)).isoformat(timespec="microseconds") + "Z"


def newest_first(sessions: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The order of the contract."""
    return sorted(sessions, key=lambda entry: (entry["created_at"], entry["id"]), reverse=True)


def event(query: str = "", *, name: str = "list_first_page", **changes: Any) -> dict[str, Any]:
    """One of `events/` with another query string, as the gateway would decode it."""
    made: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text())
    values: dict[str, list[str]] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        values.setdefault(key, []).append(value)
    made["multiValueQueryStringParameters"] = values or None
    made["queryStringParameters"] = {key: several[-1] for key, several in values.items()} or None
    return made | changes


class Service:
    """Tables and handlers, and the stream between them delivered when a test says so."""

    def __init__(self) -> None:
        self.dynamodb = boto3.client("dynamodb")
        for table in TEMPLATE.tables:
            self.dynamodb.create_table(**table.arguments)
        self._sequence = itertools.count(1)
        self._records: list[dict[str, Any]] = []

    def put(self, *sessions: dict[str, Any]) -> None:
        """Writes Sessions of the contract."""
        self.put_items(*(item_of(entry) for entry in sessions))

    def put_items(self, *items: dict[str, Any]) -> None:
        """Writes items as a writer in another language would."""
        for item in items:
            before = self.dynamodb.put_item(TableName="sessions", Item=item, ReturnValues="ALL_OLD").get("Attributes")
            self._record("MODIFY" if before else "INSERT", item["id"], new=item, old=before)

    def delete(self, session_id: str) -> None:
        """Removes a session."""
        key = {"id": {"S": session_id}}
        before = self.dynamodb.delete_item(TableName="sessions", Key=key, ReturnValues="ALL_OLD").get("Attributes")
        if before:
            self._record("REMOVE", key["id"], new=None, old=before)

    def drain(self) -> None:
        """Delivers the stream."""
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
        """The response of `list_sessions` to a caller whom the authorizer has let in."""
        made = event(query, **changes)
        made["requestContext"]["authorizer"] = ({"organization_id": organization} if organization else {}) | (
            context or {}
        )
        return response_of(self.function("list_sessions").handler(made, CONTEXT))

    def function(self, name: str) -> Any:
        """The module of a function; one container serves all tests, as it serves many requests."""
        return container(name)

    def _record(self, kind: str, session_id: dict[str, str], *, new: Any, old: Any) -> None:
        images = ({"NewImage": new} if new else {}) | ({"OldImage": old} if old else {})
        sequence = str(next(self._sequence)).zfill(21)
        if kind != "MODIFY":  # the event source mapping filters them out
            self._records.append(
                {
                    "eventID": sequence,
                    "eventName": kind,
                    "eventSource": "aws:dynamodb",
                    "dynamodb": {"Keys": {"id": session_id}, "SequenceNumber": sequence, **images},
                }
            )


def small_limits(monkeypatch: pytest.MonkeyPatch, dynamodb: Any = None, **limits: float) -> None:
    """Lower thresholds of `list_sessions`, so that short lists take every path of long ones.

    Args:
        monkeypatch: undoes it.
        dynamodb: a client to read with instead of the function's own.
        limits: values of the constants `scan_max`, `transfer_max`, `responses_max`, `count_responses_max`, `deadline`.
    """
    modules = {"scan_max": finder, "deadline": client}
    for name, value in limits.items():
        monkeypatch.setattr(modules.get(name, index), name.upper(), value)
    if dynamodb is not None:
        monkeypatch.setattr(container("list_sessions").finder, "_client", dynamodb)


@cache
def container(name: str) -> ModuleType:
    """A function's module, loaded once as a cold start does."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for variable, value in TEMPLATE.function(name).environment.items():
            monkeypatch.setenv(variable, value)
        module = load(name)
    for handler in logging.getLogger(name).handlers:
        handler.setStream(CurrentOutput())  # type: ignore[attr-defined]
    return module


class CurrentOutput:
    """Standard output as it is for each test, rather than as it was when the function was loaded."""

    def write(self, text: str) -> None:
        sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


def load(name: str) -> ModuleType:
    """A function's module under a name of its own; every one of them is called `app`."""
    spec = importlib.util.spec_from_file_location(f"{name}_app", ROOT / "functions" / name / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def response_of(proxy: dict[str, Any]) -> Response:
    """A Lambda proxy response as the gateway would send it."""
    headers = {name: ", ".join(values) for name, values in proxy["multiValueHeaders"].items()}
    assert proxy["isBase64Encoded"] is False
    json.dumps(proxy)
    return Response(proxy["statusCode"], headers, proxy["body"])
