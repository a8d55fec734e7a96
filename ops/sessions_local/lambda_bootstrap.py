"""Runs inside a function's process: loads the handler, then takes one event after another.

Standard input has one invocation a line, as JSON: {"event": ..., "request_id": ..., "seconds": ...}.
Standard output is the function's log, except for lines that begin with RESPONSE.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

RESPONSE: Final = b"\x1e"
"""ASCII's record separator, which is not part of any log line."""

Handler = Callable[[Any, Any], Any]


def main(name: str, arn: str, memory: str, folder: str, handler: str) -> None:
    """Serve invocations until standard input ends, which it does when the local API does."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})  # the local API blocks its own
    invocations: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(invocations,), daemon=True).start()
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    function = load_handler(folder, handler)
    _respond(b"null")
    while True:
        invocation = json.loads(invocations.get())
        ends_at = time.monotonic() + invocation["seconds"]
        context = SimpleNamespace(
            function_name=name,
            function_version="$LATEST",
            invoked_function_arn=arn,
            memory_limit_in_mb=memory,
            aws_request_id=invocation["request_id"],
            get_remaining_time_in_millis=partial(_remaining, ends_at),
        )
        _respond(_response(function, invocation["event"], context))


def load_handler(folder: str, handler: str) -> Handler:
    """Return the handler of a function, such as `app.handler`, from its folder."""
    module_name, _, name = handler.rpartition(".")
    sys.path.insert(0, folder)
    loaded: Handler = getattr(importlib.import_module(module_name), name)
    return loaded


def _read(invocations: queue.SimpleQueue[bytes]) -> None:
    with open(0, "rb", closefd=False) as stdin:  # not sys.stdin, which the interpreter locks when it ends
        for line in stdin:
            invocations.put(line)
    os._exit(0)  # even in the middle of an invocation: nothing waits for its response any more


def _response(function: Handler, event: Any, context: Any) -> bytes:
    try:
        return json.dumps(function(event, context), ensure_ascii=False).encode(errors="surrogatepass")
    except Exception as error:
        print(f"{context.function_name} failed:\n{traceback.format_exc()}", file=sys.stderr, end="", flush=True)
        return b"!" + json.dumps(f"{type(error).__name__}: {error}").encode()


def _remaining(ends_at: float) -> int:
    return max(0, int((ends_at - time.monotonic()) * 1000))


def _respond(payload: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(RESPONSE + payload + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
