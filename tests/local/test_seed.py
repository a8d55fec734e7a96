"""The data that the local API starts with, and its counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sessions_cli.progress import silent
from sessions_cli.sources import CONVERSION
from sessions_local.seed import Seed, organizations, write_counts
from sessions_local.settings import CannotStart
from tests.service import ORGANIZATION, Service, session


def test_the_counts_are_those_of_the_stream(service: Service) -> None:
    service.put(*(session(number * 10_000, agent_id=f"agent_{number % 2}") for number in range(30)))
    service.drain()
    counted = count_rows(service)
    for row in counted:
        service.dynamodb.delete_item(TableName="counts", Key={name: row[name] for name in ("scope", "bucket")})
    write_counts(service.dynamodb, silent)
    assert len(counted) > 30
    assert count_rows(service) == counted
    assert set(organizations(service.dynamodb)) == {ORGANIZATION}


def count_rows(service: Service) -> list[Any]:
    return sorted(service.dynamodb.scan(TableName="counts")["Items"], key=str)


def test_a_line_that_is_not_a_session_is_named(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data.ndjson"
    path.write_text("{}\n")
    Seed(str(path)).load(service.dynamodb, silent)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{path}, line 1: not loaded: ")
    assert second == f"{path}: 0 loaded, 1 not"


def test_a_json_array_is_refused_with_its_remedy(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text("[{}]")
    with pytest.raises(CannotStart) as refusal:
        Seed(str(path)).load(service.dynamodb, silent)
    assert str(refusal.value) == f"DATA: {path} has no session on each line; `{CONVERSION}` makes lines."
