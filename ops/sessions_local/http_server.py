"""werkzeug's HTTP server on a port of this machine."""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from werkzeug.serving import WSGIRequestHandler, make_server

from sessions_local.function_log import printable

IDLE_SECONDS: Final = 60
"""Idle time after which a connection is closed."""

KEY: Final = re.compile(r"(evr_)[A-Za-z0-9_-]+")

ALL_HEADERS: Final = "sessions_local.headers"
"""Key of the headers as they were sent, in the WSGI environment, which itself joins repeated headers."""

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]  # WSGI


def open_port(host: str, port: int) -> socket.socket:
    """Return a listening socket; connections wait until it is served."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the URL at which this machine reaches a socket; an open address is reached by loopback."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(listener: socket.socket, application: Application, name: str, *, logs: bool = False) -> None:
    """Serve an application on a socket, each connection in a thread; `logs` shows a line for each request."""
    host, port = listener.getsockname()[:2]
    handler = LoggingHandler if logs else QuietHandler
    server = make_server(host, port, application, threaded=True, request_handler=handler, fd=listener.fileno())
    listener.close()  # the server has a copy
    threading.Thread(target=server.serve_forever, name=name, daemon=True).start()


class QuietHandler(WSGIRequestHandler):
    """A connection that logs nothing."""

    # Headers and body go out as two packets; without this the second waits 40 ms for an acknowledgement.
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS

    def make_environ(self) -> dict[str, Any]:
        return super().make_environ() | {ALL_HEADERS: self.headers.items()}

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """Log nothing."""


class LoggingHandler(QuietHandler):
    """A connection that logs each request, except those for files of the web pages."""

    _started = float("inf")  # until a request has been parsed

    def parse_request(self) -> bool:
        self._started = time.monotonic()
        return super().parse_request()

    def log_request(self, code: int | str = "-", _size: int | str = "-") -> None:
        if " /site/" in self.requestline:
            return
        milliseconds = max(0.0, time.monotonic() - self._started) * 1000
        request = KEY.sub(r"\1...", " ".join(self.requestline.split()[:2]))
        print(
            f"{time.strftime('%H:%M:%S')} {int(code)} {printable(request[:200])} {milliseconds:.0f} ms", file=sys.stderr
        )
