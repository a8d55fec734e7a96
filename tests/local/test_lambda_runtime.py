"""A function's process: what a handler is given, what becomes of its output, its log, its faults and its time."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sessions_local.lambda_runtime import FunctionFailed, FunctionTimedOut, LambdaRuntime, embedded_metrics
from sessions_local.sam_template import Function

CODE = """
import json, os, sys, time
print("loading")
TABLE = os.environ["TABLE"]

def handler(event, context):
    print(json.dumps({"level": "INFO", "message": "called"}))
    match event:
        case {"do": "raise"}:
            raise ValueError("broken")
        case {"do": "sleep"}:
            time.sleep(60)
        case {"do": "exit"}:
            os._exit(3)
        case {"do": "set"}:
            return {1, 2}
        case {"do": "large"}:
            return "x" * 6_300_000
        case {"do": "measure"}:
            metrics = [{"Name": "RoundTrips", "Unit": "Count"}, {"Name": "ReadUnits", "Unit": "Count"}]
            directive = {"Namespace": "n", "Dimensions": [["service"]], "Metrics": metrics}
            print(json.dumps({"_aws": {"CloudWatchMetrics": [directive]}, "RoundTrips": [1.0, 2.0], "ReadUnits": 4}))
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

Start = Callable[..., tuple[LambdaRuntime, list[str]]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a function; returns it with the lines that it logs."""

    def begin(code: str = CODE, timeout: float = 20.0, environment: dict[str, str] | None = None) -> Any:
        (tmp_path / "app.py").write_text(code)
        given = {"TABLE": "sessions"} if environment is None else environment
        function = Function("echo", tmp_path, "app.handler", given, timeout, 256)
        lines: list[str] = []
        runtime = LambdaRuntime(function, lambda _, line: lines.append(line))
        runtimes.append(runtime)
        return runtime, lines

    runtimes: list[LambdaRuntime] = []
    yield begin
    for runtime in runtimes:
        runtime.stop()


def test_a_handler_gets_event_context_and_environment(start: Start) -> None:
    runtime, lines = start()
    payload = runtime.invoke({"text": "é\n\u2028\ud800"}).payload
    assert 0 < payload.pop("remaining") <= 20_000
    assert payload == {
        "event": {"text": "é\n\u2028\ud800"},
        "table": "sessions",
        "name": "echo",
        "arn": "arn:aws:lambda:eu-west-1:123456789012:function:echo:live",
        "memory": "256",
        "has_id": True,
    }
    assert lines == ["loading", '{"level": "INFO", "message": "called"}']


@pytest.mark.parametrize(
    ("do", "error", "message", "starts"),
    [
        ("raise", FunctionFailed, "ValueError: broken", 1),
        ("set", FunctionFailed, "TypeError: Object of type set is not JSON serializable", 1),
        ("large", FunctionFailed, "the response of echo exceeds 6 MB", 1),
        ("exit", FunctionFailed, "echo ended with status 3", 2),
        ("sleep", FunctionTimedOut, "echo", 2),
    ],
)
def test_a_failure_leaves_the_function_ready(
    start: Start, capfd: pytest.CaptureFixture[str], do: str, error: type[Exception], message: str, starts: int
) -> None:
    runtime, lines = start(timeout=1.0)
    with pytest.raises(error) as raised:
        runtime.invoke({"do": do})
    assert str(raised.value) == message
    assert starts == 2 or message in "\n".join([*lines, capfd.readouterr().err])
    assert runtime.invoke({}).payload["event"] == {}
    assert lines.count("loading") == starts


def test_a_function_that_cannot_be_loaded_says_why(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    runtime, _ = start(environment={})
    with pytest.raises(FunctionFailed, match="echo ended with status 1"):
        runtime.wait_until_loaded()
    assert "KeyError: 'TABLE'" in capfd.readouterr().err


def test_the_metrics_of_an_invocation_come_with_it(start: Start) -> None:
    runtime, _ = start()
    assert runtime.invoke({"do": "measure"}).metrics == {"RoundTrips": 3.0, "ReadUnits": 4.0}
    assert runtime.invoke({}).metrics == {}


@pytest.mark.parametrize(
    "line", ["", "text", "5", "[]", '{"a": 1}', '{"_aws": 5}', '{"_aws": {"CloudWatchMetrics": 1}}']
)
def test_a_line_that_is_not_embedded_metrics_has_none(line: str) -> None:
    assert embedded_metrics(line) == {}
