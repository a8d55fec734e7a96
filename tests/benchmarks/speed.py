"""Start-up, CPU of a warm page and deployed size, as ratios to the idiomatic implementation and to the floor.

Every contender runs in processes of its own on the runtime's Python and takes turns with the others; DynamoDB
is a process of prepared answers. All answers are compared before anything is measured.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.benchmarks import speed_engine

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
BUILT: Final = ROOT / ".aws-sam" / "build"
SCRATCH: Final = ROOT / "build" / "bench"

STARTS: Final = 11
"""Fresh processes of each contender."""
ROUNDS: Final = 15
"""Turns of each contender at each page size."""
REQUESTS: Final = 10
"""Requests of one turn."""


class Contender(NamedTuple):
    """A handler, and the folders that are on its path as they would be in Lambda."""

    name: str
    module: str
    folders: tuple[Path, ...]


LAYERS: Final = (BUILT / "SessionsLayer" / "python", BUILT / "DependenciesLayer" / "python")
OURS: Final = Contender("list_sessions", "app", (BUILT / "ListSessionsFunction", *LAYERS))
AUTHORIZE: Final = Contender("authorize", "app", (BUILT / "AuthorizeFunction", *LAYERS))
IDIOMATIC: Final = Contender("idiomatic", "idiomatic", (SCRATCH / "idiomatic",))
FLOOR: Final = Contender("floor", "floor", (SCRATCH / "floor", LAYERS[1]))


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--python", default="python3.13", help="the runtime's interpreter")
    given.add_argument("--quick", action="store_true", help="a few rounds only, to see that it works")
    options = given.parse_args()
    python = shutil.which(options.python) or sys.exit(f"{options.python} is needed; --python names another")
    with ExitStack() as stack:
        port = stack.enter_context(engine())
        workers = {
            contender.name: stack.enter_context(worker(python, contender, port, list_event(100)))
            for contender in (OURS, IDIOMATIC, FLOOR)
        }
        compare(workers, port)
        warm = measure_warm(workers, 3 if options.quick else ROUNDS)
    for (name, size), cpu in warm.items():
        print(f"{name:15} {size:4} {spread(cpu)}")
    for size in speed_engine.SIZES:
        ours = statistics.median(warm["list_sessions", size])
        for other in ("idiomatic", "floor"):
            print(size, other, round(ours / statistics.median(warm[other, size]), 3))
    with engine() as port:
        for bytecode in (True, False):
            starts = measure_starts(python, port, 3 if options.quick else STARTS, bytecode)
            for name, times in starts.items():
                print(f"{name:15} {bytecode} wall {spread([t[0] for t in times])} cpu {spread([t[1] for t in times])}")
            for name in ("list_sessions", "authorize"):
                for other in ("idiomatic", "list_sessions"):
                    r = [
                        statistics.median(t[k] for t in starts[name]) / statistics.median(t[k] for t in starts[other])
                        for k in (0, 1)
                    ]
                    print(name, other, [round(x, 3) for x in r])


def spread(values: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:8.2f} ({low:.2f}-{high:.2f}, min {min(values):.2f})"


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
    """A contender's process, warm after its first answer."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.start = self._reply()

    def answer(self, event: dict[str, Any], times: int = 1) -> dict[str, Any]:
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
        command, env=environment(port, first_event), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
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


def compare(workers: dict[str, Worker], port: int) -> None:
    """Asks everybody for the same pages, and ends the run if the answers differ."""
    for size in speed_engine.SIZES:
        bodies, requests = {}, {}
        for name, each in workers.items():
            before = served(port)
            answer = each.answer(list_event(size))["answer"]
            requests[name] = served(port) - before
            assert answer["statusCode"] == 200, answer
            bodies[name] = json.loads(answer["body"])
        assert bodies[OURS.name] == bodies[IDIOMATIC.name], "the answers differ"
        assert len(bodies[OURS.name]["data"]) == size
        ids = [entry["id"] for entry in bodies[OURS.name]["data"]]
        assert [entry["id"]["S"] for entry in bodies[FLOOR.name]["data"]] == ids
        print(f"{size} entries: the same answer from all; requests to DynamoDB: {requests}")


def served(port: int) -> int:
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/")
    return int(json.loads(connection.getresponse().read())["served"])


def measure_warm(workers: dict[str, Worker], rounds: int) -> dict[tuple[str, int], list[float]]:
    """Milliseconds of CPU a request, of all threads, in turns."""
    cpu: dict[tuple[str, int], list[float]] = {(name, size): [] for size in speed_engine.SIZES for name in workers}
    for _ in range(rounds):
        for size in speed_engine.SIZES:
            for name, each in workers.items():
                cpu[name, size].append(each.answer(list_event(size), REQUESTS)["cpu_ms"])
    return cpu


def measure_starts(python: str, port: int, rounds: int, bytecode: bool) -> dict[str, list[tuple[float, float]]]:
    """Milliseconds, wall and CPU, from an interpreter that is ready to the first answer; in turns."""
    contenders = {OURS: list_event(20), IDIOMATIC: list_event(20), AUTHORIZE: authorize_event(), FLOOR: list_event(20)}
    times: dict[str, list[tuple[float, float]]] = {contender.name: [] for contender in contenders}
    for _ in range(rounds):
        for contender, event in contenders.items():
            with worker(python, contender, port, event, bytecode) as started:
                wall, cpu = (a + b for a, b in zip(started.start["import_ms"], started.start["first_ms"], strict=True))
                times[contender.name].append((wall, cpu))
    return times


if __name__ == "__main__":
    main()
