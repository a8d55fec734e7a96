"""The HTTP side of the local API, on werkzeug's server: requests in, responses out, one line each on stderr."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.serving import WSGIRequestHandler, make_server, select_address_family
from werkzeug.wsgi import get_input_stream

from sessions_local.function_log import printable

BODY_BYTES_MAX: Final = 10 * 1024 * 1024
"""Largest body of a request ('Amazon API Gateway quotas')."""

IDLE_SECONDS: Final = 60
"""After which a silent connection is closed."""

UNLOGGED_PATH: Final = "/site/"
"""Files of web pages, which would hide the requests to the API."""

_KEY: Final = re.compile(r"(evr_)[A-Za-z0-9_-]+")


class HttpRequest(NamedTuple):
    """What a client sent."""

    method: str
    target: str
    """Path and query as they were sent, not decoded."""
    headers: list[tuple[str, str]]
    body: bytes = b""
    source_ip: str = "127.0.0.1"
    port: int = 80
    """The one that the client connected to."""
    protocol: str = "HTTP/1.1"

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str:
        """The last value of a header, '' when there is none."""
        return next((value for key, value in reversed(self.headers) if key.lower() == name.lower()), "")


class HttpResponse(NamedTuple):
    """What the client gets."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    metrics: Mapping[str, float] = MappingProxyType({})
    """What the function measured; not sent as it is."""

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


Respond = Callable[[HttpRequest], HttpResponse]
"""Responds to a request."""

Refuse = Callable[[str, int, list[tuple[str, str]]], HttpResponse]
"""The gateway's own response of a type, with a status, to a request with these headers."""


class HttpServer:
    """Serves on a bound socket, each request in a thread of its own."""

    def __init__(self, listener: socket.socket, respond: Respond, refuse: Refuse) -> None:
        """Requests are served from now on; `listener` is taken over."""
        self.url = url_of(listener)
        listener.listen(128)
        host, port = listener.getsockname()[:2]
        application = _Application(respond, refuse)
        server = make_server(host, port, application, threaded=True, request_handler=_Handler, fd=listener.fileno())
        listener.close()  # the server has a copy of its own
        threading.Thread(target=server.serve_forever, name="http", daemon=True).start()


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that has taken a port, to which nobody can connect yet.

    Raises:
        OSError: the port is busy, or the host is not an address of this machine.
    """
    listener = socket.socket(select_address_family(host, port))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    """Where this machine reaches a bound socket; one that is bound to every address is reached by loopback."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class QuietRequestHandler(WSGIRequestHandler):
    """werkzeug's, which logs nothing by itself."""

    # Headers and body go out as two packets; without this the second waits 40 ms for an acknowledgement.
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """Silences werkzeug's own lines."""


class _Handler(QuietRequestHandler):
    """Keeps what WSGI would change, and responds in the contract's form to what is not HTTP."""

    default_request_version = "HTTP/1.0"  # for 0.9 the base class leaves out status and headers
    _started = 0.0

    def handle_one_request(self) -> None:
        self._started = 0.0
        super().handle_one_request()

    def make_environ(self) -> dict[str, Any]:
        self._started = time.monotonic()
        # WSGI joins repeated headers and drops those with an underscore.
        headers = [] if self.headers.defects else list(self.headers.items())
        return super().make_environ() | {"sessions.headers": headers, "sessions.malformed": bool(self.headers.defects)}

    def send_error(self, code: int, *_: Any) -> None:
        """Called for a request that is not HTTP; the base class would respond in HTML."""
        status = code if 400 <= code < 500 else 400
        response = cast("_Application", self.server.app).refuse("DEFAULT_4XX", status, [])
        self.close_connection = True
        self.send_response(status)
        for name, value in [*response.headers, ("Content-Length", str(len(response.body))), ("Connection", "close")]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.body)

    def log_request(self, code: int | str = "-", _size: int | str = "-") -> None:
        if f" {UNLOGGED_PATH}" in self.requestline:
            return
        milliseconds = (time.monotonic() - self._started) * 1000 if self._started else 0
        request = _KEY.sub(r"\1...", " ".join(self.requestline.split()[:2])).encode("ascii", "backslashreplace")
        shown = printable(request.decode()[:200])
        print(f"{time.strftime('%H:%M:%S')} {int(code)} {shown} {milliseconds:.0f} ms", file=sys.stderr, flush=True)


class _Application:
    """WSGI as requests and responses."""

    def __init__(self, respond: Respond, refuse: Refuse) -> None:
        self._respond = respond
        self.refuse = refuse

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        response = self._response(environ)
        headers = response.headers
        has_body = response.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
        if has_body:
            headers = [*headers, ("Content-Length", str(len(response.body)))]
        start_response(f"{response.status} {_phrase(response.status)}", headers)
        return [response.body] if has_body and environ["REQUEST_METHOD"] != "HEAD" else []

    def _response(self, environ: dict[str, Any]) -> HttpResponse:
        headers = environ["sessions.headers"]
        if environ["sessions.malformed"]:
            return self.refuse("DEFAULT_4XX", 400, headers)
        try:
            body = _body(environ, headers)
        except RequestEntityTooLarge:
            return self.refuse("REQUEST_TOO_LARGE", 413, headers)
        except (ClientDisconnected, OSError, ValueError):
            return self.refuse("DEFAULT_4XX", 400, headers)
        return self._respond(
            HttpRequest(
                method=environ["REQUEST_METHOD"],
                target=_target(environ["RAW_URI"]),
                headers=headers,
                body=body,
                source_ip=environ["REMOTE_ADDR"],
                port=int(environ["SERVER_PORT"]),
                protocol=environ["SERVER_PROTOCOL"],
            )
        )


def _target(raw_uri: str) -> str:
    """Path and query from what stood in the request line, which may be a whole URL."""
    text = raw_uri.encode("latin-1").decode()  # PEP 3333's encoding undone
    return re.sub(r"^https?://[^/?#]*", "", text, flags=re.IGNORECASE).partition("#")[0] or "/"


def _body(environ: dict[str, Any], headers: list[tuple[str, str]]) -> bytes:
    """The body of a request.

    Raises:
        RequestEntityTooLarge: it is larger than the gateway takes.
        ClientDisconnected, OSError, ValueError: it is not as long as it says, or says it in a way that cannot be.
    """
    lengths = {value for name, value in headers if name.lower() == "content-length"}
    if len(lengths) > 1 or any(re.fullmatch(r"[0-9]{1,18}", each) is None for each in lengths):
        raise ValueError("no length")
    coding = environ.get("HTTP_TRANSFER_ENCODING", "").lower()
    if coding not in ("", "chunked"):
        raise ValueError("unknown transfer coding")
    return get_input_stream(environ, max_content_length=BODY_BYTES_MAX).read()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
