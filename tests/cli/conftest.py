"""Fixtures for the tests of commands."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessions_cli import bulk
from tests.running import Running, local_api
from tests.service import AGENT, OTHER_AGENT, session


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One local API with 120 sessions, since moto takes seconds to return the whole sample."""
    data = tmp_path_factory.mktemp("data") / "sessions.ndjson"
    organization = "org_" + "0" * 31 + "1"
    stored = [
        session(number * 3600, organization_id=organization, agent_id=(AGENT, OTHER_AGENT)[number % 3 == 0])
        for number in range(120)
    ]
    data.write_text("\n".join(map(json.dumps, stored)))
    with local_api(DATA=str(data)) as api:
        yield api


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of this test alone."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between tries."""
    monkeypatch.setattr(bulk, "BACKOFF_MAX", 0.0)
