"""The HTTP side of the local API: requests to the gateway, answers back, one line a request on stderr."""

from __future__ import annotations

import re
import socketserver
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

from ops.local.gateway import Answer, Gateway, Request
from sessions.observability import without_keys

BODY_BYTES_MAX: Final = 10 * 1024 * 1024
"""Largest body of a request ('Amazon API Gateway quotas')."""

IDLE_SECONDS: Final = 60
"""After which a silent connection is closed."""

_BODYLESS: Final = (204, 304)

Page = Callable[[], tuple[str, bytes]]
"""Makes the content type and the body of a page."""


class Front(socketserver.ThreadingTCPServer):
    """A port of this machine in front of a gateway."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int]) -> None:
        """Takes the port; nobody can connect before `begin`.

        Raises:
            OSError: somebody else has it.
        """
        super().__init__(address, _Handler, bind_and_activate=False)
        try:
            self.server_bind()
        except OSError:
            self.server_close()
            raise
        self.url = "http://{}:{}".format(*self.socket.getsockname())

    def begin(self, gateway: Gateway, pages: dict[str, Page]) -> None:
        """Lets clients connect.

        Args:
            pages: what is served beside the API, by path: things that only the local API has.

        Raises:
            OSError: somebody else took the port in the meantime.
        """
        self.gateway = gateway
        self.pages = pages
        self.server_activate()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is printed."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    server: Front
    server_version = "local"

    def __getattr__(self, name: str) -> Any:
        # The base class looks for a method by the name of the request's; all of them are one here.
        if name.startswith("do_"):
            return self._respond
        raise AttributeError(name)

    def send_error(self, code: int, *_: Any) -> None:
        """What the base class calls for a request that is not HTTP; it would answer in HTML."""
        self.close_connection = True
        status = code if 400 <= code < 500 else 400
        self._send(self.server.gateway.refusal("DEFAULT_4XX", [], status))
        self._log(self.requestline, status, time.monotonic())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing: requests are logged when they are answered."""

    def _respond(self) -> None:
        started = time.monotonic()
        # The base class shortens `//` at the beginning; the gateway gets what was sent.
        target = re.sub(r"^https?://[^/?#]*", "", self.requestline.split()[1], flags=re.IGNORECASE)
        target = target.partition("#")[0] or "/"
        answer = self._answer(target)
        self._send(answer)
        self._log(f"{self.command} {target}", answer.status, started)

    def _answer(self, target: str) -> Answer:
        headers = list(self.headers.items())
        if self.headers.defects:
            self.close_connection = True
            return self.server.gateway.refusal("DEFAULT_4XX", headers, 400)
        page = self.server.pages.get(target.partition("?")[0])
        try:
            body = self._body()
        except _TooLarge:
            self.close_connection = True
            return self.server.gateway.refusal("REQUEST_TOO_LARGE", headers)
        except ValueError:
            self.close_connection = True
            return self.server.gateway.refusal("DEFAULT_4XX", headers, 400)
        if page is not None and self.command in ("GET", "HEAD"):
            content_type, content = page()
            return Answer(200, [("Content-Type", content_type), ("Cache-Control", "no-store")], content)
        source_ip, port = self.client_address[0], self.server.server_address[1]
        return self.server.gateway.answer(
            Request(self.command, target, headers, body, source_ip, port, self.request_version)
        )

    def _body(self) -> bytes:
        """The body of the request.

        Raises:
            ValueError: it says of itself what cannot be.
        """
        if self.headers.get("Transfer-Encoding") is not None:
            if self.headers["Transfer-Encoding"].lower() != "chunked":
                raise ValueError("unknown transfer encoding")
            return self._chunks()
        lengths = set(self.headers.get_all("Content-Length", ["0"]))
        (length,) = lengths
        if re.fullmatch(r"[0-9]{1,18}", length) is None:
            raise ValueError("no length")
        if int(length) > BODY_BYTES_MAX:
            raise _TooLarge
        return self._read(int(length))

    def _chunks(self) -> bytes:
        body = b""
        while True:
            size = int(self.rfile.readline(100).partition(b";")[0].strip() or b"x", 16)
            if size < 0:
                raise ValueError("no length")
            if len(body) + size > BODY_BYTES_MAX:
                raise _TooLarge
            if size == 0:
                while self.rfile.readline(65537).strip():
                    pass
                return body
            body += self._read(size)
            self.rfile.readline(3)

    def _read(self, length: int) -> bytes:
        body = self.rfile.read(length)
        if len(body) < length:
            raise ValueError("it ends too early")
        return body

    def _send(self, answer: Answer) -> None:
        if self.request_version == "HTTP/0.9":
            self.request_version = "HTTP/1.0"  # the base class would leave out status and headers
        self.send_response_only(answer.status)
        self.send_header("Date", self.date_time_string())
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status not in _BODYLESS:
            self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD" and answer.status not in _BODYLESS:
            self.wfile.write(answer.body)

    def _log(self, request: str, status: int, started: float) -> None:
        milliseconds = (time.monotonic() - started) * 1000
        shown = without_keys(request).encode("ascii", "backslashreplace").decode()[:200]
        shown = "".join(character if character.isprintable() else "?" for character in shown)
        print(f"{time.strftime('%H:%M:%S')} {status} {shown} {milliseconds:.0f} ms", file=sys.stderr, flush=True)


class _TooLarge(Exception):
    """The body is larger than the gateway takes."""
