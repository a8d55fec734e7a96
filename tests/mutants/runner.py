"""Runs the tests that reach a change, in a process that has loaded everything but the changed code.

Starting Python, pytest, moto and boto3 takes longer than the tests that a mutant needs. So they are loaded once, and
each mutant gets a fork in which the loader hands out the changed source for one file.
"""

from __future__ import annotations

import ast
import gc
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, Final

import coverage
import pytest

from tests.mutants.mutations import Mutant

ROOT: Final = Path(__file__).parents[2]

TESTS: Final = (
    "tests/list",
    "tests/identity",
    "tests/counting",
    "tests/faults",
    "tests/hostile",
    "tests/shipped/test_request_sender.py",
    "tests/shipped/test_response_parser.py",
    "tests/shipped/test_starts.py",
    "tests/template/test_gateway_responses.py",
    "tests/test_log_lines.py",
)
LEFT_OUT: Final = ("test_released_client", "test_simulation", "test_schema.py", "test_memory")
"""Tests that run the service in a process of its own, or no code of its."""

PRELOADED: Final = (
    *("boto3", "botocore.session", "moto", "moto.dynamodb.models", "moto.dynamodb.responses", "moto.server"),
    *("hypothesis.stateful", "hypothesis.strategies", "pydantic", "yaml", "werkzeug.serving", "requests"),
    *("aws_lambda_powertools.event_handler", "aws_lambda_powertools.logging", "aws_lambda_powertools.metrics"),
    *(
        "aws_lambda_powertools.utilities.data_classes",
        "unittest.mock",
        "click",
        "rich.console",
        "sessions_local.sam_template",
    ),
)

SECONDS: Final = 10.0
SLOWER: Final = 10
"""A test hangs when it takes longer than SLOWER times its usual time and SECONDS more; its mutant is killed then."""

IMPORT_SECONDS: Final = 60
"""The same for importing the tests."""

UNCHANGED_LOG: Final = ROOT / "build/mutants/unchanged.log"
"""What the tests say of the code as it is, in the order and the time that mutants have."""


@dataclass
class Reach:
    """Which tests reach a line, and how long each takes."""

    seconds: dict[str, float] = field(default_factory=dict)
    tests: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    """By file and line; lines that run on import only have none."""

    def of(self, mutant: Mutant) -> list[str]:
        """The tests that reach a mutant, quick ones first; those of its module where no test is known to."""
        by_line = self.tests.get(str(mutant.path), {})
        lines = _statement_lines(mutant)
        found = {test for line in lines for test in by_line.get(line, [])}
        if not found:
            found = {test for tests in by_line.values() for test in tests} | self._without_lines
        if any(map(_shares_engine, found)):  # what the first of them has made for all, all of them run
            found |= set(filter(_shares_engine, self.seconds))
        return self.quick_first(found)

    @cached_property
    def _without_lines(self) -> set[str]:
        """Tests that run no line of any module: they look at constants."""
        return self.seconds.keys() - {
            test for by_line in self.tests.values() for tests in by_line.values() for test in tests
        }

    def quick_first(self, tests: Iterable[str]) -> list[str]:
        """The order to run tests in; those that share an engine together, or it would be started again and again."""
        return sorted(tests, key=lambda test: (_shares_engine(test), self.seconds.get(test, 0.0), test))


def _shares_engine(test: str) -> bool:
    return test.startswith("tests/faults/")


def _statement_lines(mutant: Mutant) -> range:
    """The lines of the innermost statement that holds a change; a compound one only as far as its body."""
    if not mutant.scope:
        return range(0)
    best = range(mutant.line, mutant.last_line + 1)
    for node in ast.walk(ast.parse((ROOT / mutant.path).read_text())):
        if isinstance(node, ast.stmt) and node.lineno <= mutant.line <= (node.end_lineno or 0):
            body = getattr(node, "body", None)
            end = body[0].lineno if body else (node.end_lineno or node.lineno) + 1
            if mutant.line < end and not isinstance(node, ast.FunctionDef | ast.ClassDef):
                best = range(node.lineno, end)
    return best


