"""The real handlers behind the local gateway and a real HTTP server, on tables in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from moto import mock_aws
from werkzeug import Request

from sessions.api_keys import hash_key
from sessions_local.gateway import Gateway
from sessions_local.http_server import open_port, serve, url_of
from sessions_local.lambda_runtime import FunctionFailed, Invocation
from tests.service import (
    AGENT,
    CONTEXT,
    ORGANIZATION,
    OTHER_AGENT,
    OTHER_ORGANIZATION,
    ROOT,
    TEMPLATE,
    Service,
    session,
)

KEY: Final = "evr_" + "Az09_-" * 7
ENTRIES: Final = 150


class Served(NamedTuple):
    """An API that answers."""

    url: str
    service: Service
    gateway: Gateway


def invoke(service: Service, name: str) -> Any:
    """Calls a handler as Lambda does: what it gets and returns is JSON, what it raises is a failure."""

    def call(event: dict[str, Any]) -> Invocation:
        try:
            response = service.function(name).handler(json.loads(json.dumps(event)), CONTEXT)
        except Exception as error:
            raise FunctionFailed(f"{type(error).__name__}: {error}") from error
        return Invocation(json.loads(json.dumps(response)), {})

    return call


@contextmanager
def served() -> Iterator[Served]:
    """The API with some sessions of two organizations and a key of one of them."""
    with mock_aws():
        service = Service()
        service.put(*(session(number, agent_id=(AGENT, OTHER_AGENT)[number % 2]) for number in range(ENTRIES)))
        service.put(session(9999, organization_id=OTHER_ORGANIZATION, title="theirs"))
        service.drain()
        key = {"key_hash": hash_key(KEY), "organization_id": ORGANIZATION, "name": "console"}
        service.dynamodb.put_item(TableName="api_keys", Item={name: {"S": value} for name, value in key.items()})
        gateway = Gateway(TEMPLATE, {name: invoke(service, name) for name in ("list_sessions", "authorize")})
        listener = open_port("127.0.0.1", 0)
        url = url_of(listener)
        serve(listener, Request.application(gateway.respond), "http")
        yield Served(url, service, gateway)


def schemathesis(served: Served, report: Path, max_examples: int) -> dict[str, Any]:
    """What `schemathesis run` reports of the API, with all of its checks and phases.

    Raises:
        AssertionError: it found something.
    """
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(ROOT / "tests/hostile/schemathesis.toml")),
        *("run", str(ROOT / "docs/openapi.json"), "--url", served.url),
        *("--header", f"Authorization: {KEY}", "--checks", "all", "--max-examples", str(max_examples)),
        *("--continue-on-failure", "--report", "json", "--report-json-path", str(report), "--no-color"),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    ran = subprocess.run(command, capture_output=True, text=True, cwd=report.parent, env=environment, timeout=1200)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found: dict[str, Any] = json.loads(report.read_text())
    return found
