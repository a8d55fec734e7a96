"""Start-up, CPU of a warm page and deployed size, beside the idiomatic implementation and the floor; and the ledger.

Every contender runs in processes of its own on the runtime's Python, with nothing on its path but what is deployed, and
takes turns with the others. All responses are compared before anything is measured. `make bench` writes the figures
into docs/benchmarks.md; `--quick` takes a few turns and writes nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

from layers.build import runtime_python
from tests.benchmarks.ledger import AUTHORIZE, BUILT, FLOOR, IDIOMATIC, LEDGER, OURS, SCRATCH, SOURCES, USUAL, Contender
from tests.benchmarks.report import Goal, Table, finish, say
from tests.benchmarks.speed_engine import LISTS, SIZES
from tests.service import KEY, ROOT, TEMPLATE, authorizer_event, list_event

HERE: Final = Path(__file__).parent

STARTS: Final = 21
"""Fresh processes of each contender."""
TURNS: Final = 31
"""Turns of each contender at each page size, of so many requests each:"""
REQUESTS: Final = 10
WAIT: Final = 5
"""Milliseconds that DynamoDB takes for each response in the ledger's column of times."""


Times = dict[str, list[float]]
"""Milliseconds of every turn, by contender."""


def main() -> None:
    is_quick = "--quick" in sys.argv
    starts, turns = (3, 3) if is_quick else (STARTS, TURNS)
    python = runtime_python() or sys.exit("Python 3.13 is needed; PYTHON=... says where it is.")
    if not (BUILT / "ListSessionsFunction").exists():
        sys.exit("Nothing is built; `make build` does it.")
    prepare(python)
    with ExitStack() as stack:
        port = stack.enter_context(engine())
        contenders = (OURS, IDIOMATIC, FLOOR, *LEDGER)
        workers = {each.name: stack.enter_context(worker(python, each, port)) for each in contenders}
        requests = compare(workers, port)
        say("measuring pages ...")
        warm = {size: measure_pages(workers, size, turns, "cpu_ms") for size in SIZES}
        ask_engine(port, wait=WAIT)
        waiting = measure_pages(workers, 20, turns, "wall_ms")
        ask_engine(port)
        say("measuring starts ...")
        start = measure_starts(python, port, (AUTHORIZE, *contenders), starts)
    sizes = {each.name: zipped(each.folders) for each in (OURS, AUTHORIZE, IDIOMATIC)}

    def ratio(times: Times) -> float:
        return statistics.median(times[OURS.name]) / statistics.median(times[IDIOMATIC.name])

    goals = [
        Goal("start-up, to the idiomatic one", 0.9, ratio(start)),
        Goal("CPU of a warm page of 100, to the idiomatic one", 0.4, ratio(warm[100])),
        Goal("CPU of a warm page of 20, to the idiomatic one", 0.65, ratio(warm[20])),
        Goal("zipped megabytes of `list_sessions` and its layers", 12, sizes[OURS.name]),
    ]
    tables = [contenders_table(warm, start, sizes, requests), ledger_table(warm, waiting, start)]
    finish("speed", goals, tables, is_complete=not is_quick)


def prepare(python: str) -> None:
    """Install the other contenders as they would be deployed: packages and handler in a folder, with bytecode."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    lock = ["--require-hashes", "--requirement", str(HERE / "requirements.txt")]
    subprocess.run([*pip, "--target", str(SCRATCH / "idiomatic"), *lock], check=True)
    (SCRATCH / "floor").mkdir()
    for name in ("idiomatic", "floor"):
        shutil.copyfile(HERE / f"{name}.py", SCRATCH / name / f"{name}.py")
    USUAL.mkdir()
    for each in LEDGER:
        (USUAL / f"{each.module}.py").write_text(each.program + "from app import handler\n")
    compiling = [python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(SCRATCH)]
    subprocess.run(compiling, check=True)
    for folder in OURS.folders:
        copy = SOURCES / folder.relative_to(ROOT)
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))


def zipped(folders: Sequence[Path]) -> float:
    """Return the megabytes of a function with its layers as they are uploaded."""
    archive = str(SCRATCH / "archive")
    return sum(Path(shutil.make_archive(archive, "zip", folder)).stat().st_size for folder in folders) / 1e6


# ---------------------------------------------------------------------------------------- processes


class Worker:
    """A contender's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.start = self._reply()

    def call(self, event: dict[str, Any], times: int = 1) -> dict[str, Any]:
        assert self._process.stdin
        print(json.dumps({"event": event, "times": times}), file=self._process.stdin, flush=True)
        return self._reply()

    def _reply(self) -> dict[str, Any]:
        assert self._process.stdout
        reply: dict[str, Any] = json.loads(self._process.stdout.readline())
        return reply


