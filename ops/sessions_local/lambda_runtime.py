"""Runs a function as Lambda does: in its own process, one invocation at a time, until its timeout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Any, Final, NamedTuple, cast

from sessions.responses import RESPONSE_BYTES_MAX
from sessions_local.lambda_bootstrap import RESPONSE
from sessions_local.sam_template import ACCOUNT, REGION, Function

START_SECONDS: Final = 60.0
"""Seconds that loading a handler may take; Lambda allows ten, but a laptop may be busy."""


class FunctionFailed(Exception):
    """The function raised, or returned what is not JSON or is too large; its traceback is on standard error."""


class FunctionTimedOut(Exception):
    """The function did not respond within its timeout."""


class Invocation(NamedTuple):
    """The result of one call of a function."""

    payload: Any
    metrics: Mapping[str, float]
    """Values by name, as the function wrote them in CloudWatch's embedded metric format."""


class LambdaRuntime:
    """One function, whose process starts at once, and again after a timeout or a crash."""

    def __init__(self, function: Function, log: Callable[[str, str], None]) -> None:
        self._function = function
        self._log = log  # given the function's name and every line that it logs
        self._turn = threading.Lock()
        self._start()

    def wait_until_loaded(self) -> None:
        """Return when the handler is loaded, or raise FunctionFailed."""
        with self._turn:
            self._load()

    def invoke(self, event: Any) -> Invocation:
        """Return what the handler returns for an event; raise FunctionFailed or FunctionTimedOut."""
        if not self._turn.acquire(timeout=self._function.timeout):
            raise FunctionTimedOut(self._function.name)
        try:
            if self._process.poll() is not None:
                self.stop()
                self._start()
            self._load()
            invocation = {"event": event, "request_id": str(uuid.uuid4()), "seconds": self._function.timeout}
            with suppress(BrokenPipeError):  # when the process has ended, so has its output
                self._stdin.write(json.dumps(invocation).encode() + b"\n")
                self._stdin.flush()
            return self._response(self._function.timeout)
        finally:
            self._turn.release()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):
            self._stdin.close()
        self._stdout.close()

    def _start(self) -> None:
        function = self._function
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function.name}:live"
        arguments = [function.name, arn, str(function.memory), str(function.folder), function.handler]
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with arguments of the template
            [sys.executable, "-m", "sessions_local.lambda_bootstrap", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | function.environment,
            process_group=0,  # Ctrl-C is for the local API, whose end ends this process as well
        )
        self._stdin, self._stdout = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        self._is_loaded = False

    def _load(self) -> None:
        if not self._is_loaded:
            self._response(START_SECONDS)
            self._is_loaded = True

    def _response(self, seconds: float) -> Invocation:
        """Return the next response of the process, and hand on the log lines before it."""
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            self._process.kill()

        timer = threading.Timer(seconds, end)
        timer.start()
        metrics: dict[str, float] = {}
        try:
            for line in self._stdout:
                if line.startswith(RESPONSE):
                    return Invocation(self._payload(line.removeprefix(RESPONSE)), metrics)
                text = line.decode(errors="replace").rstrip("\n")
                metrics |= embedded_metrics(text)
                self._log(self._function.name, text)
        finally:
            timer.cancel()
        status = self._process.wait()
        if is_late.is_set():
            raise FunctionTimedOut(self._function.name)
        raise FunctionFailed(f"{self._function.name} ended with status {status}")

    def _payload(self, response: bytes) -> Any:
        if response.startswith(b"!"):
            raise FunctionFailed(json.loads(response[1:]))
        if len(response) > RESPONSE_BYTES_MAX:
            message = f"the response of {self._function.name} exceeds 6 MB"
            self._log(self._function.name, message)
            raise FunctionFailed(message)
        return json.loads(response.decode(errors="surrogatepass"))


def embedded_metrics(line: str) -> dict[str, float]:
    """Return the metrics of a log line ('CloudWatch embedded metric format specification'); {} for any other line."""
    try:
        document = json.loads(line)
        directives = document["_aws"]["CloudWatchMetrics"]
        names = [metric["Name"] for directive in directives for metric in directive["Metrics"]]
        values = {name: document[name] for name in names}
        return {name: sum(value) if isinstance(value, list) else float(value) for name, value in values.items()}
    except (ValueError, KeyError, TypeError):
        return {}
