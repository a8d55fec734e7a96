"""The `sessions` command as its users call it, within the process of the tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import botocore.session
import pytest
from click.testing import CliRunner, Result

from sessions_cli.cli import main
from sessions_cli.target import Target
from tests.running import Running

TABLES = {
    "SESSIONS_TABLE": "sessions",
    "COUNTS_TABLE": "counts",
    "API_KEYS_TABLE": "api_keys",
}
"""What tells the command which tables of an account it works on."""


def sessions(
    *arguments: str,
    given: bytes | str | None = None,
    session: botocore.session.Session | None = None,
    **environment: str,
) -> Result:
    """What a command prints, and its exit status; an exception that gets out of it fails the test.

    Args:
        session: in the place of a new one, such as one whose events a test listens to.
    """
    return CliRunner().invoke(
        main,
        arguments,
        input=given,
        env=TABLES | environment,
        obj=session,
        catch_exceptions=False,
        prog_name="sessions",
    )


def at(running: Running) -> dict[str, str]:
    """The environment that leads a command to the local API's DynamoDB."""
    return {"AWS_ENDPOINT_URL_DYNAMODB": running.dynamodb_url}


def ndjson(*entries: Any) -> bytes:
    """Lines of JSON."""
    return b"".join(json.dumps(entry, ensure_ascii=False).encode() + b"\n" for entry in entries)


class PatchedClient:
    """A real client, some of whose operations a test has taken over."""

    def __init__(self, client: Any, operations: dict[str, Callable[..., Any]]) -> None:
        self._client = client
        self._operations = operations

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        return partial(self._operations[name], real) if name in self._operations else real


def take_over(monkeypatch: pytest.MonkeyPatch, client: Any, **operations: Callable[..., Any]) -> None:
    """Makes commands call these in the place of a client's operations; each gets the real one and the arguments."""
    monkeypatch.setattr(Target, "dynamodb", PatchedClient(client, operations))
