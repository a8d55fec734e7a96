"""A DynamoDB over HTTP, on tables in memory, that breaks its responses and connections as it is told to."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from botocore.exceptions import ClientError

from tests.counting.memory import Memory

LINGER: Final = struct.pack("ii", 1, 0)
"""Makes the end of a connection a reset."""

JSON_TYPE: Final = "application/x-amz-json-1.0"


class Exchange:
    """One request on a connection, and the means to answer it badly."""

    def __init__(self, connection: socket.socket, carry_out: Callable[[], tuple[int, bytes]]) -> None:
        self.connection = connection
        self.carry_out = carry_out
        """Does what the request says, and returns status and body of the response."""
        self.is_last = False
        """Whether the connection ends after this exchange."""

    def send(
        self,
        body: bytes,
        *,
        status: int = 200,
        content_type: str = JSON_TYPE,
        checksum: int | None = None,
        framing: str | None = None,
    ) -> None:
        """Send a response with the right length and checksum, unless told otherwise."""
        checksum = zlib.crc32(body) if checksum is None else checksum
        framing = f"Content-Length: {len(body)}" if framing is None else framing
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nx-amz-crc32: {checksum}\r\n{framing}\r\n\r\n"
        self.connection.sendall(head.encode() + body)

    def end(self, *, is_reset: bool = False) -> None:
        """End the connection after this exchange: in order, or as a crash does."""
        self.is_last = True
        if is_reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)


Fault = Callable[[Exchange], None]
"""Answers a request badly."""


class FaultyEngine:
    """An engine on a port of its own."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.accepted = 0
        """Connections accepted so far."""
        self.met = 0
        """Requests that met a fault since the last `plan`."""
        self._fault: Fault | None = None
        self._target = ""
        self._times = 0
        self._lock = threading.Lock()
        self._done: dict[str | None, bytes] = {}
        """Responses by idempotency token, which botocore gives to each transaction."""
        self.silent: set[socket.socket] = set()
        """Connections on which nothing is answered any more, as when a NAT forgot them."""
        self.port = 0
        self.listen()

    def plan(self, fault: Fault, target: str, times: int) -> None:
        """Let the next so many requests of one operation meet a fault."""
        self._fault, self._target, self._times, self.met = fault, target, times, 0

    def heal(self) -> None:
        """Let no further request meet a fault."""
        self._times = 0

    def listen(self) -> None:
        """Accept connections, at the same port as before."""
        self._server = _Server(self)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def refuse(self) -> None:
        """Reset all connections and refuse new ones, as an engine that was killed does."""
        self._server.shutdown()
        self._server.server_close()
        self.reset_connections()

    def reset_connections(self) -> None:
        """Reset all connections."""
        for connection in list(self._server.connections):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
            connection.shutdown(socket.SHUT_RD)
        time.sleep(0.05)  # until the connections' threads have closed them

    def drop_connections(self) -> None:
        """Answer nothing more on the present connections."""
        self.silent = set(self._server.connections)

    def answer(self, exchange: Exchange, operation: str) -> None:
        """Answer a request, badly if that is planned."""
        with self._lock:
            is_faulty = operation == self._target and self.met < self._times
            self.met += is_faulty
        if is_faulty and self._fault:
            self._fault(exchange)
        else:
            status, body = exchange.carry_out()
            exchange.send(body, status=status)

    def carry_out(self, operation: str, parameters: dict[str, Any]) -> tuple[int, bytes]:
        method = getattr(self.memory, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).lower())
        token = parameters.pop("ClientRequestToken", None)
        try:
            with self._lock:
                if token is None or token not in self._done:
                    self._done[token] = json.dumps(method(**parameters)).encode()
                return 200, self._done[token]
        except ClientError as error:
            body = {"__type": error.response["Error"]["Code"], **error.response}
            return 400, json.dumps(body, default=str).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, engine: FaultyEngine) -> None:
        super().__init__(("127.0.0.1", engine.port), _Connection)
        self.engine = engine
        self.connections: set[socket.socket] = set()

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        request.close()  # without the orderly end before it, which would hide a reset


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.engine.accepted += 1
        self.server.connections.add(self.connection)

    def do_POST(self) -> None:
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        parameters = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        engine = self.server.engine
        if self.connection in engine.silent:
            self.connection.recv(1)  # until the client gives up
            return
        exchange = Exchange(self.connection, lambda: engine.carry_out(operation, parameters))
        engine.answer(exchange, operation)
        self.close_connection = exchange.is_last

    def log_message(self, *_: object) -> None:
        """Print nothing."""


# --------------------------------------------------------------------------------------------- faults


def error(status: int, code: str) -> Fault:
    """Return an error of DynamoDB; the request is not carried out."""
    body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "secret"}).encode()
    return lambda exchange: exchange.send(body, status=status)


def fixed(status: int, body: bytes, content_type: str = JSON_TYPE) -> Fault:
    """Return a response that the engine did not make; the request is not carried out."""
    return lambda exchange: exchange.send(body, status=status, content_type=content_type)


def ended(part: str, *, is_reset: bool) -> Fault:
    """Return the end of a connection before the response, or in its head or body; the request is carried out."""

    def fault(exchange: Exchange) -> None:
        _, body = exchange.carry_out()
        if part == "head":
            exchange.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")
        elif part == "body":
            exchange.send(body[: len(body) // 2], framing=f"Content-Length: {len(body)}")
        exchange.end(is_reset=is_reset)

    return fault


def changed(change: Callable[[bytes], bytes], *, keeps_checksum: bool = False) -> Fault:
    """Return a response with another body, and that body's checksum or the right one."""

    def fault(exchange: Exchange) -> None:
        _, body = exchange.carry_out()
        exchange.send(change(body), checksum=zlib.crc32(body) if keeps_checksum else None)

    return fault


def half(body: bytes) -> bytes:
    return body[: max(1, len(body) // 2)]


def in_chunks(*, is_ended: bool) -> Fault:
    """Return half of a body in chunks, with the last chunk or without it."""

    def fault(exchange: Exchange) -> None:
        part = half(exchange.carry_out()[1])
        chunks = f"{len(part):x}\r\n".encode() + part + b"\r\n" + (b"0\r\n\r\n" if is_ended else b"")
        exchange.send(chunks, checksum=zlib.crc32(part), framing="Transfer-Encoding: chunked")
        if not is_ended:
            exchange.end()

    return fault


def without_length(exchange: Exchange) -> None:
    """Send half of a body that ends with its connection."""
    exchange.send(half(exchange.carry_out()[1]), framing="Connection: close")
    exchange.end()


def late(*, has_head: bool) -> Fault:
    """Return nothing, or a head alone, until the client has given up."""

    def fault(exchange: Exchange) -> None:
        exchange.carry_out()
        if has_head:
            exchange.send(b"", framing="Content-Length: 100")
        exchange.connection.recv(1)
        exchange.end()

    return fault
