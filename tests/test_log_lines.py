"""The log lines that docs/operations.md quotes are the ones that the functions write."""

from __future__ import annotations

import json
import re
from typing import Any
from unittest.mock import Mock

import pytest

from sessions.api_keys import hash_key
from tests.conftest import Lines
from tests.service import CONTEXT, ORGANIZATION, ROOT, TEMPLATE, Service, session, small_limits

DOCUMENT = (ROOT / "docs" / "operations.md").read_text()

VARYING = {"timestamp", "Timestamp", "Duration", "exception", "cold_start", "function_arn", "function_name"}
"""What differs from run to run, or from machine to machine."""


def quoted(name: str) -> dict[str, Any]:
    """The JSON block below a paragraph that begins with this name in bold."""
    found = re.search(rf"^\*\*{name}\*\*.*?```json\n(.*?)```", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert found is not None, f"docs/operations.md quotes no {name}"
    line: dict[str, Any] = json.loads(found[1])
    return line


def comparable(value: Any) -> Any:
    """A line with the varying values taken out, and the order of its fields kept."""
    if isinstance(value, dict):
        return [(name, None if name in VARYING else comparable(each)) for name, each in value.items()]
    return [comparable(each) for each in value] if isinstance(value, list) else value


def assert_quoted(name: str, line: dict[str, Any]) -> None:
    assert comparable(line) == comparable(quoted(name))


def test_the_line_of_a_page_is_quoted(service: Service, lines: Lines) -> None:
    service.put(*(session(number) for number in range(3)))
    service.drain()
    lines()
    service.get("limit=2")
    assert_quoted("A page", lines()[-1])


def test_the_line_of_a_refusal_is_quoted(service: Service, lines: Lines) -> None:
    service.get("limit=1000")
    assert_quoted("A refusal", lines()[-1])


def test_the_line_of_a_fault_is_quoted(service: Service, lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    small_limits(monkeypatch, Mock(query=Mock(side_effect=KeyError("Items"))))
    service.get()
    line = lines()[-1]
    assert "KeyError: 'Items'" in line["exception"]
    assert_quoted("A fault", line)


def test_the_lines_of_an_allowed_and_of_a_denied_key_are_quoted(service: Service, lines: Lines) -> None:
    event = json.loads((ROOT / "events" / "authorize.json").read_text())
    key = event["headers"]["Authorization"]
    service.function("authorize").handler(event, CONTEXT)
    assert_quoted("A denied key", lines()[-1])
    item = {"key_hash": {"S": hash_key(key)}, "organization_id": {"S": ORGANIZATION}, "name": {"S": "console"}}
    service.dynamodb.put_item(TableName="api_keys", Item=item)
    service.function("authorize").handler(event, CONTEXT)
    assert_quoted("An allowed key", lines()[-1])


def test_the_stack_of_the_quoted_lines_is_the_one_of_the_tests() -> None:
    assert TEMPLATE.function("list_sessions").environment["STACK_NAME"] == quoted("A page")["stack"]
