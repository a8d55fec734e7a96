"""102,000 requests of every kind while sessions are created and deleted; each response is checked."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from itertools import chain, count
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import boto3
import pytest

from tests.benchmarks import engine
from tests.proof.load_model import (
    BUSY,
    ORGANIZATIONS,
    Life,
    ListRequest,
    any_list_request,
    first_numbers,
    partitions,
    session_number,
)
from tests.service import CONTEXT, KEY, Service, authorizer_event, item_of, list_event, load, stream_record

REQUESTS: Final = int(os.environ.get("REQUESTS", "102000"))
WORKERS: Final = max(2, os.cpu_count() or 2)
FLAT: Final = 1.05
"""Memory of a process after its last thousand requests, to that after the first."""

OWN: Final = {"organization_id": ORGANIZATIONS[-1]}
OTHERS: Final[dict[str, dict[str, Any]]] = {
    "400": list_event("organization_id=y", OWN),
    "401": list_event("", OWN | {"expires_at": "1"}),
    "403": list_event("", OWN, multiValueHeaders={"X-Org-Id": ["org_f"]}),
    "404": list_event("", None, path="/v2", resource="/{proxy+}"),
    "405": list_event("", None, httpMethod="POST"),
    "Allow": authorizer_event(KEY),
    "Deny": authorizer_event("evr_" + "unknown-" * 4),
}
"""Events that are not for a page, by what they must get."""

pytestmark = pytest.mark.long


@dataclass
class Calls:
    """What one process asked and got."""

    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    """Bytes after each thousand requests."""


def call(seed: int, requests: int, file: Path) -> Calls:
    """Call the handlers so many times, as Lambda does.

    A line of the file, in JSON, is a page: request, total, numbers of its sessions, and when it began and ended.
    """
    list_sessions, authorize = load("list_sessions").handler, load("authorize").handler
    chance, calls = random.Random(seed), Calls()

    def page() -> None:
        request = any_list_request(chance)
        made = list_event(request.query, {"organization_id": request.organization})
        began = time.monotonic()
        response = list_sessions(made, CONTEXT)
        ended = time.monotonic()
        calls.statuses[str(response["statusCode"])] += 1
        body = json.loads(response["body"])
        numbers = [int(each["id"].removeprefix("session_"), 16) for each in body.get("data", ())]
        expected = [session_number(number, request.organization) for number in numbers]
        given = body.get("data"), body.get("offset"), body.get("limit")
        if given == (expected, request.offset, request.limit):
            print(json.dumps([request, body["total"], numbers, began, ended]), file=pages)
        else:
            calls.wrong.append(f"{request}: {response}")

    def other() -> None:
        expected, made = chance.choice(list(OTHERS.items()))
        if expected in ("Allow", "Deny"):
            status = authorize(made, CONTEXT)["policyDocument"]["Statement"][0]["Effect"]
        else:
            status = str(list_sessions(made, CONTEXT)["statusCode"])
        calls.statuses[status] += 1
        if status != expected:
            calls.wrong.append(f"{status}, expected {expected}")

    # In a file, since memory is measured here.
    with open(file, "w") as pages, open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        for number in range(1, requests + 1):
            chance.choices((page, other), (3, 1))[0]()
            if number % 1000 == 0 or number == requests:
                resident = int(Path("/proc/self/statm").read_text().split()[1])
                calls.memory.append(resident * os.sysconf("SC_PAGE_SIZE"))
    return calls


def write(stop: Path) -> list[Life]:
    """Create and delete sessions of the busy organizations and count them until told to stop; return every life."""
    client, count_sessions = boto3.client("dynamodb"), load("count_sessions").handler
    chance = random.Random(99)
    lives = {
        number: Life(number, organization) for organization, numbers in first_numbers().items() for number in numbers
    }
    present = {organization: list(first_numbers()[organization]) for organization in BUSY}
    new_numbers = count(1_000_000)
    while not stop.exists():
        records, begun = [], []
        for _ in range(chance.randint(1, 12)):
            organization = chance.choice(list(BUSY))
            numbers = present[organization]
            is_new = len(numbers) < BUSY[organization] or chance.random() < 0.5
            number = next(new_numbers) if is_new else numbers.pop(chance.randrange(len(numbers)))
            item = item_of(session_number(number, organization))
            began = time.monotonic()
            if is_new:
                client.put_item(TableName="sessions", Item=item)
                numbers.append(number)
                lives[number] = Life(number, organization, put=(began, time.monotonic()))
                records.append(stream_record(1, "INSERT", new=item))
            else:
                client.delete_item(TableName="sessions", Key={"id": item["id"]})
                lives[number].deleted = began, time.monotonic()
                records.append(stream_record(1, "REMOVE", old=item))
            begun.append((number, began))
            time.sleep(chance.random() * 0.01)
        time.sleep(chance.random() * 0.1)
        assert count_sessions({"Records": records}, CONTEXT) == {"batchItemFailures": []}
        for number, began in begun:
            lives[number].changes.append((began, time.monotonic()))
        time.sleep(chance.random() * 0.2)
    return list(lives.values())


def fill(client: Any) -> None:
    """Write and count the sessions that exist before anybody calls, and one key."""
    count_sessions = load("count_sessions").handler
    for organization, numbers in first_numbers().items():
        items = [item_of(session_number(number, organization)) for number in numbers]
        for item in items:
            client.put_item(TableName="sessions", Item=item)
        for start in range(0, len(items), 100):
            records = [stream_record(1, "INSERT", new=item) for item in items[start : start + 100]]
            assert count_sessions({"Records": records}, CONTEXT) == {"batchItemFailures": []}
    Service(client).issue()


def test_every_response_under_load_may_be_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stop, files = tmp_path / "stop", [tmp_path / f"pages-{seed}" for seed in range(WORKERS)]
    with engine.running() as client, ProcessPoolExecutor(WORKERS + 1, get_context("spawn")) as pool:
        fill(client)
        writing = pool.submit(write, stop)
        calling = [pool.submit(call, seed, REQUESTS // WORKERS, file) for seed, file in enumerate(files)]
        try:
            done = [each.result() for each in calling]
        finally:
            stop.touch()
        lives = writing.result()
    found = partitions(lives)
    statuses: Counter[str] = sum((each.statuses for each in done), Counter())
    wrong = [each for calls in done for each in calls.wrong]
    exact = 0
    for line in chain.from_iterable(file.read_text().splitlines() for file in files):
        asked, *answer, began, ended = json.loads(line)
        request = ListRequest(*asked)
        partition = found[request.organization, request.agent]
        exact += partition.unsettled(began, ended) == 0
        fault = partition.fault(request, *answer, began, ended)
        wrong += [] if fault is None else [f"{request}: {fault}"]
    writes = sum(len(life.changes) for life in lives)
    first, last = (sum(each.memory[end] for each in done) / WORKERS / 1e6 for end in (0, -1))
    with capsys.disabled():
        print(f"\n{sum(statuses.values()):,} requests by {WORKERS} processes; {writes:,} writes beside them")
        print(", ".join(f"{name}: {number:,}" for name, number in sorted(statuses.items())))
        print(f"{statuses['200']:,} pages, of which {exact:,} had to be exact; wrong: {len(wrong)}")
        print(f"memory of a process: {first:.1f} MB after the first thousand requests, {last:.1f} MB after the last")
    assert wrong == []
    assert set(statuses) == {"200", *OTHERS}
    assert 0 < exact < statuses["200"]
    assert writes > 10 * len(BUSY)
    assert last <= first * FLAT
