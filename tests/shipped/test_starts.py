"""What a cold start loads and does: a list of modules, no connection, and what a snapshot must renew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from sessions import dynamodb
from tests.service import ROOT, TEMPLATE

# Top-level packages that a function may load; a heavy one more does not slip in unseen.
CLIENT = {"botocore", "certifi", "dateutil", "jmespath", "six", "urllib3"}  # certifi where it is installed: not there
ALLOWED = {
    "list_sessions": CLIENT | {"pydantic_core", "typing_extensions"},
    "authorize": CLIENT,
    "count_sessions": CLIENT,
}
HEAVY = {"asyncio", "multiprocessing", "sqlite3", "unittest", "xmlrpc"}
"""Of the standard library."""

SHARED = {
    "authorize": {"dynamodb", "errors", "identity", "keys", "settings", "wire"},
    "count_sessions": {"buckets", "counting", "dynamodb", "errors", "observability", "settings", "wire"},
}

PROGRAM = """
import json, sys
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
import app
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def loaded(name: str) -> set[str]:
    """Modules that importing a handler loads into a fresh interpreter."""
    function = TEMPLATE.function(name)
    environment = os.environ | function.environment | {"PYTHONPATH": str(ROOT / "layers/sessions/python")}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(function.folder)],
        env=environment,
        text=True,
        capture_output=True,
        check=True,
        timeout=60,
    )
    return set(json.loads(ran.stdout))


@pytest.mark.parametrize("name", ALLOWED)
def test_a_cold_start_loads_only_the_packages_that_it_needs(name: str) -> None:
    modules = loaded(name)
    roots = {module.partition(".")[0] for module in modules}
    third_party = {root for root in roots if root not in sys.stdlib_module_names} - {"app", "sessions"}
    assert {root for root in third_party if not root.startswith("_")} <= ALLOWED[name]
    assert not roots & HEAVY
    assert "boto3" not in roots


@pytest.mark.parametrize("name", SHARED)
def test_a_cold_start_loads_only_its_part_of_the_shared_package(name: str) -> None:
    own = {module.partition(".")[2] for module in loaded(name) if module.startswith("sessions.")}
    assert own == SHARED[name]


def test_a_cold_start_makes_no_connection_that_a_snapshot_would_freeze(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr("socket.socket.connect", refuse)
    dynamodb.client()


def test_what_clones_of_a_snapshot_would_share_is_renewed_after_a_restore(monkeypatch: pytest.MonkeyPatch) -> None:
    hooks: list[Any] = []
    runtime = ModuleType("snapshot_restore_py")
    runtime.register_after_restore = hooks.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", runtime)
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    closed: list[bool] = []
    monkeypatch.setattr("botocore.httpsession.URLLib3Session.close", lambda _: closed.append(True))
    seeded: list[bool] = []
    monkeypatch.setattr("random.seed", lambda: seeded.append(True))
    dynamodb.client()
    for hook in hooks:
        hook()
    assert closed
    assert seeded


def test_without_a_snapshot_the_runtimes_hooks_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", None)
    dynamodb.client()
