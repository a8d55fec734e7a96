"""Start-up, CPU of a warm page and deployed size, as ratios to the idiomatic implementation and to the floor.

Every contender runs in processes of its own on the runtime's Python, with nothing on its path but what is
deployed, and takes turns with the others; DynamoDB is a process of prepared responses. All responses are compared
before anything is measured. `--quick` takes a few turns only and leaves `docs/` alone.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from layers.build import runtime_python
from tests.benchmarks import ledger, plot, report, speed_engine

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
BUILT: Final = ROOT / ".aws-sam" / "build"
SCRATCH: Final = ROOT / "build" / "speed"

STARTS: Final = 21
"""Fresh processes of each contender."""
ROUNDS: Final = 31
"""Turns of each contender at each page size."""
REQUESTS: Final = 10
"""Requests of one turn."""


class Contender(NamedTuple):
    """A handler, and the folders that are on its path as they would be in Lambda."""

    name: str
    module: str
    folders: tuple[Path, ...]
    variables: Mapping[str, str] = MappingProxyType({})
    """Of the environment, besides those that all contenders have."""


LAYERS: Final = (BUILT / "SessionsLayer" / "python", BUILT / "DependenciesLayer" / "python")
OURS: Final = Contender("list_sessions", "app", (BUILT / "ListSessionsFunction", *LAYERS))
AUTHORIZE: Final = Contender("authorize", "app", (BUILT / "AuthorizeFunction", *LAYERS))
IDIOMATIC: Final = Contender("idiomatic", "idiomatic", (SCRATCH / "idiomatic",))
FLOOR: Final = Contender("floor", "floor", (SCRATCH / "floor", LAYERS[1]))
ALL: Final = (OURS.name, AUTHORIZE.name, IDIOMATIC.name, FLOOR.name)


Starts = dict[str, list[float]]
"""Milliseconds of CPU of every start, by contender."""

Warm = dict[tuple[str, int], list[float]]
"""Milliseconds of CPU of a request in every turn, by contender and page size."""


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--quick", action="store_true", help="a few turns only; docs/ stays as it is")
    is_quick = given.parse_args().quick
    python = runtime_python() or sys.exit("Python 3.13 is needed; PYTHON=... says where it is.")
    if not (BUILT / "ListSessionsFunction").exists():
        sys.exit("Nothing is built; `make build` does it.")
    prepare(python)
    few = 3 if is_quick else None
    usual = usual_contenders()
    with ExitStack() as stack:
        port = stack.enter_context(engine())
        workers = {
            contender.name: stack.enter_context(worker(python, contender, port, list_event(100)))
            for contender in (OURS, IDIOMATIC, FLOOR, *usual)
        }
        requests = compare(workers, port)
        warm = measure_warm(workers, few or ROUNDS)
        starts = measure_starts(python, port, (OURS, IDIOMATIC, AUTHORIZE, FLOOR, *usual), few or STARTS)
        bare = measure_starts(python, port, (OURS, IDIOMATIC, AUTHORIZE, FLOOR), few or STARTS, bytecode=False)
        version = workers[OURS.name].start["python"]
    sizes = {contender.name: zipped(contender.folders) for contender in (OURS, AUTHORIZE, IDIOMATIC)}
    tables = [*tables_of(version, requests, warm, starts, bare, sizes), ledger_table(warm, starts, bare)]
    report.show(*tables)
    if not is_quick:
        report.publish("speed", tables)
        plot.write_bars(
            [
                ("CPU of a page of 100, milliseconds", bars(warm, (OURS.name, IDIOMATIC.name, FLOOR.name))),
                ("Start-up, milliseconds of CPU", [(name, middle(starts[name])) for name in ALL]),
            ]
        )


def prepare(python: str) -> None:
    """The contenders beside ours, as they would be deployed: packages and handler in a folder, with bytecode."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    lock = ["--require-hashes", "--requirement", str(HERE / "requirements.txt")]
    subprocess.run([*pip, "--target", str(SCRATCH / "idiomatic"), *lock], check=True)
    (SCRATCH / "floor").mkdir()
    for name in ("idiomatic", "floor"):
        shutil.copyfile(HERE / f"{name}.py", SCRATCH / name / f"{name}.py")
    ledger.write_modules(SCRATCH / "usual")
    compiling = [python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(SCRATCH)]
    subprocess.run(compiling, check=True)


def zipped(folders: Sequence[Path]) -> int:
    """Bytes of a function with its layers, as they are uploaded."""
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    file.write(path, path.relative_to(folder))
    return len(archive.getvalue())


