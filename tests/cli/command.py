"""The `sessions` command as its users call it, in the process of the tests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner, Result

from sessions_cli.cli import main
from sessions_cli.target import Target
from tests.running import Running
from tests.service import Service

TABLES = {"SESSIONS_TABLE": "sessions", "COUNTS_TABLE": "counts", "API_KEYS_TABLE": "api_keys"}
"""The environment that names the tables of an account."""

SCRIPT = str(Path(sys.executable).parent / "sessions")


def sessions(
    *arguments: str,
    given: bytes | str | None = None,
    session: botocore.session.Session | None = None,
    **environment: str,
) -> Result:
    """Return what a command prints, and its exit status; any exception that it does not handle fails the test."""
    return CliRunner().invoke(
        main,
        arguments,
        input=given,
        env=TABLES | {"no_proxy": ""} | environment,  # which the command adds to, and which ends with it
        obj=session,
        catch_exceptions=False,
        prog_name="sessions",
    )


def fault(*arguments: str, given: bytes = b"", **environment: str) -> str:
    """Return the one line of a command that fails before it has done anything."""
    ran = sessions(*arguments, given=given, **environment)
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr.startswith("Error: ")
    assert ran.stderr.count("\n") == 1
    return ran.stderr.removeprefix("Error: ").rstrip("\n")


def shell(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command line in a process of its own, with `sessions` on its path."""
    path = f"{Path(SCRIPT).parent}:{environment['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        env=environment | {"PATH": path}, text=True, capture_output=True, timeout=60,
    )  # fmt: skip


def at(running: Running) -> dict[str, str]:
    """Return the environment that leads a command to the local API's DynamoDB."""
    return {"AWS_ENDPOINT_URL_DYNAMODB": running.dynamodb_url}


def ndjson(*loaded: Any) -> bytes:
    return b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in loaded)


def written(name: str, content: bytes) -> str:
    Path(name).write_bytes(content)
    return name


def stored(service: Service) -> dict[str, dict[str, Any]]:
    """Return every item of the sessions table by its id."""
    return {item["id"]["S"]: item for item in service.dynamodb.scan(TableName="sessions")["Items"]}


class PatchedClient:
    """A real client, some of whose operations a test replaces."""

    def __init__(self, client: Any, operations: dict[str, Callable[..., Any]]) -> None:
        self._client = client
        self._operations = operations

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        return partial(self._operations[name], real) if name in self._operations else real


def replace(monkeypatch: pytest.MonkeyPatch, client: Any, **operations: Callable[..., Any]) -> None:
    """Make commands call these in the place of a client's operations; each gets the real one and the arguments."""
    monkeypatch.setattr(Target, "dynamodb", PatchedClient(client, operations))


def refusal(code: str) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return ClientError(response, "Operation")


def refusing(code: str, times: int | None = None) -> Callable[..., Any]:
    """Return an operation that is refused so often, or always, and works then."""
    left = None if times is None else iter(range(times))

    def call(real: Callable[..., Any], **arguments: Any) -> Any:
        if left is None or next(left, None) is not None:
            raise refusal(code)
        return real(**arguments)

    return call
