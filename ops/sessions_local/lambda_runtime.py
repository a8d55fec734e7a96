"""A function as Lambda runs it: a process of its own, one invocation at a time, ended when its time is up."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Any, Final, NamedTuple, cast

from sessions_local.lambda_bootstrap import RESPONSE
from sessions_local.sam_template import ACCOUNT, REGION, Function

START_SECONDS: Final = 60.0
"""How long loading a handler may take; on Lambda ten seconds, but a laptop may be busy."""

Metrics = Mapping[str, float]
"""Values by name, as a function wrote them in CloudWatch's embedded metric format."""


class FunctionFailed(Exception):
    """The function raised, or returned what is not JSON or is too large; its traceback is on standard error."""


class FunctionTimedOut(Exception):
    """The function did not respond in its time."""


class Invocation(NamedTuple):
    """What came of one call of a function."""

    payload: Any
    metrics: Metrics


class LambdaRuntime:
    """One function, ready to be invoked; its process starts at once, and again after a timeout or a crash."""

    def __init__(self, function: Function, log: Callable[[str, str], None]) -> None:
        """
        Args:
            log: is given every line that the function logs, after the function's name.
        """
        self._function = function
        self._log = log
        self._turn = threading.Lock()
        self._process = _Process(function, log)

    def wait_until_loaded(self) -> None:
        """Returns when the handler is loaded.

        Raises:
            FunctionFailed: loading it raised, for example because an environment variable is missing.
        """
        with self._turn:
            self._process.wait_until_loaded()

    def invoke(self, event: Any) -> Invocation:
        """Calls the handler with an event.

        Raises:
            FunctionFailed: it raised, or its response cannot be delivered.
            FunctionTimedOut: it, or an invocation before it, took too long.
        """
        if not self._turn.acquire(timeout=self._function.timeout):
            raise FunctionTimedOut(self._function.name)
        try:
            if self._process.has_ended:
                self._process.stop()
                self._process = _Process(self._function, self._log)
            self._process.wait_until_loaded()
            return self._process.invoke(event)
        finally:
            self._turn.release()

    def stop(self) -> None:
        """Ends the function's process."""
        self._process.stop()


class _Process:
    """The process of a function."""

    def __init__(self, function: Function, log: Callable[[str, str], None]) -> None:
        self._function = function
        self._log = log
        self._responses: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._metrics: dict[str, float] = {}
        self._is_loaded = False
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function.name}:live"
        arguments = [function.name, arn, str(function.memory), str(function.folder), function.handler]
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with arguments of the template
            [sys.executable, "-m", "sessions_local.lambda_bootstrap", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | function.environment,
            process_group=0,  # Ctrl-C is for the local API, whose end ends this process as well
        )
        self._stdin, stdout = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        self._reader = threading.Thread(target=self._read, args=(stdout,), daemon=True)
        self._reader.start()

    @property
    def has_ended(self) -> bool:
        """Whether it has to be replaced."""
        return self._process.poll() is not None

    def wait_until_loaded(self) -> None:
        if not self._is_loaded:
            self._response(START_SECONDS)
            self._is_loaded = True

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):
            self._stdin.close()
        self._reader.join()

    def invoke(self, event: Any) -> Invocation:
        self._metrics = {}
        invocation = {"event": event, "request_id": str(uuid.uuid4()), "seconds": self._function.timeout}
        try:
            self._stdin.write(json.dumps(invocation).encode() + b"\n")
            self._stdin.flush()
        except BrokenPipeError:
            raise FunctionFailed(f"{self._function.name} has ended") from None
        return Invocation(self._response(self._function.timeout), self._metrics)

    def _response(self, seconds: float) -> Any:
        try:
            payload = self._responses.get(timeout=seconds)
        except queue.Empty:
            self.stop()
            raise FunctionTimedOut(self._function.name) from None
        if payload is None:
            raise FunctionFailed(f"{self._function.name} ended with status {self._process.wait()}")
        if payload.startswith(b"!"):
            raise FunctionFailed(json.loads(payload[1:]))
        return json.loads(payload.decode(errors="surrogatepass"))

    def _read(self, stdout: IO[bytes]) -> None:
        with stdout:
            self._read_lines(stdout)
        self._responses.put(None)

    def _read_lines(self, stdout: IO[bytes]) -> None:
        for line in stdout:
            if line.startswith(RESPONSE):
                self._responses.put(line.removeprefix(RESPONSE))
            else:
                text = line.decode(errors="replace").rstrip("\n")
                self._metrics |= embedded_metrics(text)
                self._log(self._function.name, text)


def embedded_metrics(line: str) -> dict[str, float]:
    """The metrics in a log line ('CloudWatch embedded metric format specification'); none in any other line."""
    try:
        document = json.loads(line)
        directives = document["_aws"]["CloudWatchMetrics"]
        names = [metric["Name"] for directive in directives for metric in directive["Metrics"]]
        return {name: _sum(document[name]) for name in names}
    except (ValueError, KeyError, TypeError):
        return {}


def _sum(value: Any) -> float:
    return sum(map(float, value)) if isinstance(value, list) else float(value)
