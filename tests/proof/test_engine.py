"""An engine that is killed and started again, under functions that stay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.world import DEEP, KEY, UNKNOWN_KEY, World, body_of, forget_connections
from tests.proof.engine import Engine
from tests.service import session


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
