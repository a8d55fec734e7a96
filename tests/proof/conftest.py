"""The functions behind the proxy, once for all of these tests; and figures, shown when they are done."""

import json
from collections.abc import Callable, Iterator

import pytest

from sessions import client as dynamodb
from sessions.request_sender import RequestSender
from tests.faults.world import ENVIRONMENT, World, containers, forget_connections
from tests.proof.engine import Engine
from tests.service import ROOT

_figures: list[tuple[str, str]] = []


@pytest.fixture(scope="session", autouse=True)
def loaded() -> None:
    """See `containers`."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        containers()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The functions and a native engine, with the proxy between them."""
    engine = Engine(tmp_path_factory.mktemp("engine"))
    try:
        with pytest.MonkeyPatch.context() as monkeypatch:
            world = World(engine.port, monkeypatch)
            yield world
            world.close()
    finally:
        engine.kill()
    forget_connections()


@pytest.fixture
def real_network(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions' own connections, which other tests replace by moto's answers."""
    monkeypatch.setattr(dynamodb, "RequestSender", RequestSender)


@pytest.fixture
def record() -> Callable[[str, str], None]:
    """Notes a figure for docs/proof.md."""
    return lambda name, value: _figures.append((name, value))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _figures:
        terminalreporter.section("figures")
        for name, value in _figures:
            terminalreporter.write_line(f"{name}: {value}")
        path = ROOT / "build" / "proof" / "figures.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_figures, indent=1))
