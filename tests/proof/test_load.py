"""100,000 requests of every kind while sessions are created and deleted, each response checked; and how fast it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from sessions import client as dynamodb
from sessions.api_keys import hash_key
from sessions.counting.transitions import as_observed
from sessions.counting.writer import CountWriter
from sessions.schema import index_keys
from sessions_cli.load import item_of
from tests.benchmarks import engine
from tests.proof.load_model import BUSY, KEY, ORGANIZATIONS, ListRequest, entry, first_numbers, partitions
from tests.service import ROOT

REQUESTS: Final = int(os.environ.get("REQUESTS", "102000"))
IDIOMATIC_REQUESTS: Final = 200
"""It reads every session for every page, and there is nothing to check."""
WORKERS: Final = max(2, os.cpu_count() or 2)
FLAT: Final = 1.05
"""Memory after the last thousand requests, to that after the first."""

Record = Callable[[str, str], None]


def fill() -> None:
    """The sessions that there are before anybody calls, and one key."""
    client = dynamodb.create_client()
    writer = CountWriter(client, "counts")
    for organization, numbers in first_numbers().items():
        for start in range(numbers.start, numbers.stop, 100):
            items = [item_of(entry(number, organization)) for number in numbers[start - numbers.start :][:100]]
            for item in items:
                client.put_item(TableName="sessions", Item=item)
            ids = [item["id"]["S"] for item in items]
            seen = {each: as_observed(index_keys(each, item)) for each, item in zip(ids, items, strict=True)}
            assert writer.apply(seen).failed == {}
    key = {"key_hash": hash_key(KEY), "organization_id": ORGANIZATIONS[0], "name": "load"}
    client.put_item(TableName="api_keys", Item={name: {"S": value} for name, value in key.items()})


def start(kind: str, seed: int, requests: int, folder: Path, *paths: Path) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(map(str, [*paths, ROOT]))
    command = [sys.executable, "-m", "tests.proof.load_worker", kind, str(seed), str(requests), str(folder)]
    with (folder / f"{kind}-{seed}.log").open("wb") as errors:
        return subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.DEVNULL, stderr=errors
        )


def run(kind: str, requests: int, folder: Path, *paths: Path) -> list[dict[str, Any]]:
    """What several processes found while another one wrote."""
    (folder / "stop").unlink(missing_ok=True)
    writer = start("write", 99, 0, folder)
    workers = [start(kind, seed, requests // WORKERS, folder, *paths) for seed in range(WORKERS)]
    try:
        for seed, worker in enumerate(workers):
            assert worker.wait(1800) == 0, (folder / f"{kind}-{seed}.log").read_text()[-3000:]
    finally:
        (folder / "stop").touch()
        for worker in workers:
            worker.kill()
    assert writer.wait(60) == 0, (folder / "write-99.log").read_text()[-3000:]
    return [json.loads((folder / f"{kind}-{seed}.json").read_text()) for seed in range(WORKERS)]


def check_pages(folder: Path) -> tuple[int, int, list[str]]:
    """Pages that were checked, those of them that had to be exact, and what is wrong with any."""
    found = partitions(folder / "writes.ndjson")
    checked, exact, wrong = 0, 0, []
    for path in sorted(folder.glob("pages-*.ndjson")):
        for line in path.read_text().splitlines():
            organization, agent, offset, limit, total, numbers, began, ended = json.loads(line)
            partition = found[organization, agent]
            request = ListRequest(organization, agent, offset, limit)
            checked += 1
            exact += partition.unsettled(began, ended) == 0
            fault = partition.fault(request, total, numbers, began, ended)
            if fault is not None:
                wrong.append(f"{request}: {fault}")
    return checked, exact, wrong


def percentile(results: list[dict[str, Any]], share: float) -> float:
    """Milliseconds."""
    seconds = sorted(each for result in results for each in result["page_seconds"])
    return 1000 * float(seconds[min(len(seconds) - 1, int(share * len(seconds)))])


def rate(results: list[dict[str, Any]]) -> float:
    """Requests a second of all processes together."""
    return float(sum(result["requests"] / result["seconds"] for result in results))


def times(results: list[dict[str, Any]]) -> str:
    return ", ".join(f"p{share * 100:g} {percentile(results, share):.1f} ms" for share in (0.5, 0.95, 0.99))


@pytest.fixture(scope="module")
def idiomatic_packages() -> Path:
    """What the idiomatic implementation ships."""
    home = ROOT / "build" / "proof" / "idiomatic"
    if not (home / "aws_xray_sdk").exists():
        lock = ROOT / "tests" / "benchmarks" / "requirements.txt"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, "--target", str(home), "--require-hashes", "--requirement", str(lock)], check=True)
    return home


def test_every_response_under_load_is_one_that_may_be(
    tmp_path: Path, real_network: None, record: Record, idiomatic_packages: Path
) -> None:
    with engine.running():
        engine.create_tables()
        fill()
        ours = run("ours", REQUESTS, tmp_path)
        writes = json.loads((tmp_path / "write-99.json").read_text())["writes"]
        checked, exact, wrong = check_pages(tmp_path)
        idiomatic = run("idiomatic", IDIOMATIC_REQUESTS, tmp_path, idiomatic_packages)

    statuses: Counter[str] = Counter()
    for result in ours:
        statuses.update(result["statuses"])
    total = sum(result["requests"] for result in ours)
    first, last = (sum(result["memory"][end] for result in ours) / len(ours) for end in (0, -1))
    record("requests", f"{total}, by {WORKERS} processes, with {writes} sessions created and deleted beside them")
    record("statuses", ", ".join(f"{name} {number}" for name, number in sorted(statuses.items())))
    record("pages checked", f"{checked}, of which {exact} had to be exact; wrong: {len(wrong)}")
    record("memory of a process", f"{first / 1e6:.1f} MB after the first thousand, {last / 1e6:.1f} after the last")
    record("list_sessions and authorize", f"{rate(ours):.0f} requests a second; pages: {times(ours)}")
    record("idiomatic implementation", f"{rate(idiomatic):.0f} requests a second; pages: {times(idiomatic)}")

    assert [each for result in ours for each in result["wrong"]] == []
    assert wrong == []
    assert set(statuses) == {"200", "400", "401", "403", "404", "405", "Allow", "Deny"}
    assert checked == statuses["200"] > total * 0.7
    assert checked - exact > 0
    assert writes > 10 * len(BUSY)
    assert last <= first * FLAT
