"""The functions of the local API: what a handler is given, what becomes of its output, its log and its faults."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessions_local.function_log import FunctionLog
from sessions_local.functions import FunctionFailed, LocalFunction
from sessions_local.sam_template import Function

CODE = """
import os
from sessions.observability import Observability

TABLE = os.environ["TABLE"]
observability = Observability()

@observability.instrument
def handler(event, context):
    match event:
        case {"do": "raise"}:
            raise ValueError("broken")
        case {"do": "set"}:
            return {1, 2}
        case {"do": "measure"}:
            observability.write("info", "measured", {}, {"RoundTrips": 3, "ReadUnits": 4.5})
    return {
        "event": event,
        "table": TABLE,
        "name": context.function_name,
        "arn": context.invoked_function_arn,
        "memory": context.memory_limit_in_mb,
        "has_id": bool(context.aws_request_id),
        "remaining": context.get_remaining_time_in_millis(),
    }
"""

Start = Callable[..., LocalFunction]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Return a function that starts a Lambda function with these variables."""
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "true")
    monkeypatch.delenv("TABLE", raising=False)

    def begin(**variables: str) -> LocalFunction:
        (tmp_path / "app.py").write_text(CODE)
        environment = {"POWERTOOLS_SERVICE_NAME": "echo", "POWERTOOLS_METRICS_NAMESPACE": "Sessions"} | variables
        return LocalFunction(Function("echo", tmp_path, "app.handler", environment, 20.0, 256), is_verbose=False)

    return begin


def test_a_handler_gets_event_context_and_environment(start: Start) -> None:
    assert start(TABLE="sessions").invoke({"text": "é\n\u2028\ud800"}).payload == {
        "event": {"text": "é\n\u2028\ud800"},
        "table": "sessions",
        "name": "echo",
        "arn": "arn:aws:lambda:eu-west-1:123456789012:function:echo:live",
        "memory": "256",
        "has_id": True,
        "remaining": 20_000,
    }


@pytest.mark.parametrize(
    ("do", "message"),
    [("raise", "ValueError: broken"), ("set", "TypeError: Object of type set is not JSON serializable")],
)
def test_a_failure_leaves_the_function_ready(
    start: Start, capfd: pytest.CaptureFixture[str], do: str, message: str
) -> None:
    function = start(TABLE="sessions")
    with pytest.raises(FunctionFailed, match=message):
        function.invoke({"do": do})
    assert message in capfd.readouterr().err
    assert function.invoke({}).payload["event"] == {}


def test_a_function_that_cannot_be_loaded_says_why(start: Start) -> None:
    with pytest.raises(KeyError, match="TABLE"):
        start()


def test_the_metrics_of_an_invocation_come_with_it(start: Start) -> None:
    function = start(TABLE="sessions")
    assert function.invoke({"do": "measure"}).metrics == {"RoundTrips": 3, "ReadUnits": 4.5}
    assert function.invoke({}).metrics == {}


WARNING = {
    "level": "WARNING",
    "location": "skip:12",
    "message": "session left out",
    "timestamp": "2026-11-23 16:41:46,463+0000",
    "service": "list_sessions",
    "function_name": "list_sessions",
    "correlation_id": "c",
    "session_id": "session_1",
    "reason": "title: not a string",
}
METRICS = {"Duration": [5], "_aws": {"CloudWatchMetrics": [{"Metrics": [{"Name": "Duration"}]}]}}


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        (WARNING, 'WARNING f: session left out session_id=session_1 reason="title: not a string"\n'),
        ({"level": "ERROR", "message": "m", "exception": "Traceback\n  x\n"}, "ERROR f: m\nTraceback\n  x\n"),
        ({"level": "ERROR", "message": "m"} | METRICS, "ERROR f: m\n"),
        ({"level": "ERROR", "message": "\u001b[31m"}, "ERROR f: ?[31m\n"),
        ({"level": "INFO", "message": "m"} | METRICS, ""),
    ],
    ids=["fields", "traceback", "metrics", "terminal", "routine"],
)
def test_a_warning_or_an_error_is_shown_for_people(
    capsys: pytest.CaptureFixture[str], record: dict[str, Any], shown: str
) -> None:
    FunctionLog("f", is_verbose=False).write(json.dumps(record) + "\n")
    printed = capsys.readouterr().err
    assert re.fullmatch(r"(\d\d:\d\d:\d\d )?" + re.escape(shown), printed)


def test_every_line_is_shown_as_it_is_when_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    FunctionLog("f", is_verbose=True).write('{"level": "INFO"}\n')
    assert capsys.readouterr().err == '{"level": "INFO"}\n'
