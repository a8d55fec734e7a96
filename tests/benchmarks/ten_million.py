"""Pages of 10,000,000 sessions: all of their count rows, and those entries of the index that the pages can meet.

Ten million entries are 14 GB, more than an engine in memory can hold here. A page reads count rows and the entries of
one bin of five seconds, so the index holds only the bins of the pages that are asked for, with what lies around them.
Every page is compared with its slice of the sorted list, and so is its total. Needs about 8 GB of memory and some
minutes.
"""

from __future__ import annotations

import json
import random
import shutil
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from sessions import client as dynamodb
from sessions.contract import LIMIT_DEFAULT
from sessions.histograms import places
from sessions.paging.finder import Pages
from sessions_cli.items import item_of
from tests.benchmarks import dataset, engine, report
from tests.benchmarks.dataset import Organization
from tests.benchmarks.paging import page_request

SESSIONS: Final = 10_000_000
PAGES: Final = 2_000
AROUND: Final = 100
"""Entries on either side of what a page can meet."""


def main() -> None:
    _say(f"making {SESSIONS:,} sort keys and their count rows ...")
    (organization, *_) = dataset.generated([SESSIONS])
    rng = random.Random(dataset.SEED)
    offsets = [rng.randrange(SESSIONS) for _ in range(PAGES)]
    export = engine.BUILD / "benchmarks" / "ten_million"
    shutil.rmtree(export, ignore_errors=True)
    for table in (engine.SESSIONS_TABLE, engine.COUNTS_TABLE):
        (export / table / "data").mkdir(parents=True)
    engine.write_schema(export)
    rows = _write(
        export / engine.COUNTS_TABLE / "data" / "rows.json", dataset.count_rows(organization, of_agents=False)
    )
    entries = _write(export / engine.SESSIONS_TABLE / "data" / "entries.json", _entries(organization, offsets))
    _say(f"importing {rows:,} count rows and {entries:,} entries ...")
    with engine.running(export):
        pages = Pages(dynamodb.create_client(), engine.SESSIONS_TABLE, engine.COUNTS_TABLE)
        costs = []
        for offset in offsets:
            result = pages.page(organization.id, page_request(None, offset))
            expected = organization.sessions(organization.keys[offset : offset + LIMIT_DEFAULT])
            assert result.page["data"] == expected, f"a wrong page: {offset}"
            assert result.page["total"] == SESSIONS, f"a wrong total: {offset}"
            costs.append(result.cost)
    found = report.Table(
        f"Random pages of {SESSIONS:,} sessions, each compared with the sorted list",
        ("pages", "count rows", "most trips", "most units", "mean units", "wrong"),
        [
            (
                report.whole(PAGES),
                report.whole(rows),
                str(max(cost.round_trips for cost in costs)),
                report.units(max(cost.read_units for cost in costs)),
                report.units(statistics.mean(cost.read_units for cost in costs)),
                "0",
            )
        ],
        "All count rows of the organization; of the index, the bins of the pages and what lies around them. Limit 20.",
    )
    report.show(found)
    report.publish("ten million", [found])


def _entries(organization: Organization, offsets: Sequence[int]) -> Iterator[dict[str, Any]]:
    """What the pages at these offsets can meet: the entries of the five seconds, the page, and some on either side."""
    keys = organization.keys
    ranks: set[int] = set()
    for offset in offsets:
        first = last = offset
        of_bin = places(keys[offset])[-1]
        while first > 0 and places(keys[first - 1])[-1] == of_bin:
            first -= 1
        while last + 1 < len(keys) and places(keys[last + 1])[-1] == of_bin:
            last += 1
        ranks.update(range(max(0, first - AROUND), min(len(keys), max(last, offset + LIMIT_DEFAULT) + AROUND)))
    for rank in sorted(ranks):
        yield item_of(dataset.session(organization.id, keys[rank]))


def _write(path: Path, items: Iterator[dict[str, Any]]) -> int:
    written = 0
    with open(path, "w") as file:
        for item in items:
            file.write(json.dumps({"Item": item}) + "\n")
            written += 1
    return written


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
