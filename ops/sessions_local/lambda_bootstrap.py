"""Runs inside a function's own process: loads the handler, then takes one event after another.

Standard input has one invocation a line, as JSON: {"event": ..., "request_id": ..., "seconds": ...}.
Standard output is the function's log, except for lines that begin with RESPONSE.
"""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, Final

RESPONSE: Final = b"\x1e"
"""ASCII's record separator, which is not part of any log line."""

RESPONSE_BYTES_MAX: Final = 6_291_556
"""Bytes of a synchronous response ('Lambda quotas': 6 MB)."""

Handler = Callable[[Any, "LambdaContext"], Any]


class LambdaContext:
    """What Lambda tells a handler about its invocation."""

    def __init__(self, name: str, arn: str, memory: str, request_id: str, seconds: float) -> None:
        self.function_name = name
        self.function_version = "$LATEST"
        self.invoked_function_arn = arn
        self.memory_limit_in_mb = memory
        self.aws_request_id = request_id
        self.log_group_name = f"/aws/lambda/{name}"
        self.log_stream_name = "local"
        self.identity = None
        self.client_context = None
        self._ends_at = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is ended."""
        return max(0, int((self._ends_at - time.monotonic()) * 1000))


def main(name: str, arn: str, memory: str, folder: str, handler: str) -> None:
    """Serves invocations until standard input ends, which it does when the local API does."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})  # the local API blocks its own
    invocations: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(invocations,), daemon=True).start()
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    function = load_handler(folder, handler)
    _respond(b"null")
    while True:
        invocation = json.loads(invocations.get())
        context = LambdaContext(name, arn, memory, invocation["request_id"], invocation["seconds"])
        _respond(_response(function, invocation["event"], context))


def load_handler(folder: str, handler: str) -> Handler:
    """The handler of a function, such as `app.handler`, from its folder."""
    module_name, _, name = handler.rpartition(".")
    spec = importlib.util.spec_from_file_location(module_name, os.path.join(folder, f"{module_name}.py"))
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder}: no module {module_name}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    loaded: Handler = getattr(module, name)
    return loaded


def _read(invocations: queue.SimpleQueue[bytes]) -> None:
    with open(0, "rb", closefd=False) as stdin:  # not sys.stdin, which the interpreter locks when it ends
        for line in stdin:
            invocations.put(line)
    os._exit(0)  # whatever the handler is doing: nothing waits for it any more


def _response(function: Handler, event: Any, context: LambdaContext) -> bytes:
    try:
        payload = json.dumps(function(event, context), ensure_ascii=False).encode(errors="surrogatepass")
        if len(payload) > RESPONSE_BYTES_MAX:
            raise ValueError("the response exceeds 6 MB")
    except Exception as error:
        print(f"{context.function_name} failed:\n{traceback.format_exc()}", file=sys.stderr, end="", flush=True)
        return b"!" + json.dumps(f"{type(error).__name__}: {error}").encode()
    return payload


def _respond(payload: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(RESPONSE + payload + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
