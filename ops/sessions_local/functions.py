"""The Lambda functions, in the process of the local API: each takes one event at a time, as in Lambda."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
import threading
import traceback
import uuid
from collections.abc import Mapping
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

from sessions_local.function_log import FunctionLog
from sessions_local.sam_template import ACCOUNT, REGION, Function


class FunctionFailed(Exception):
    """The handler raised, or returned what is not JSON; its traceback is on standard error."""


class Invocation(NamedTuple):
    """The result of one call of a function."""

    payload: Any
    metrics: Mapping[str, float]
    """Values by name, as the function logged them in CloudWatch's embedded metric format."""


class LocalFunction:
    """One function with its log."""

    def __init__(self, function: Function, *, is_verbose: bool) -> None:
        """Load the handler; any exception of its module is raised.

        Args:
            function: a function of the template.
            is_verbose: whether all log lines are shown as they are.
        """
        self._function = function
        self._log = FunctionLog(function.name, is_verbose=is_verbose)
        self._handler = getattr(load(function), function.handler.rpartition(".")[2])
        send_log(function, self._log)
        self._turn = threading.Lock()

    def invoke(self, event: Any) -> Invocation:
        """Return what the handler returns for an event.

        Raises:
            FunctionFailed: the handler raised, or returned what is not JSON.
        """
        function = self._function
        context = SimpleNamespace(
            function_name=function.name,
            function_version="$LATEST",
            invoked_function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function.name}:live",
            memory_limit_in_mb=str(function.memory),
            aws_request_id=str(uuid.uuid4()),
            get_remaining_time_in_millis=lambda: int(function.timeout * 1000),
        )
        with self._turn:
            self._log.metrics = {}
            try:
                payload = json.loads(json.dumps(self._handler(json.loads(json.dumps(event)), context)))
            except Exception as error:
                print(f"{function.name} failed:\n{traceback.format_exc()}", file=sys.stderr, end="", flush=True)
                raise FunctionFailed(f"{type(error).__name__}: {error}") from error
            return Invocation(payload, self._log.metrics)


def load(function: Function) -> ModuleType:
    """Return the module of a function, executed anew with the function's environment variables."""
    path = function.folder / f"{function.handler.rpartition('.')[0]}.py"
    spec = importlib.util.spec_from_file_location(f"functions.{function.name}.app", path)
    assert spec is not None  # noqa: S101 - for mypy: the name ends in .py
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    before = os.environ.copy()
    os.environ.update(function.environment)
    try:
        spec.loader.exec_module(module)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return module


def send_log(function: Function, stream: Any) -> None:
    """Write the log of a loaded function to a stream."""
    for handler in logging.getLogger(function.name).handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(stream)