@contextmanager
def worker(python: str, contender: Contender, port: int) -> Iterator[Worker]:
    """Start a contender, which responds to one request."""
    first = authorizer_event(KEY) if contender is AUTHORIZE else whole_list(20)
    environment = {
        **TEMPLATE.function("list_sessions").environment,
        **TEMPLATE.function("authorize").environment,
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_SESSION_TOKEN": "session-token",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL_DYNAMODB": f"http://127.0.0.1:{port}",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_LAMBDA_FUNCTION_NAME": "list_sessions",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
        "LAMBDA_TASK_ROOT": "/var/task",
        "_X_AMZN_TRACE_ID": "Root=1-6561c0fa-3f9c2b1a4d5e6f708192a3b4;Parent=53995c3f42cd8ad8;Sampled=1",
        "FIRST_EVENT": json.dumps(first),
        "LANG": "C.UTF-8",
        "PATH": os.environ["PATH"],
    }
    if contender.data_path:
        environment["AWS_DATA_PATH"] = contender.data_path
    # -I: nothing on the path but the folders; -B: like Lambda's file system, takes no bytecode.
    command = [python, "-I", "-B", str(HERE / "speed_worker.py")]
    with subprocess.Popen(
        [*command, ":".join(map(str, contender.folders)), contender.module],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Worker(process)
        finally:
            assert process.stdin
            process.stdin.close()


@contextmanager
def engine() -> Iterator[int]:
    """Start the prepared DynamoDB and provide its port."""
    command = [sys.executable, "-m", "tests.benchmarks.speed_engine"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def ask_engine(port: int, wait: float = 0) -> int:
    """Make the engine wait so many milliseconds before each response; return how many requests it has served."""
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", f"/?{wait}")
    return int(json.loads(connection.getresponse().read())["served"])


def whole_list(size: int) -> dict[str, Any]:
    """Return the event for the whole list of the organization with so many sessions."""
    return list_event(f"limit={size}", {"organization_id": LISTS[size].id, "principalId": "bench"})


# ------------------------------------------------------------------------------------------ measuring


def compare(workers: Mapping[str, Worker], port: int) -> dict[str, int]:
    """Raise AssertionError unless all responses are the same; return the requests of each for a page of 100."""
    requests: dict[str, int] = {}
    for size in SIZES:
        bodies = {}
        for name, each in workers.items():
            before = ask_engine(port)
            response = each.call(whole_list(size))["response"]
            requests[name] = ask_engine(port) - before
            assert response["statusCode"] == 200, response
            bodies[name] = json.loads(response["body"])
        floor = bodies.pop(FLOOR.name)
        expected = LISTS[size].sessions(LISTS[size].keys)
        assert [each["id"]["S"] for each in floor["data"]] == [each["id"] for each in expected]
        for name, body in bodies.items():
            assert (body["data"], body["total"]) == (expected, size), f"{name}: a wrong page of {size}"
    return requests


def measure_pages(workers: Mapping[str, Worker], size: int, turns: int, unit: str) -> Times:
    """Return milliseconds of a request, of CPU or of time, in turns."""
    times: Times = {name: [] for name in workers}
    for _ in range(turns):
        for name, each in workers.items():
            each.call(whole_list(size))  # whoever comes after another one finds the caches cold
            times[name].append(each.call(whole_list(size), REQUESTS)[unit])
    return times


def measure_starts(python: str, port: int, contenders: Sequence[Contender], turns: int) -> Times:
    """Return milliseconds of CPU from a bare interpreter to the first response, in turns."""
    times: Times = {contender.name: [] for contender in contenders}
    for _ in range(turns):
        for contender in contenders:
            with worker(python, contender, port) as started:
                times[contender.name].append(started.start["cpu_ms"])
    return times


# ------------------------------------------------------------------------------------------- reporting


def contenders_table(
    warm: Mapping[int, Times], start: Times, sizes: Mapping[str, float], requests: Mapping[str, int]
) -> Table:
    """Return CPU, start and size of each contender."""

    def shown(times: Times, name: str, digits: int) -> str | None:
        if name not in times:
            return None
        low, middle, high = statistics.quantiles(times[name], n=4)
        share = middle / statistics.median(times[IDIOMATIC.name])
        return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f}); {share:.2f}"

    return Table(
        "CPU in milliseconds: median, quartiles; ratio to the idiomatic implementation",
        {"contender": "", "page of 20": "", "page of 100": "", "start-up": ""}
        | {"requests to DynamoDB": "d", "zipped, MB": ".1f"},
        [
            (
                name,
                *(shown(warm[size], name, 2) for size in SIZES),
                shown(start, name, 0),
                requests.get(name, 1),
                sizes.get(name),
            )
            for name in (OURS.name, AUTHORIZE.name, IDIOMATIC.name, FLOOR.name)
        ],
        "CPU of all threads. Start-up: a fresh process, from a bare interpreter to the first response (a page of 20; "
        "`authorize`: one key). Size: function and layers.",
    )


def ledger_table(warm: Mapping[int, Times], waiting: Times, start: Times) -> Table:
    """Return what each usual way, put back alone, takes more than the product: by the tenth percentiles."""

    def more(times: Times, name: str, digits: int) -> str:
        usual, ours = (sorted(times[each])[len(times[each]) // 10] for each in (name, OURS.name))
        return f"{usual - ours:+.{digits}f} ({(usual - ours) / ours:+.0%})"

    columns = ("here", "usual", "start-up, CPU", "page of 20, CPU", "page of 100, CPU")
    shown = ((start, 0), (warm[20], 2), (warm[100], 2), (waiting, 1))
    return Table(
        "Ledger: milliseconds more with the usual way put back, alone",
        dict.fromkeys((*columns, f"first page at {WAIT} ms a request"), ""),
        [(each.name, each.usual, *(more(times, each.name, digits) for times, digits in shown)) for each in LEDGER],
        "The fastest tenths of the turns are compared; the last row is the noise floor.",
    )


if __name__ == "__main__":
    main()