def tables_of(
    version: str, requests: dict[str, int], warm: Warm, starts: Starts, bare: Starts, sizes: dict[str, int]
) -> list[report.Table]:
    """What is shown and published."""
    ours = OURS.name
    small, large = speed_engine.SIZES

    def start_ratio(times: Starts, name: str, other: str) -> float:
        return middle(times[name]) / middle(times[other])

    def page_ratio(size: int, other: str) -> float:
        return middle(warm[ours, size]) / middle(warm[other, size])

    goals = [
        goal("start-up, to the idiomatic one", start_ratio(starts, ours, IDIOMATIC.name), 0.6),
        goal(f"CPU of a warm page of {large}, to the idiomatic one", page_ratio(large, IDIOMATIC.name), 0.3),
        goal(f"CPU of a warm page of {small}, to the idiomatic one", page_ratio(small, IDIOMATIC.name), 0.5),
        goal("zipped megabytes of list_sessions and its layers", sizes[ours] / 1e6, 12),
    ]
    cpu = report.Table(
        f"CPU of a warm request on Python {version}, milliseconds",
        ("contender", "entries", "median", "quartiles", "to the idiomatic one", "requests to DynamoDB"),
        [
            (
                name,
                str(size),
                f"{middle(times):.2f}",
                quartiles(times, 2),
                f"{middle(times) / middle(warm[IDIOMATIC.name, size]):.2f}",
                str(requests[name]),
            )
            for (name, size), times in sorted(warm.items(), key=lambda each: (each[0][1], -middle(each[1])))
            if name in ALL
        ],
        "All threads of the process. The floor is one signed Query on a kept-alive connection, its body parsed once "
        "and written once: no total, no check, no log.",
    )
    start = report.Table(
        "Start-up, milliseconds of CPU from a bare interpreter to the first response",
        ("contender", "with bytecode", "quartiles", "to the idiomatic one", "without bytecode", "quartiles"),
        [
            (
                name,
                f"{middle(starts[name]):.0f}",
                quartiles(starts[name], 0),
                f"{start_ratio(starts, name, IDIOMATIC.name):.2f}",
                f"{middle(bare[name]):.0f}",
                quartiles(bare[name], 0),
            )
            for name in ALL
        ],
        "A fresh process each: import of the handler's module and one request for 20 entries (authorize: one key).",
    )
    size = report.Table(
        "Deployed size",
        ("contender", "zipped, MB"),
        [(name, f"{each / 1e6:.1f}") for name, each in sizes.items()],
        "Function and layers, bytecode included.",
    )
    return [report.goals_table(goals), cpu, start, size]


def ledger_table(warm: Warm, starts: Starts, bare: Starts) -> report.Table:
    """What the product would take with each usual way put back, alone."""
    small, large = speed_engine.SIZES
    rows = [
        (
            each.name,
            each.usual,
            more(starts[OURS.name], starts[each.name], 0),
            more(warm[OURS.name, small], warm[each.name, small], 2),
            more(warm[OURS.name, large], warm[each.name, large], 2),
            each.costs,
        )
        for each in ledger.LEDGER
    ]
    rows.insert(
        -1, ("bytecode", "none is shipped", more(starts[OURS.name], bare[OURS.name], 0), "", "", "`layers/build.py`")
    )
    return report.Table(
        "Ledger: the usual way put back, alone",
        ("here", "usual", "start-up", f"page of {small}", f"page of {large}", "what it costs in reading"),
        rows,
        "Milliseconds of CPU more than the product takes, and per cent of what it takes. Compared are the quickest "
        "tenths of the turns, to which other work on the machine has added least; the line of nothing shows what is "
        "left of it. The resolver's validation would also break the contract.",
    )


def more(ours: Sequence[float], usual: Sequence[float], digits: int) -> str:
    """How much more the usual way takes."""
    difference = quick(usual) - quick(ours)
    return f"{difference:+.{digits}f} ({difference / quick(ours):+.0%})"


