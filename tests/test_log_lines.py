"""The log lines that docs/operations.md quotes are the ones that the functions write."""

import json
import re
from typing import Any
from unittest.mock import Mock

import pytest

from tests.conftest import Lines
from tests.service import ROOT, TEMPLATE, Service, session, small_limits

DOCUMENT = (ROOT / "docs" / "operations.md").read_text()

VARYING = {"timestamp", "Timestamp", "Duration", "exception", "cold_start", "function_arn", "function_name"}
"""Fields that differ from run to run, or from machine to machine."""


def quoted(name: str) -> dict[str, Any]:
    """Return the JSON block below a paragraph that begins with this name in bold."""
    found = re.search(rf"^\*\*{name}\*\*.*?```json\n(.*?)```", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert found is not None, f"docs/operations.md quotes no {name}"
    line: dict[str, Any] = json.loads(found[1])
    return line


def comparable(value: Any) -> Any:
    """Return a line without the varying values, with its fields in order."""
    if isinstance(value, dict):
        return [(name, None if name in VARYING else comparable(each)) for name, each in value.items()]
    return [comparable(each) for each in value] if isinstance(value, list) else value


def test_the_line_of_a_page_is_quoted(service: Service, lines: Lines) -> None:
    service.put(*(session(number, title="private title") for number in range(3)))
    service.drain()
    lines()
    service.get("limit=2")
    (line,) = lines()
    assert comparable(line) == comparable(quoted("A page"))


def test_the_line_of_a_fault_is_quoted(memory_service: Service, lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    small_limits(monkeypatch, Mock(query=Mock(side_effect=KeyError("Items"))))
    memory_service.get()
    (line,) = lines()
    assert "KeyError: 'Items'" in line["exception"]
    assert comparable(line) == comparable(quoted("A fault"))


def test_a_key_sent_as_a_parameter_is_in_no_log(memory_service: Service, lines: Lines) -> None:
    memory_service.get("evr_0123456789abcdefXYZ=1&limit=1")
    (line,) = lines()
    assert "0123456789abcdef" not in str(line)
    assert "evr_..." in line["reason"]


def test_the_quoted_stack_is_the_one_of_the_tests() -> None:
    assert TEMPLATE.function("list_sessions").environment["STACK_NAME"] == quoted("A page")["stack"]
