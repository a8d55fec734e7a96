"""What people see of the functions' logs."""

import json
import re

import pytest

from sessions_local.function_log import readable

WARNING = {
    "level": "WARNING",
    "location": "skip:12",
    "message": "session left out",
    "timestamp": "2026-11-23 16:41:46,463+0000",
    "service": "list_sessions",
    "cold_start": False,
    "function_name": "list_sessions",
    "correlation_id": "c",
    "session_id": "session_1",
    "reason": "title: not a string",
}


def test_a_warning_is_one_line_with_its_own_fields() -> None:
    line = readable("list_sessions", json.dumps(WARNING))
    assert re.fullmatch(
        r'\d\d:\d\d:\d\d WARNING list_sessions: session left out session_id=session_1 reason="title: not a string"',
        line,
    )


def test_an_error_shows_its_traceback() -> None:
    line = readable("authorize", json.dumps({"level": "ERROR", "message": "failed", "exception": "Traceback\n  x\n"}))
    assert line.splitlines()[1:] == ["Traceback", "  x"]


@pytest.mark.parametrize("line", ['{"level": "INFO"}', '{"level": "DEBUG"}', '{"_aws": {}, "ColdStart": 1}', ""])
def test_routine_is_not_shown(line: str) -> None:
    assert readable("authorize", line) == ""


def test_what_somebody_printed_is_shown_as_it_is() -> None:
    assert readable("authorize", "here 1") == "here 1"


def test_metrics_in_a_line_are_not_shown() -> None:
    directive = {"Metrics": [{"Name": "Duration"}]}
    record = {"level": "ERROR", "message": "m", "Duration": 5, "_aws": {"CloudWatchMetrics": [directive]}}
    assert readable("f", json.dumps(record)).endswith("ERROR f: m")


def test_nothing_that_a_terminal_would_obey_is_shown() -> None:
    assert "\x1b" not in readable("f", json.dumps({"level": "ERROR", "message": "\x1b[31m"}))
