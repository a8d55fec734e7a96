"""The functions behind the proxy, once for all of these tests."""

from collections.abc import Iterator

import pytest

from tests.faults.world import World, forget_connections, moto_world


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with pytest.MonkeyPatch.context() as monkeypatch, moto_world(monkeypatch) as world:
        yield world
    forget_connections()
