"""The engine of the tests that look at the calls."""

from __future__ import annotations

from typing import Any

import pytest

from sessions.counting import writer
from sessions.counting.writer import CountWriter
from tests.memory import Hooked
from tests.service import container


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Hooked:
    """Tables in memory behind the handler, and no pause between its tries."""
    engine = Hooked()
    counts: Any = CountWriter(engine, "counts")  # type: ignore[arg-type]
    monkeypatch.setattr(container("count_sessions"), "counts", counts)
    monkeypatch.setattr(writer, "PAUSE", 0.0)
    return engine
