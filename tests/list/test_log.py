"""Log lines of the functions, and the metrics in them."""

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sessions import observability
from sessions.observability import Observability
from tests.conftest import Lines
from tests.service import CONTEXT

Make = Callable[..., Observability]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: Any) -> Iterator[Make]:
    """Return a function that makes the observability of a function with these variables."""
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "example")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Sessions")
    monkeypatch.setenv("STACK_NAME", "sessions-live")

    def made(**variables: str) -> Observability:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return Observability()

    yield made
    del logging.Logger.manager.loggerDict["example"]  # a logger lives as long as its process


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Lines:
    """Return all lines since the last call."""
    return lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_is_json_with_its_time_in_utc(elsewhere: None, make: Make, written: Lines) -> None:
    fields = {"total": 3, "set": {1}, "other": ValueError("broken")}
    make().write("info", "listed", fields, {})
    (line,) = written()
    stamp = line.pop("timestamp")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", stamp)
    assert abs(time.time() - time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 60
    expected = {"level": "INFO", "message": "listed", "service": "example", "total": 3, "set": [1], "other": "broken"}
    assert line == expected


def test_a_fault_carries_its_stack_as_one_text(make: Make, written: Lines) -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        make().write("error", "failed", {}, {}, error)
    (line,) = written()
    assert (line["level"], line["exception_name"], "stack_trace" in line) == ("ERROR", "ValueError", False)
    assert re.fullmatch(r"Traceback \(most recent call last\):.*ValueError: broken", line["exception"], re.DOTALL)


def test_an_api_key_is_cut_short_wherever_it_stands(make: Make, written: Lines) -> None:
    key = "evr_" + "Az09_-" * 7
    make().write("info", f"x {key} y", {"field": [key, {"inner": f"<{key}>"}]}, {})
    (line,) = written()
    assert (line["message"], line["field"]) == ("x evr_... y", ["evr_...", {"inner": "<evr_...>"}])


def test_metrics_outside_a_stack_have_its_dimension(make: Make, written: Lines) -> None:
    make(STACK_NAME="").write("info", "listed", {}, {"Responses.ok": 1})
    (line,) = written()
    assert line["stack"] == "undefined"


def test_metrics_are_written_whatever_the_log_level_is(make: Make, written: Lines) -> None:
    made = make(POWERTOOLS_LOG_LEVEL="WARNING")
    made.write("info", "listed", {}, {"Responses.ok": 1})
    made.write("info", "silent", {}, {})
    made.write("warning", "loud", {}, {"Responses.ok": 2})
    silent, loud = written()
    assert ("message" in silent, silent["Responses.ok"]) == (False, [1])
    assert (loud["message"], loud["Responses.ok"]) == ("loud", [2])


def test_lines_carry_the_ids_of_their_invocation(make: Make, written: Lines) -> None:
    made = make()

    @made.instrument
    def handler(event: dict[str, Any], context: Any) -> Any:
        """Write a line."""
        made.write("info", "called", {}, {})
        return event, context

    for event in ({"requestContext": {"requestId": "r1"}}, {"requestContext": {"requestId": "r2"}}, {}):
        assert handler(event, CONTEXT) == (event, CONTEXT)
    cold, *called = written()
    assert cold["ColdStart"] == [1]
    assert [line.get("correlation_id") for line in called] == ["r1", "r2", None]
    assert {line["function_request_id"] for line in called} == {CONTEXT.aws_request_id}
    assert handler.__doc__ == "Write a line."  # type: ignore[attr-defined]


def test_a_duration_is_a_tenth_of_a_millisecond_exact(
    make: Make, written: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observability.time, "perf_counter", lambda: 10.0123456)
    make().log_error(KeyError("ours"), began=10.0)
    (line,) = written()
    assert (line["Duration"], line["Responses.internal_error"], line["code"]) == ([12.3], [1], "internal_error")


def test_botocore_does_not_log_where_it_found_credentials(make: Make) -> None:
    make()
    assert logging.getLogger("botocore").level == logging.WARNING
