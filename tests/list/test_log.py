"""The form of a log line and of the metrics in it, whatever the level and the time zone."""

from __future__ import annotations

import itertools
import json
import logging
import re
import time
from typing import Any, NamedTuple

import pytest

from sessions import observability
from sessions.observability import Observability
from tests.service import CONTEXT

names = itertools.count()


class Written(NamedTuple):
    """A function's observability, and what it writes."""

    observability: Observability
    capsys: pytest.CaptureFixture[str]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.capsys.readouterr().out.splitlines()]


@pytest.fixture
def service_name(monkeypatch: pytest.MonkeyPatch) -> str:
    """One that no other test has: loggers live as long as their process."""
    name = f"service_{next(names)}"
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", name)
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Sessions")
    monkeypatch.setenv("POWERTOOLS_LOG_LEVEL", "INFO")
    monkeypatch.setenv("STACK_NAME", "sessions-live")
    return name


@pytest.fixture
def written(service_name: str, capsys: pytest.CaptureFixture[str]) -> Written:
    return Written(Observability(), capsys)


def test_a_line_is_json_with_the_time_in_utc_and_no_place_in_the_code(
    elsewhere: None, service_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    written = Written(Observability(), capsys)
    written.observability.write("info", "listed", {"total": 3, "odd": {1}}, {})
    (line,) = written.lines()
    stamp = line.pop("timestamp")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", stamp)
    assert abs(time.time() - time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 60
    assert line == {"level": "INFO", "message": "listed", "service": service_name, "total": 3, "odd": [1]}


def test_what_is_no_json_is_written_as_text(written: Written) -> None:
    written.observability.write("info", "listed", {"odd": ValueError("broken")}, {})
    (line,) = written.lines()
    assert line["odd"] == "broken"


def test_a_handler_that_is_called_by_hand_gets_what_it_is_given(written: Written) -> None:
    @written.observability.instrument
    def handler(event: dict[str, Any], context: Any) -> Any:
        return event, context

    assert handler({"a": 1}, "no context of Lambda") == ({"a": 1}, "no context of Lambda")


def test_a_fault_carries_its_stack_as_one_text(written: Written) -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        written.observability.write("error", "failed", {}, {}, error)
    (line,) = written.lines()
    assert (line["level"], line["exception_name"]) == ("ERROR", "ValueError")
    assert line["exception"].startswith("Traceback (most recent call last):")
    assert line["exception"].endswith("ValueError: broken")
    assert "stack_trace" not in line


def test_an_api_key_is_cut_wherever_it_stands(written: Written) -> None:
    key = "evr_" + "Az09_-" * 7
    written.observability.write("info", f"x {key} y", {"field": [key, {"inner": f"<{key}>"}]}, {})
    (line,) = written.lines()
    assert line["message"] == "x evr_... y"
    assert line["field"] == ["evr_...", {"inner": "<evr_...>"}]


def test_metrics_stand_in_the_line_with_their_units_and_dimensions(written: Written, service_name: str) -> None:
    written.observability.write("info", "listed", {"a": 1}, {"Duration": 1.5, "Responses.ok": 1})
    written.observability.write("info", "again", {}, {})
    first, second = written.lines()
    (directive,) = first["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Sessions"
    assert [sorted(each) for each in directive["Dimensions"]] == [["service", "stack"]]
    assert directive["Metrics"] == [
        {"Name": "Duration", "Unit": "Milliseconds"},
        {"Name": "Responses.ok", "Unit": "Count"},
    ]
    assert (first["Duration"], first["Responses.ok"]) == ([1.5], [1])
    assert (first["service"], first["stack"], first["a"]) == (service_name, "sessions-live", 1)
    assert "_aws" not in second


@pytest.mark.parametrize("name", [None, ""])
def test_metrics_outside_a_stack_have_the_dimension_all_the_same(
    service_name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    monkeypatch.delenv("STACK_NAME")
    if name is not None:
        monkeypatch.setenv("STACK_NAME", name)
    written = Written(Observability(), capsys)
    written.observability.write("info", "listed", {}, {"Responses.ok": 1})
    (line,) = written.lines()
    assert line["stack"] == "undefined"


def test_metrics_of_a_line_below_the_level_in_force_are_written_all_the_same(
    service_name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_LOG_LEVEL", "WARNING")
    written = Written(Observability(), capsys)
    written.observability.write("info", "listed", {}, {"Responses.ok": 1})
    written.observability.write("info", "silent", {}, {})
    (line,) = written.lines()
    assert "message" not in line
    assert line["Responses.ok"] == [1]
    written.observability.write("warning", "loud", {}, {"Responses.ok": 2})
    (line,) = written.lines()
    assert (line["message"], line["Responses.ok"]) == ("loud", [2])


def test_lines_of_an_invocation_carry_its_ids_and_the_first_one_is_a_cold_start(written: Written) -> None:
    @written.observability.instrument
    def handler(event: dict[str, Any], context: Any) -> str:
        """Greets."""
        written.observability.write("info", "called", {}, {})
        return "done"

    assert handler.__doc__ == "Greets."  # type: ignore[attr-defined]
    for request_id in ("r1", "r2"):
        assert handler({"requestContext": {"requestId": request_id}}, CONTEXT) == "done"
    cold, first, second = written.lines()
    (directive,) = cold["_aws"]["CloudWatchMetrics"]
    assert directive["Metrics"] == [{"Name": "ColdStart", "Unit": "Count"}]
    assert cold["ColdStart"] == [1]
    assert (first["correlation_id"], second["correlation_id"]) == ("r1", "r2")
    assert first["function_request_id"] == CONTEXT.aws_request_id
    assert handler({}, None) == "done"
    (by_hand,) = written.lines()
    assert by_hand.get("correlation_id") is None


def test_botocore_does_not_tell_where_it_found_credentials(written: Written) -> None:
    assert logging.getLogger("botocore").level == logging.WARNING


def test_a_request_is_timed_to_a_tenth_of_a_millisecond(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([10.0, 10.0123456])
    monkeypatch.setattr(observability.time, "perf_counter", lambda: next(moments))
    observability.RequestLog(written.observability).refused(KeyError("ours"))
    (line,) = written.lines()
    assert (line["Duration"], line["Responses.internal_error"], line["code"]) == ([12.3], [1], "internal_error")
