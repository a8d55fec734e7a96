"""Fixtures for the tests of commands."""

from pathlib import Path

import pytest

from sessions_cli import bulk


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of this test alone."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between tries."""
    monkeypatch.setattr(bulk, "BACKOFF_MAX", 0.0)
