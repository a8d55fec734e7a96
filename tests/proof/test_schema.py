"""schemathesis with all of its checks, over the OpenAPI document, against the real handlers: more than 2,000 cases."""

from __future__ import annotations

from pathlib import Path

from tests.hostile.served import schemathesis, served


def test_schemathesis_finds_nothing(tmp_path: Path, environment: None, capsys: object) -> None:
    with served() as api:
        found = schemathesis(api, tmp_path / "report.json", max_examples=2500)
    assert found["test_cases"]["generated"] >= 2000
    assert found["failures"] == []