def quick(values: Sequence[float]) -> float:
    """The tenth percentile."""
    return sorted(values)[len(values) // 10]


def goal(what: str, measured: float, most: float) -> report.Goal:
    """A figure that is to be at most so large."""
    return report.Goal(what, f"at most {most:g}", f"{measured:.2f}", measured <= most)


def bars(warm: Warm, names: Sequence[str]) -> list[tuple[str, float]]:
    return [(name, middle(warm[name, max(speed_engine.SIZES)])) for name in names]


def middle(values: Sequence[float]) -> float:
    return statistics.median(values)


def quartiles(values: Sequence[float], digits: int) -> str:
    low, _, high = statistics.quantiles(values, n=4)
    return f"{low:.{digits}f}-{high:.{digits}f}"


def usual_contenders() -> list[Contender]:
    """The product with one usual way put back, for each line of the ledger."""
    contenders = []
    for each in ledger.LEDGER:
        folders = (SCRATCH / "usual", *OURS.folders, *(IDIOMATIC.folders if each.needs_idiomatic else ()))
        variables = {"AWS_DATA_PATH": str(IDIOMATIC.folders[0] / each.data_path)} if each.data_path else {}
        contenders.append(Contender(each.name, ledger.module_name(each), folders, variables))
    return contenders


@contextmanager
def engine() -> Iterator[int]:
    """The prepared DynamoDB in a process of its own; its port."""
    with subprocess.Popen([sys.executable, speed_engine.__file__], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def environment(port: int, first_event: dict[str, Any]) -> dict[str, str]:
    """What Lambda sets, as far as the contenders look."""
    return {
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
        "POWERTOOLS_SERVICE_NAME": "list_sessions",
        "POWERTOOLS_METRICS_NAMESPACE": "Sessions",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "STACK_NAME": "sessions",
        "SESSIONS_TABLE": "sessions",
        "COUNTS_TABLE": "counts",
        "API_KEYS_TABLE": "api_keys",
        "CORS_ORIGINS": "",
        "FIRST_EVENT": json.dumps(first_event),
        "LANG": "C.UTF-8",
        "PATH": os.environ["PATH"],
    }


def list_event(limit: int) -> dict[str, Any]:
    """A REST proxy event for the whole list of the organization that has `limit` sessions."""
    return {
        "resource": "/v1/sessions",
        "path": "/v1/sessions",
        "httpMethod": "GET",
        "headers": {"Accept": "application/json", "Host": "example.execute-api.eu-west-1.amazonaws.com"},
        "multiValueHeaders": {"Accept": ["application/json"], "Host": ["example.execute-api.eu-west-1.amazonaws.com"]},
        "queryStringParameters": {"limit": str(limit)},
        "multiValueQueryStringParameters": {"limit": [str(limit)]},
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "example",
            "authorizer": {"organization_id": speed_engine.organization(limit), "principalId": "x"},
            "domainName": "example.execute-api.eu-west-1.amazonaws.com",
            "httpMethod": "GET",
            "identity": {"sourceIp": "192.0.2.1", "userAgent": "bench"},
            "path": "/live/v1/sessions",
            "protocol": "HTTP/1.1",
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "requestTimeEpoch": 1795451506463,
            "resourcePath": "/v1/sessions",
            "stage": "live",
        },
        "body": None,
        "isBase64Encoded": False,
    }


def authorize_event() -> dict[str, Any]:
    arn = "arn:aws:execute-api:eu-west-1:123456789012:example/live/GET/v1/sessions"
    return list_event(20) | {
        "type": "REQUEST",
        "methodArn": arn,
        "multiValueHeaders": {"Authorization": [speed_engine.KEY]},
    }


class Worker:
    """A contender's process, warm after its first response."""

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
def worker(
    python: str, contender: Contender, port: int, first_event: dict[str, Any], bytecode: bool = True
) -> Iterator[Worker]:
    folders = contender.folders if bytecode else [without_bytecode(folder) for folder in contender.folders]
    # -I: nothing on the path but the folders; -B: like Lambda's file system, takes no bytecode.
    command = [python, "-I", "-B", str(HERE / "speed_worker.py"), ":".join(map(str, folders)), contender.module]
    with subprocess.Popen(
        command,
        env={**environment(port, first_event), **contender.variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Worker(process)
        finally:
            process.stdin.close()  # type: ignore[union-attr]


def without_bytecode(folder: Path) -> Path:
    """A copy of the folder that has no bytecode."""
    copy = SCRATCH / "without_bytecode" / folder.relative_to(ROOT)
    if not copy.exists():
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def compare(workers: dict[str, Worker], port: int) -> dict[str, int]:
    """Asks everybody for the same pages, and ends the run if the responses differ.

    Returns:
        how many requests each made to DynamoDB for a page.
    """
    requests: dict[str, int] = {}
    for size in speed_engine.SIZES:
        bodies = {}
        for name, each in workers.items():
            before = served(port)
            response = each.call(list_event(size))["response"]
            requests[name] = served(port) - before
            assert response["statusCode"] == 200, response
            bodies[name] = json.loads(response["body"])
        floor = bodies.pop(FLOOR.name)
        assert all(body == bodies[OURS.name] for body in bodies.values()), "the responses differ"
        assert len(bodies[OURS.name]["data"]) == size
        ids = [entry["id"] for entry in bodies[OURS.name]["data"]]
        assert [entry["id"]["S"] for entry in floor["data"]] == ids
    return requests


def served(port: int) -> int:
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/")
    return int(json.loads(connection.getresponse().read())["served"])


def measure_warm(workers: dict[str, Worker], rounds: int) -> Warm:
    """Milliseconds of CPU a request, of all threads, in turns."""
    cpu: Warm = {(name, size): [] for size in speed_engine.SIZES for name in workers}
    turns = deque(workers.items())
    for _ in range(rounds):
        for size in speed_engine.SIZES:
            turns.rotate()  # who comes first after another size finds everything else's caches cold
            for name, each in turns:
                cpu[name, size].append(each.call(list_event(size), REQUESTS)["cpu_ms"])
    return cpu


def measure_starts(
    python: str, port: int, contenders: Sequence[Contender], rounds: int, *, bytecode: bool = True
) -> Starts:
    """CPU from an interpreter that is ready to the first response; in turns."""
    times: Starts = {contender.name: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            event = authorize_event() if contender is AUTHORIZE else list_event(20)
            with worker(python, contender, port, event, bytecode) as started:
                times[contender.name].append(started.start["import_ms"][1] + started.start["first_ms"][1])
    return times


if __name__ == "__main__":
    main()
