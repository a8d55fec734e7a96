"""schemathesis with all of its checks, over the OpenAPI document, against the handlers behind the local gateway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from werkzeug import Request

from sessions_local.functions import Invocation
from sessions_local.gateway import Gateway
from sessions_local.http_server import open_port, serve, url_of
from tests.service import (
    AGENT,
    CONTEXT,
    KEY,
    OTHER_AGENT,
    OTHER_ORGANIZATION,
    ROOT,
    TEMPLATE,
    Service,
    container,
    session,
)


@pytest.mark.parametrize("examples", [10, pytest.param(2500, marks=pytest.mark.long)])
def test_schemathesis_finds_nothing(memory_service: Service, tmp_path: Path, examples: int) -> None:
    memory_service.put(*(session(number, agent_id=(AGENT, OTHER_AGENT)[number % 2]) for number in range(150)))
    memory_service.put(session(9999, organization_id=OTHER_ORGANIZATION, title="theirs"))
    memory_service.drain()
    memory_service.issue()
    handlers = {name: container(name).handler for name in ("list_sessions", "authorize")}
    gateway = Gateway(
        TEMPLATE,
        {
            name: lambda event, handler=handler: Invocation(handler(event, CONTEXT), {})
            for name, handler in handlers.items()
        },
    )
    listener = open_port("127.0.0.1", 0)
    url = url_of(listener)
    serve(listener, Request.application(gateway.respond), "http")
    report = tmp_path / "report.json"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(ROOT / "tests/proof/schemathesis.toml")),
        *("run", str(ROOT / "docs/openapi.json"), "--url", url),
        *("--header", f"Authorization: {KEY}", "--checks", "all", "--max-examples", str(examples)),
        *("--continue-on-failure", "--report", "json", "--report-json-path", str(report), "--no-color"),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=1200)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(report.read_text())
    assert found["failures"] == []
    assert found["test_cases"]["generated"] > min(2000, 3 * examples)
