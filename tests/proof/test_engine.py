"""An engine that is killed and started again, under functions that stay."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.engine import binary
from tests.faults.world import DEEP, KEY, UNKNOWN_KEY, World, body_of, forget_connections
from tests.running import free_port
from tests.service import session


class Engine:
    """dynoxide on a file, so that it remembers."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self._home = home
        self.start()

    def start(self) -> None:
        command = [str(binary()), "serve", "--port", str(self.port), "--db-path", str(self._home / "tables.db")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ends_at = time.monotonic() + 20
        while time.monotonic() < ends_at:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError("the engine did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path)
    yield engine
    engine.kill()


ROUNDS = 20


def test_an_engine_that_is_killed_and_started_again_is_an_outage_and_nothing_else(engine: Engine) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        world = World(engine.port, monkeypatch)
        for number in range(ROUNDS):
            organization = f"org_{number:032x}"
            entries = [session(1000 + 3 * number + each, organization_id=organization) for each in range(3)]
            assert world.list(DEEP).body == body_of(DEEP)
            assert (world.authorize(KEY), world.authorize(UNKNOWN_KEY)) == ("Allow", "Deny")
            engine.kill()
            response = world.list(DEEP)
            assert (response.status, response.body["error"]["code"]) == (503, "unavailable")
            assert (world.authorize(KEY), world.authorize(UNKNOWN_KEY)) == ("unavailable", "unavailable")
            assert world.deliver(entries) != []
            engine.start()
            assert world.list(DEEP).body == body_of(DEEP)
            assert (world.authorize(KEY), world.authorize(UNKNOWN_KEY)) == ("Allow", "Deny")
            assert world.deliver(entries) == []
            assert world.counted(organization) == 3
        world.close()
    forget_connections()
