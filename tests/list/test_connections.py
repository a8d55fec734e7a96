"""Connections that broke while they were idle, as after a pause in which a frozen container or a NAT forgot them."""

import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sessions import client
from tests.service import CONTEXT, ORGANIZATION, TEMPLATE, event, load, response_of

EMPTY = b'{"Items": [], "Count": 0, "ScannedCount": 0}'


class Engine(ThreadingHTTPServer):
    """A DynamoDB without items that keeps connections alive, and can break them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.accepted = 0
        self.connections: set[socket.socket] = set()
        self.silent: set[socket.socket] = set()
        self.both_arrived = threading.Barrier(2)
        self.ended = threading.Event()

    def reset_connections(self) -> None:
        for connection in self.connections:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RD)  # ends its handler, which closes it

    def drop_connections(self) -> None:
        """Never answer on the present connections again."""
        self.silent = set(self.connections)


class Answer(BaseHTTPRequestHandler):
    """One connection to the engine."""

    protocol_version = "HTTP/1.1"
    server: Engine

    def setup(self) -> None:
        super().setup()
        self.server.accepted += 1

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.connection in self.server.silent:
            self.server.ended.wait()
            return
        if len(self.server.connections) < 2:
            self.server.connections.add(self.connection)
            self.server.both_arrived.wait(5)  # so that the two reads of a first page need two connections
        self.send_response(200)
        self.send_header("Content-Length", str(len(EMPTY)))
        self.end_headers()
        self.wfile.write(EMPTY)

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


@pytest.fixture
def engine(environment: None) -> Iterator[Engine]:
    with Engine() as engine:
        engine.block_on_close = False
        threading.Thread(target=engine.serve_forever, daemon=True).start()
        yield engine
        engine.ended.set()
        engine.shutdown()


@pytest.mark.parametrize("query", ["", "offset=31"])
@pytest.mark.parametrize("broken", ["reset", "silent"])
def test_broken_idle_connections_do_not_fail_the_next_page(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, broken: str, query: str
) -> None:
    monkeypatch.setattr(client, "READ_TIMEOUT", 0.3)
    url = f"http://127.0.0.1:{engine.server_port}"
    function = load(
        "list_sessions", **TEMPLATE.function("list_sessions").environment | {"AWS_ENDPOINT_URL_DYNAMODB": url}
    )

    def status(query: str) -> int:
        made = event(query)
        made["requestContext"]["authorizer"] = {"organization_id": ORGANIZATION}
        return response_of(function.handler(made, CONTEXT)).status

    assert (status(""), engine.accepted) == (200, 2)
    if broken == "reset":
        engine.reset_connections()
    else:
        engine.drop_connections()
    assert status(query) == 200
    assert engine.accepted > 2
    function.finder._client.close()
