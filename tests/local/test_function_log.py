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


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (json.dumps(WARNING), 'WARNING f: session left out session_id=session_1 reason="title: not a string"'),
        (
            '{"level": "ERROR", "message": "failed", "exception": "Traceback\\n  x\\n"}',
            "ERROR f: failed\nTraceback\n  x",
        ),
        (
            '{"level": "ERROR", "message": "m", "Duration": 5, "_aws": {"CloudWatchMetrics": [{"Metrics": '
            '[{"Name": "Duration"}]}]}}',
            "ERROR f: m",
        ),
        ('{"level": "ERROR", "message": "\\u001b[31m"}', "ERROR f: ?[31m"),
    ],
    ids=["fields", "traceback", "metrics", "terminal"],
)
def test_a_warning_or_an_error_is_shown_for_people(line: str, shown: str) -> None:
    time, _, text = readable("f", line).partition(" ")
    assert re.fullmatch(r"\d\d:\d\d:\d\d", time)
    assert text == shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('{"level": "INFO"}', ""),
        ('{"level": "DEBUG"}', ""),
        ('{"_aws": {}, "ColdStart": 1}', ""),
        ("", ""),
        ("1 a", "1 a"),
    ],
)
def test_routine_is_not_shown_and_a_print_is(line: str, shown: str) -> None:
    assert readable("f", line) == shown
