"""A DynamoDB over HTTP, on tables in memory, that breaks its responses and connections as it is told to."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from botocore import xform_name

from tests.memory import Memory

LINGER: Final = struct.pack("ii", 1, 0)
"""Makes the end of a connection a reset."""

JSON_TYPE: Final = "application/x-amz-json-1.0"

Fault = Callable[[Callable[[], bytes]], tuple[bytes, str]]
"""Takes what carries the request out and returns the right body; returns what is sent, and what follows on the
connection: `next` request, `close`, `reset`, or `wait` until the client gives up."""


class FaultyEngine(ThreadingHTTPServer):
    """An engine on a port of its own."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.memory = Memory()
        self.accepted = 0
        """Connections accepted so far."""
        self.connections: set[socket.socket] = set()
        self.silent: set[socket.socket] = set()
        """Connections on which nothing is answered any more, as when a NAT forgot them."""
        self.met = 0
        """Requests that met a fault since the last `plan`."""
        self._plan: tuple[Fault, str, int] = (instead(), "", 0)
        self._lock = threading.Lock()
        self._done: dict[str, bytes] = {}
        """Responses by idempotency token, which botocore gives to each transaction."""
        self._serve()

    def plan(self, fault: Fault, operation: str, times: int) -> None:
        """Let the next so many requests of one operation meet a fault."""
        self._plan, self.met = (fault, operation, times), 0

    def kill(self) -> None:
        """Reset all connections and refuse new ones."""
        self.shutdown()
        self.server_close()
        self.reset_connections()

    def start_again(self) -> None:
        """Accept connections at the same port as before."""
        self.socket = socket.socket()
        self.server_bind()
        self.server_activate()
        self._serve()

    def reset_connections(self) -> None:
        """Reset all connections."""
        for connection in list(self.connections):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
            connection.shutdown(socket.SHUT_RD)
        time.sleep(0.05)  # until the connections' threads have closed them

    def drop_connections(self) -> None:
        """Answer nothing more on the present connections."""
        self.silent = set(self.connections)

    def answer(self, operation: str, parameters: dict[str, Any]) -> tuple[bytes, str]:
        """Return what to send and what follows on the connection, as a fault does."""
        fault, target, times = self._plan
        with self._lock:
            is_faulty = operation == target and self.met < times
            self.met += is_faulty

        def carry_out() -> bytes:
            token = parameters.pop("ClientRequestToken", None)
            with self._lock:
                body = (
                    self._done.get(token)
                    or json.dumps(getattr(self.memory, xform_name(operation))(**parameters)).encode()
                )
                if token is not None:
                    self._done[token] = body
            return body

        return fault(carry_out) if is_faulty else (response(carry_out()), "next")

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        request.close()  # without the orderly end before it, which would hide a reset

    def _serve(self) -> None:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyEngine

    def setup(self) -> None:
        super().setup()
        self.server.accepted += 1
        self.server.connections.add(self.connection)

    def do_POST(self) -> None:
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        parameters = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_silent = self.connection in self.server.silent
        sent, then = (b"", "wait") if is_silent else self.server.answer(operation, parameters)
        self.wfile.write(sent)
        if then == "wait":
            self.connection.recv(1)
        if then == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        self.close_connection = then != "next"

    def log_message(self, *_: object) -> None:
        """Print nothing."""


# --------------------------------------------------------------------------------------------- faults


def response(
    body: bytes,
    *,
    status: int = 200,
    content_type: str = JSON_TYPE,
    framing: str = "",
    checksum_of: bytes | None = None,
) -> bytes:
    """Return a response with the right length and checksum, unless told otherwise."""
    checksum = zlib.crc32(body if checksum_of is None else checksum_of)
    framing = framing or f"Content-Length: {len(body)}"
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nx-amz-crc32: {checksum}\r\n{framing}\r\n\r\n"
    return head.encode() + body


def instead(body: bytes = b"", status: int = 200, content_type: str = JSON_TYPE) -> Fault:
    """Return the fault of another response; the request is not carried out."""
    sent = response(body, status=status, content_type=content_type)
    return lambda _carry_out: (sent, "next")


def error(status: int, code: str) -> Fault:
    """Return an error of DynamoDB; the request is not carried out."""
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "secret"}
    return instead(json.dumps(body).encode(), status)


def spoiled(spoil: Callable[[bytes], bytes], then: str = "next") -> Fault:
    """Return the fault that sends something else made of the right body; the request is carried out."""
    return lambda carry_out: (spoil(carry_out()), then)


def part_of_head(_body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Le"


def part_of_body(body: bytes) -> bytes:
    return response(body)[: -len(body) // 2]


def half(body: bytes) -> bytes:
    return body[: len(body) // 2]


def chunked(body: bytes, end: bytes = b"") -> bytes:
    """Return half of a body as one chunk, and what follows it."""
    part = half(body)
    chunk = b"%x\r\n%s\r\n" % (len(part), part)
    return response(chunk + end, framing="Transfer-Encoding: chunked", checksum_of=part)
