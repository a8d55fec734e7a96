"""Real connections: broken while idle, as when a NAT forgot them, and responses that are not DynamoDB's."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any

import pytest

from sessions import client
from sessions.errors import Unavailable
from tests.service import CONTEXT, KEY, ORGANIZATION, TEMPLATE, Response, authorizer_event, event, load, response_of

EMPTY = b'{"Items": [], "Count": 0, "ScannedCount": 0}'


class Engine(ThreadingHTTPServer):
    """A DynamoDB without items that keeps connections alive, and can break them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.body = EMPTY
        self.accepted = 0
        self.connections: set[socket.socket] = set()
        self.silent: set[socket.socket] = set()
        self.both_arrived = threading.Barrier(2)
        self.ended = threading.Event()

    def reset_connections(self) -> None:
        for connection in self.connections:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RD)  # ends its handler, which closes it
        while any(connection.fileno() >= 0 for connection in self.connections):
            time.sleep(0.001)

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
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: Any) -> None:
        """Write nothing."""


@pytest.fixture
def engine(environment: None) -> Iterator[Engine]:
    with Engine() as engine:
        engine.block_on_close = False
        threading.Thread(target=engine.serve_forever, args=(0.01,), daemon=True).start()
        yield engine
        engine.ended.set()
        engine.shutdown()


def cold_start(name: str, engine: Engine) -> ModuleType:
    url = f"http://127.0.0.1:{engine.server_port}"
    return load(name, **TEMPLATE.function(name).environment | {"AWS_ENDPOINT_URL_DYNAMODB": url})


def list_page(function: ModuleType, query: str = "") -> Response:
    made = event(query)
    made["requestContext"]["authorizer"] = {"organization_id": ORGANIZATION}
    return response_of(function.handler(made, CONTEXT))


@pytest.mark.parametrize("query", ["", "offset=31"])
@pytest.mark.parametrize("fault", [Engine.reset_connections, Engine.drop_connections])
def test_broken_idle_connections_do_not_fail_the_next_page(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Engine], None], query: str
) -> None:
    monkeypatch.setattr(client, "READ_TIMEOUT", 1.0)
    function = cold_start("list_sessions", engine)
    assert (list_page(function).status, engine.accepted) == (200, 2)
    fault(engine)
    assert list_page(function, query).status == 200
    assert engine.accepted > 2
    function.finder._client.close()


@pytest.mark.parametrize("body", [b"null", b"[]", b"<html>", b""])
def test_a_response_that_is_no_json_object_is_a_503(engine: Engine, body: bytes) -> None:
    engine.body = body
    lists, authorizes = cold_start("list_sessions", engine), cold_start("authorize", engine)
    assert list_page(lists).status == 503
    with pytest.raises(Unavailable):
        authorizes.handler(authorizer_event(KEY), CONTEXT)
    lists.finder._client.close()
    authorizes.api_keys._dynamodb.close()
