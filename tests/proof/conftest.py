"""Figures of the proof, shown when its tests are done."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Record = Callable[[str, str], None]

_figures: list[tuple[str, str]] = []


@pytest.fixture
def record() -> Record:
    """Return a function that notes a figure for docs/proof.md."""
    return lambda name, value: _figures.append((name, value))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, value in _figures:
        terminalreporter.write_line(f"{name}: {value}")
