"""A process of the load: calls handlers as Lambda does, checks each response, and notes what is checked afterwards.

python -m tests.proof.load_worker ours|idiomatic|write SEED REQUESTS FOLDER
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from tests.proof.load_model import (
    BUSY,
    KEY,
    ORGANIZATIONS,
    UNKNOWN_KEY,
    ListRequest,
    any_list_request,
    entry,
    first_numbers,
)

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Context(NamedTuple):
    """What Lambda passes to a handler."""

    function_name: str = "function"
    function_version: str = "1"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:eu-west-1:123456789012:function:function"
    aws_request_id: str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"


CONTEXT: Final = Context()


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def list_event(query: dict[str, str], authorizer: dict[str, Any] | None, **changes: Any) -> dict[str, Any]:
    """What the gateway hands to `list_sessions`."""
    return {
        "resource": "/v1/sessions",
        "path": "/v1/sessions",
        "httpMethod": "GET",
        "headers": {"Accept": "application/json"},
        "multiValueHeaders": {"Accept": ["application/json"]},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": {name: [value] for name, value in query.items()},
        "requestContext": {
            "requestId": "load",
            "stage": "live",
            "path": "/live/v1/sessions",
            "authorizer": authorizer,
        },
        "body": None,
        "isBase64Encoded": False,
    } | changes


def key_event(key: str) -> dict[str, Any]:
    """What the gateway hands to `authorize`."""
    return {
        "type": "REQUEST",
        "methodArn": "arn:aws:execute-api:eu-west-1:123456789012:abcdef1234/live/GET/v1/sessions",
        "resource": "/v1/sessions",
        "path": "/v1/sessions",
        "httpMethod": "GET",
        "headers": {"Authorization": key},
        "multiValueHeaders": {"Authorization": [key]},
        "requestContext": {"requestId": "load"},
    }


class Caller:
    """Requests of every kind to our handlers."""

    def __init__(self, seed: int, into: IO[str]) -> None:
        from tests.service import container

        self.list_sessions: Callable[..., Any] = container("list_sessions").handler
        self.authorize: Callable[..., Any] = container("authorize").handler
        self._chance = random.Random(seed)
        self._into = into
        self.wrong: list[str] = []
        self.statuses: dict[str, int] = {}
        self.seconds: list[float] = []
        """Of the pages."""

    def call(self) -> None:
        """One request."""
        kind = self._chance.random()
        if kind < 0.75:
            self._page()
        elif kind < 0.85:
            self._refused()
        else:
            self._key(is_live=kind < 0.93)

    def _page(self) -> None:
        request = any_list_request(self._chance)
        event = list_event(request.query, {"organization_id": request.organization})
        began = time.monotonic()
        response = self.list_sessions(event, CONTEXT)
        ended = time.monotonic()
        self.seconds.append(ended - began)
        self._count(response["statusCode"])
        if response["statusCode"] != 200:
            self.wrong.append(f"{request}: {response}")
            return
        page = json.loads(response["body"])
        numbers = [int(each["id"].removeprefix("session_"), 16) for each in page["data"]]
        expected = [entry(number, request.organization) for number in numbers]
        if page["data"] != expected or (page["offset"], page["limit"]) != (request.offset, request.limit):
            self.wrong.append(f"{request}: {page}")
        if request.agent is not None and any(each["agent_id"] != request.agent for each in page["data"]):
            self.wrong.append(f"{request}: entries of another agent")
        self._into.write(json.dumps([*request, page["total"], numbers, began, ended]) + "\n")

    def _refused(self) -> None:
        authorizer = {"organization_id": self._chance.choice(ORGANIZATIONS)}
        wrong = self._chance.choice(
            [
                {"limit": "0"},
                {"limit": "101"},
                {"offset": "-1"},
                {"agent_id": "x"},
                {"organization_id": ORGANIZATIONS[0]},
            ]
        )
        event, status = self._chance.choice(
            [
                (list_event(wrong, authorizer), 400),
                (list_event({}, None), 401),
                (list_event({}, authorizer | {"expires_at": "1"}), 401),
                (list_event({}, authorizer, multiValueHeaders={"X-Org-Id": ["org_f"]}), 403),
                (list_event({}, None, path="/v2", resource="/{proxy+}"), 404),
                (list_event({}, None, httpMethod="POST"), 405),
            ]
        )
        response = self.list_sessions(event, CONTEXT)
        self._count(response["statusCode"])
        if response["statusCode"] != status:
            self.wrong.append(f"{status} expected: {response}")

    def _key(self, *, is_live: bool) -> None:
        policy = self.authorize(key_event(KEY if is_live else UNKNOWN_KEY), CONTEXT)
        effect = policy["policyDocument"]["Statement"][0]["Effect"]
        self._count(effect)
        if effect != ("Allow" if is_live else "Deny"):
            self.wrong.append(f"{'live' if is_live else 'unknown'} key: {policy}")

    def _count(self, what: object) -> None:
        self.statuses[str(what)] = self.statuses.get(str(what), 0) + 1


def work(seed: int, requests: int, folder: Path) -> dict[str, Any]:
    """Calls our handlers so many times."""
    with (folder / f"pages-{seed}.ndjson").open("w") as into:
        caller = Caller(seed, into)
        memory = []
        began = time.monotonic()
        for number in range(requests):
            caller.call()
            if number % 1000 == 999:
                memory.append(resident())
        seconds = time.monotonic() - began
    return {
        "requests": requests,
        "seconds": seconds,
        "statuses": caller.statuses,
        "wrong": caller.wrong[:20],
        "wrongs": len(caller.wrong),
        "page_seconds": sorted(caller.seconds),
        "memory": memory,
    }


def work_idiomatic(seed: int, requests: int) -> dict[str, Any]:
    """Asks the idiomatic implementation for the same pages."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    os.environ.update(POWERTOOLS_TRACE_DISABLED="1", SESSIONS_TABLE="sessions")
    import idiomatic

    chance = random.Random(seed)
    times = []
    began = time.monotonic()
    for _ in range(requests):
        request: ListRequest = any_list_request(chance)
        event = list_event(request.query, {"organization_id": request.organization})
        event["requestContext"]["identity"] = {}
        before = time.monotonic()
        response = idiomatic.handler(event, CONTEXT)
        times.append(time.monotonic() - before)
        assert response["statusCode"] == 200, response
    return {"requests": requests, "seconds": time.monotonic() - began, "page_seconds": sorted(times)}


