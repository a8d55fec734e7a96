"""Loading the data of the local API: what is shown meanwhile, and when it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sessions_local import seed as loading
from sessions_local.seed import Data
from sessions_local.settings import CannotStart
from tests.service import ORGANIZATION, Service, session


class Poller:
    """A stream poller that is told how far it is at each look, and whether it has caught up then."""

    def __init__(self, *records_read: int, catches_up: bool = True) -> None:
        self._looks = records_read
        self._catches_up = catches_up
        self.records_read = 0

    def catch_up(self, _seconds: float, meanwhile: Callable[[], None]) -> bool:
        for records_read in self._looks:
            self.records_read = records_read
            meanwhile()
        return self._catches_up


Shown = list[tuple[str, int, int | None]]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What the progress bar is told."""
    calls: Shown = []

    class Progress:
        def __enter__(self) -> Any:
            return lambda *call: calls.append(call)

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(loading, "Progress", Progress)
    return calls


def test_loading_and_counting_show_how_far_they_are(service: Service, shown: Shown) -> None:
    poller: Any = Poller(100, 400, 700)
    Data(None).load_and_count(service.dynamodb, poller)
    assert shown[-4:] == [("loading", 565, 565), ("counting", 100, 565), ("counting", 400, 565), ("counting", 565, 565)]


def test_counting_that_takes_too_long_is_not_waited_for(
    service: Service, shown: Shown, capsys: pytest.CaptureFixture[str]
) -> None:
    poller: Any = Poller(1, 2, catches_up=False)
    Data("").load_and_count(service.dynamodb, poller)
    assert "Not everything is counted yet" in capsys.readouterr().err


def test_a_line_that_is_not_a_session_is_named(
    service: Service, shown: Shown, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data.ndjson"
    path.write_text("{}\n")
    poller: Any = Poller()
    Data(str(path)).load_and_count(service.dynamodb, poller)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{path}, line 1: not loaded: ")
    assert second == f"{path}: 0 loaded, 1 not"


def test_a_json_array_is_refused_with_the_command_that_converts_it(
    service: Service, shown: Shown, tmp_path: Path
) -> None:
    path = tmp_path / "data.json"
    path.write_text("[{}]")
    poller: Any = Poller()
    with pytest.raises(CannotStart) as refusal:
        Data(str(path)).load_and_count(service.dynamodb, poller)
    assert str(refusal.value) == (
        f"DATA: {path} is a JSON array, not one Session a line; `jq -c '.[]' {path} > sessions.ndjson` converts it."
    )


def test_without_a_stream_the_data_is_counted_by_a_rebuild(service: Service, shown: Shown, tmp_path: Path) -> None:
    path = tmp_path / "data.ndjson"
    path.write_text("".join(json.dumps(session(number)) + "\n" for number in range(3)))
    Data(str(path)).load_without_stream(service.dynamodb)
    assert service.get("limit=1").body["total"] == 3
    assert set(loading.organizations(service.dynamodb)) == {ORGANIZATION}