class _Measure:
    """A plugin of pytest: notes for each line which tests ran it."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._measured.switch_context(item.nodeid)
        began = time.perf_counter()
        result: Any = yield
        self.seconds[item.nodeid] = time.perf_counter() - began
        self._measured.switch_context("")
        return result


class _Select:
    """A plugin of pytest: runs these tests in this order."""

    def __init__(self, wanted: Sequence[str] | None = None) -> None:
        self._order = None if wanted is None else {test: number for number, test in enumerate(wanted)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        kept = [item for item in items if not any(part in item.nodeid for part in LEFT_OUT)]
        order = self._order
        if order is not None:
            kept = sorted((item for item in kept if item.nodeid in order), key=lambda item: order[item.nodeid])
        items[:] = kept


class _Limit:
    """A plugin of pytest: ends the process when a test hangs."""

    def __init__(self, reach: Reach) -> None:
        self._usual = reach.seconds

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        signal.setitimer(signal.ITIMER_REAL, SECONDS + SLOWER * self._usual.get(item.nodeid, 0.0))
        result: Any = yield
        return result


def _pytest(files: Iterable[str], *plugins: object, tracebacks: str = "no") -> int:
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    os.environ["PATIENCE"] = "2"  # what is late because of its neighbours is not killed for that
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    options = ["-x", "-q", "--no-header", f"--tb={tracebacks}", "--assert=plain"]
    # What was left behind by tests concerns no mutant, and looking for it takes longer than most of them.
    options += [part for plugin in ("cacheprovider", "unraisableexception") for part in ("-p", f"no:{plugin}")]
    return int(pytest.main([*options, *files], plugins=list(plugins)))


def measure(paths: Sequence[Path], into: Path, *, is_fresh: bool = True) -> Reach:
    """Runs all tests once on the code as it is, in a fork, and notes what they reach.

    Args:
        into: keeps what was noted.
        is_fresh: whether to run them; otherwise what was noted before counts.

    Raises:
        SystemExit: they fail.
    """

    def work() -> int:
        measured = coverage.Coverage(data_file=None, include=[str(ROOT / path) for path in paths])
        plugin = _Measure(measured)
        measured.start()
        code = _pytest([test for test in TESTS if (ROOT / test).exists()], plugin, _Select(), tracebacks="short")
        measured.stop()
        data = measured.get_data()
        tests = {
            str(path): {
                line: sorted(filter(None, contexts))
                for line, contexts in data.contexts_by_lineno(str(ROOT / path)).items()
            }
            for path in paths
        }
        into.write_text(json.dumps({"seconds": plugin.seconds, "tests": tests}))
        return code

    into.parent.mkdir(parents=True, exist_ok=True)
    if is_fresh and os.waitstatus_to_exitcode(os.waitpid(_fork(work, into.with_suffix(".log")), 0)[1]) != 0:
        sys.exit("The tests fail on the code as it is:\n" + into.with_suffix(".log").read_text()[-2000:])
    read = json.loads(into.read_text())
    return Reach(
        read["seconds"],
        {path: {int(line): found for line, found in lines.items()} for path, lines in read["tests"].items()},
    )


def preload() -> None:
    """Imports what every test needs and no mutant changes."""
    for name in PRELOADED:
        importlib.import_module(name)
    # Read once by botocore for each process, from a megabyte of JSON.
    import botocore.loaders

    loader = botocore.loaders.create_loader()
    for kind in ("service-2", "endpoint-rule-set-1", "paginators-1", "waiters-2"):
        loader.load_service_model("dynamodb", kind)
    loader.load_data("endpoints")
    loader.load_data("partitions")
    botocore.loaders.create_loader = lambda *_: loader  # type: ignore[assignment]
    template = importlib.import_module("sessions_local.sam_template").Template
    read = template.read()
    template.read = staticmethod(lambda *_, **__: read)  # it takes a second, and nothing of it is changed here
    gc.collect()
    gc.freeze()
    assert not any(name == "sessions" or name.startswith("sessions.") for name in sys.modules)


def passes_unchanged(reach: Reach) -> bool:
    """Whether the code as it is passes all tests in the order and the time that mutants have: if not, all would die."""
    tests = reach.quick_first(reach.seconds)
    pid = _fork(lambda: _run(tests, reach), UNCHANGED_LOG)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def start(mutant: Mutant, tests: Sequence[str], reach: Reach) -> int:
    """The id of a process that runs tests on a mutant; its exit status is 0 where the mutant survives."""

    def work() -> int:
        _serve(mutant)
        return _run(tests, reach)

    return _fork(work, Path(os.devnull))


def _run(tests: Sequence[str], reach: Reach) -> int:
    signal.alarm(IMPORT_SECONDS)  # until the first test has a limit of its own
    return _pytest(dict.fromkeys(test.partition("::")[0] for test in tests), _Select(tests), _Limit(reach))


def stop(pid: int) -> None:
    """Ends what a process that `start` began has left behind."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _serve(mutant: Mutant) -> None:
    """Hands out the mutant's source in the place of the file's."""
    path = str((ROOT / mutant.path).resolve())
    original = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, name: str) -> Any:
        if os.path.realpath(self.get_filename(name)) == path:
            return compile(mutant.source, path, "exec", dont_inherit=True)
        return original(self, name)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign]


def _fork(work: Any, output: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        os.chdir(ROOT)
        target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, 1)
        os.dup2(target, 2)
        code = work()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)