def write(seed: int, folder: Path) -> dict[str, Any]:
    """Creates and deletes sessions of the busy organizations, and counts them, until it is told to stop."""
    from sessions import client as dynamodb
    from sessions_cli.load import item_of
    from tests.service import container

    client = dynamodb.create_client()
    count_sessions = container("count_sessions").handler
    chance = random.Random(seed)
    there = {organization: list(first_numbers()[organization]) for organization in BUSY}
    following = 1_000_000
    sequence = 0
    written = 0
    with (folder / "writes.ndjson").open("w") as log:
        while not (folder / "stop").exists():
            records, numbers = [], []
            for _ in range(chance.randint(1, 12)):
                organization = chance.choice(list(BUSY))
                numbers_there = there[organization]
                is_new = len(numbers_there) < BUSY[organization] or chance.random() < 0.5
                if is_new:
                    number, following = following, following + 1
                else:
                    number = numbers_there.pop(chance.randrange(len(numbers_there)))
                item = item_of(entry(number, organization))
                began = time.monotonic()
                if is_new:
                    client.put_item(TableName="sessions", Item=item)
                    numbers_there.append(number)
                else:
                    client.delete_item(TableName="sessions", Key={"id": item["id"]})
                ended = time.monotonic()
                what = "put" if is_new else "delete"
                line = {"what": what, "number": number, "organization": organization, "began": began, "ended": ended}
                log.write(json.dumps(line) + "\n")
                sequence += 1
                numbers.append(number)
                image = {"NewImage" if is_new else "OldImage": item}
                stream = {"Keys": {"id": item["id"]}, "SequenceNumber": str(sequence), **image}
                records.append({"eventID": "", "eventName": "INSERT" if is_new else "REMOVE", "dynamodb": stream})
                written += 1
                time.sleep(chance.random() * 0.01)
            time.sleep(chance.random() * 0.1)
            outcome = count_sessions({"Records": records}, CONTEXT)
            assert outcome == {"batchItemFailures": []}, outcome
            log.write(json.dumps({"what": "counted", "numbers": numbers, "ended": time.monotonic()}) + "\n")
            time.sleep(chance.random() * 0.2)
    return {"writes": written}


def main(arguments: list[str]) -> None:
    kind, seed, requests, folder = arguments[0], int(arguments[1]), int(arguments[2]), Path(arguments[3])
    result = {
        "ours": lambda: work(seed, requests, folder),
        "idiomatic": lambda: work_idiomatic(seed, requests),
        "write": lambda: write(seed, folder),
    }[kind]()
    (folder / f"{kind}-{seed}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
