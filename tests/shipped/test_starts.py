"""What a cold start loads and does: a list of modules, no connection, and what a snapshot must renew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from sessions import client as dynamodb
from sessions import cold_start
from sessions.request_sender import RequestSender
from tests.service import ROOT, TEMPLATE

# Top-level packages that a function may load; a heavy one more does not slip in unseen.
ALLOWED = {
    "annotated_types",
    "aws_lambda_powertools",
    "boto3",
    "botocore",
    "certifi",  # where it is installed: not in Lambda
    "dateutil",
    "jmespath",
    "pydantic",
    "pydantic_core",
    "six",
    "typing_extensions",
    "typing_inspection",
    "urllib3",
}
HEAVY = {"asyncio", "html", "multiprocessing", "sqlite3", "unittest", "xmlrpc"}
"""Of the standard library."""

FUNCTIONS = ("list_sessions", "authorize", "count_sessions")

PROGRAM = """
import json, sys
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
import app
import gc
spared = {name for name in app.cold_start.UNUSED if not hasattr(sys.modules.get(name), "__file__")}
print(json.dumps([sorted(set(sys.modules) - before - spared), gc.isenabled(), gc.get_freeze_count()]))
"""


class Start(NamedTuple):
    """An interpreter that has imported a handler."""

    modules: set[str]
    """Those that were really loaded."""
    collects: bool
    exempt_objects: int


def start(name: str, **variables: str) -> Start:
    """Imports a handler in a fresh interpreter."""
    function = TEMPLATE.function(name)
    environment = os.environ | function.environment | {"PYTHONPATH": str(ROOT / "layers")} | variables
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(function.folder)],
        env=environment,
        text=True,
        capture_output=True,
        check=True,
        timeout=60,
    )
    modules, collects, exempt_objects = json.loads(ran.stdout)
    return Start(set(modules), collects, exempt_objects)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_cold_start_loads_only_what_it_needs(name: str) -> None:
    modules = start(name, LAMBDA_TASK_ROOT="/var/task").modules
    roots = {module.partition(".")[0] for module in modules}
    third_party = {root for root in roots if root not in sys.stdlib_module_names} - {"app", "sessions"}
    assert {root for root in third_party if not root.startswith("_")} <= ALLOWED
    assert not roots & HEAVY
    assert "importlib.metadata" not in modules
    assert not modules & set(cold_start.UNUSED)


def test_every_module_that_is_left_unimported_would_be_imported_otherwise() -> None:
    assert set(cold_start.UNUSED) <= start("list_sessions").modules


@pytest.mark.parametrize("name", FUNCTIONS)
def test_after_a_cold_start_the_collector_passes_over_what_was_imported(name: str) -> None:
    begun = start(name, LAMBDA_TASK_ROOT="/var/task")
    assert begun.collects
    assert begun.exempt_objects > 50_000


def test_elsewhere_than_in_lambda_nothing_is_exempt_from_collection() -> None:
    begun = start("list_sessions")
    assert begun.collects
    assert begun.exempt_objects < 1_000  # what the interpreter itself may exempt


def test_only_list_sessions_loads_the_pages() -> None:
    for name in ("authorize", "count_sessions"):
        assert not {module for module in start(name).modules if module.startswith("sessions.paging")}


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
    monkeypatch.setattr(dynamodb, "RequestSender", RequestSender)
    monkeypatch.setattr(RequestSender, "close", lambda _: closed.append(True))
    monkeypatch.setattr("botocore.httpsession.URLLib3Session.close", lambda _: closed.append(True))
    seeded: list[bool] = []
    monkeypatch.setattr("random.seed", lambda: seeded.append(True))
    dynamodb.client()
    for hook in hooks:
        hook()
    assert len(closed) >= 2
    assert seeded


def test_without_a_snapshot_the_runtimes_hooks_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", None)
    dynamodb.client()
