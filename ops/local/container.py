"""A function as Lambda runs it: loaded once, in its own environment, one call at a time, for so long at most."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotDone
from contextlib import contextmanager
from typing import Any, Final

from ops.local.template import ACCOUNT, REGION, Function

ANSWER_BYTES_MAX: Final = 6_291_556
"""Bytes of a synchronous answer ('Lambda quotas': 6 MB)."""


class FunctionFailed(Exception):
    """The function raised, or answered with what is not JSON or too large; its traceback is on stderr."""


class FunctionTimedOut(Exception):
    """The function had not answered when its time was over."""


class Context:
    """What Lambda tells a handler about the call."""

    def __init__(self, function: Function, ends_at: float) -> None:
        self.function_name = function.name
        self.function_version = "$LATEST"
        self.invoked_function_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function.name}:live"
        self.memory_limit_in_mb = str(function.memory)
        self.aws_request_id = str(uuid.uuid4())
        self.log_group_name = f"/aws/lambda/{function.name}"
        self.log_stream_name = "local"
        self.identity = None
        self.client_context = None
        self._ends_at = ends_at

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the call is given up."""
        return max(0, int((self._ends_at - time.monotonic()) * 1000))


class Container:
    """One container of one function."""

    def __init__(self, function: Function) -> None:
        """Loads the function.

        Raises:
            Exception: whatever its module raises, a missing environment variable for example.
        """
        self._function = function
        self._handler = _load(function)
        self._calls: queue.SimpleQueue[tuple[Future[str], str]] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=function.name, daemon=True).start()

    def invoke(self, event: dict[str, Any], seconds: float | None = None) -> Any:
        """The answer to an event, both as JSON would carry them.

        Args:
            seconds: how long to wait; the function's own limit when it is shorter, or when None is given.

        Raises:
            FunctionFailed: it raised, or its answer cannot be delivered.
            FunctionTimedOut: it, or a call before it, took too long.
        """
        future: Future[str] = Future()
        self._calls.put((future, json.dumps(event)))
        limit = self._function.timeout
        try:
            return json.loads(future.result(limit if seconds is None else min(limit, seconds)))
        except (NotDone, CancelledError):
            future.cancel()
            raise FunctionTimedOut(self._function.name) from None

    def _work(self) -> None:
        while True:
            future, event = self._calls.get()
            if not future.set_running_or_notify_cancel():
                continue
            context = Context(self._function, time.monotonic() + self._function.timeout)
            try:
                answer = json.dumps(self._handler(json.loads(event), context), ensure_ascii=False)
                if len(answer.encode(errors="surrogatepass")) > ANSWER_BYTES_MAX:
                    raise ValueError("the answer exceeds 6 MB")
            except Exception as error:
                print(f"{self._function.name} failed:\n{traceback.format_exc()}", file=sys.stderr, end="")
                future.set_exception(FunctionFailed(f"{type(error).__name__}: {error}"))
            else:
                future.set_result(answer)


def _load(function: Function) -> Callable[[dict[str, Any], Context], Any]:
    """The handler; its module gets a name of its own, since every one of them is called `app`."""
    module_name, _, name = function.handler.rpartition(".")
    spec = importlib.util.spec_from_file_location(
        f"{function.name}_{module_name}", function.folder / f"{module_name}.py"
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{function.folder}: no module {module_name}")
    module = importlib.util.module_from_spec(spec)
    with _environment(function.environment):
        spec.loader.exec_module(module)
    handler: Callable[[dict[str, Any], Context], Any] = getattr(module, name)
    return handler


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables for as long as a function is loaded: what another one was given must not be there for it."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
