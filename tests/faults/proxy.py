"""A proxy between the functions and a DynamoDB engine that breaks the network, or the engine, as it is told to."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

SECONDS: Final = 30.0
"""After which a connection that nobody uses any more is given up."""


class Reply(NamedTuple):
    """What the engine answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    def with_headers(self, **headers: str | None) -> Reply:
        """With other headers, `_` in the place of `-`; None takes one out."""
        changed = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        return self._replace(headers={name: value for name, value in changed.items() if value is not None})

    @property
    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {http.client.responses.get(self.status, '')}"]
        return "\r\n".join(lines + [f"{name}: {value}" for name, value in self.headers.items()] + ["", ""]).encode()


class Request(NamedTuple):
    """What a function sent."""

    headers: dict[str, str]
    body: bytes

    @property
    def operation(self) -> str:
        return self.headers.get("x-amz-target", "").rpartition(".")[2]

    @property
    def target(self) -> str:
        """The operation; of a Query what it is made on: `Query counts`, `Query index`."""
        if self.operation != "Query":
            return self.operation
        return "Query index" if "IndexName" in json.loads(self.body) else "Query counts"


class Exchange:
    """One request on a connection, and the means to answer it badly."""

    def __init__(self, client: socket.socket, request: Request, forward: Callable[[Request], Reply]) -> None:
        self.client = client
        self.request = request
        self._forward = forward

    def forward(self) -> Reply:
        """What the engine answers; the request is then carried out."""
        return self._forward(self.request)

    def send(self, reply: Reply) -> None:
        """A reply whose length is that of its body, unless it says otherwise."""
        if not {"content-length", "transfer-encoding"} & set(reply.headers):
            reply = reply.with_headers(content_length=str(len(reply.body)))
        self.client.sendall(reply.head + reply.body)

    def reset(self) -> None:
        """Ends the connection as a crash does."""
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.close()

    def close(self) -> None:
        """Ends the connection in order."""
        self.client.shutdown(socket.SHUT_RDWR)
        self.client.close()

    def wait(self, seconds: float) -> bool:
        """Waits, until the client hangs up at most; whether it did."""
        self.client.settimeout(seconds)
        try:
            return self.client.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True


Fault = Callable[[Exchange], None]


class Plan:
    """Which requests meet a fault."""

    def __init__(self, fault: Fault, target: str, times: int | None) -> None:
        self.fault = fault
        self.target = target
        self.times = times
        """How often; None: always."""
        self.met = 0


class Proxy:
    """Listens on a port of its own, and passes requests on to the engine at another one."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.connections = 0
        """Connections that were accepted."""
        self._plan: Plan | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._accepting = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._accepting.start()

    def plan(self, fault: Fault, target: str, times: int | None) -> Plan:
        """From now on so many requests to a target meet a fault."""
        self._plan = Plan(fault, target, times)
        return self._plan

    def heal(self) -> None:
        """From now on nothing fails."""
        self._plan = None

    def drop_connections(self, *, politely: bool = True) -> None:
        """Ends all connections that are kept alive."""
        with self._lock:
            connections, self._open = self._open, set()
        for each in connections:
            if not politely:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR if politely else socket.SHUT_RD)
            each.close()

    def refuse(self) -> None:
        """Stops listening, so that connections are refused."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(SECONDS)
        self.drop_connections()

    def listen(self) -> None:
        """Listens again."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._accepting = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._accepting.start()

    def stop(self) -> None:
        self.heal()
        self.refuse()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            with self._lock:
                self._open.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        stream = client.makefile("rb")
        try:
            while True:
                client.settimeout(SECONDS)
                request = _read(stream)
                if request is None:
                    return
                exchange = Exchange(client, request, self._forward)
                plan = self._claimed(request)
                if plan is None:
                    exchange.send(exchange.forward())
                else:
                    plan.fault(exchange)
        except (OSError, ValueError):
            return
        finally:
            with self._lock:
                self._open.discard(client)
            stream.close()
            client.close()

    def _claimed(self, request: Request) -> Plan | None:
        with self._lock:
            plan = self._plan
            if plan is None or plan.target != request.target or plan.met == plan.times:
                return None
            plan.met += 1
            return plan

    def _forward(self, request: Request) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=SECONDS)
        try:
            connection.request("POST", "/", request.body, request.headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        kept = ("content-type", "x-amz-crc32", "x-amzn-requestid")
        headers = {name.lower(): value for name, value in response.getheaders() if name.lower() in kept}
        return Reply(response.status, headers, body)


def _read(stream: socket.SocketIO | object) -> Request | None:
    """The next request of a connection; None at its end."""
    first = stream.readline()  # type: ignore[attr-defined]
    if not first:
        return None
    headers = {}
    while line := stream.readline().rstrip(b"\r\n"):  # type: ignore[attr-defined]
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", "0")))  # type: ignore[attr-defined]
    return Request(headers, body)


def trickled(exchange: Exchange, data: bytes, every: float, until: float) -> None:
    """Sends a byte now and then, for so many seconds at most."""
    ends_at = time.monotonic() + until
    for start in range(len(data)):
        exchange.client.sendall(data[start : start + 1])
        if time.monotonic() > ends_at or exchange.wait(every):
            return
