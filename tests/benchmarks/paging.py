"""Round trips, read units and time of a page at any offset, through the whole handler; each page is checked.

Lists of up to 100,000 sessions and the crowded minutes are in the engine as a whole. Of longer lists it has all count
rows and, since 10,000,000 sessions are 14 GB, those sessions that the pages can meet. `make bench` writes the figures
into docs/benchmarks.md; `--quick` asks for fewer pages of shorter lists and writes nothing.
"""

from __future__ import annotations

import io
import json
import math
import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any, Final, NamedTuple

from sessions.contract import LIMIT_DEFAULT, LIMIT_MAX
from sessions.paging.finder import SCAN_MAX
from sessions.schema import CREATED_AT_ID, Partition
from tests.benchmarks import dataset, engine, plot
from tests.benchmarks.dataset import Organization, agent_of
from tests.benchmarks.report import Goal, Table, finish, say
from tests.service import CONTEXT, item_of, list_event, load

ROUNDS: Final = 15
WALK_PAGE: Final = 800
"""Sessions that a walk asks for at a time: more than the 1 MB of a Query response holds, so it changes nothing on
DynamoDB, but the engine reads as many as were asked for before it cuts the response."""

READ_UNIT_BYTES: Final = 4_096
"""A Query rounds what it read up to so much, at half a unit each ('DynamoDB read and write operations')."""


class ListCase(NamedTuple):
    """One organization whose pages are asked for."""

    name: str
    make: Callable[[], Organization]
    pages: int
    """Pages at random offsets."""
    span: str
    """Half of the random offsets lie in this span."""
    most: tuple[int, float]
    """Goal: round trips and read units of any page of 20."""
    is_whole: bool = False
    """Whether the engine has every session of the list."""
    has_agents: bool = True


def cases(*, is_quick: bool) -> list[ListCase]:
    """Return the lists to measure."""
    spread, crowded, hour, minute = dataset.spread, dataset.crowded, dataset.DENSE_HOUR, dataset.CROWDED_MINUTE
    small = [
        *(ListCase(f"{size:,}", partial(spread, size), 200, hour, (3, 20), True) for size in (1_000, 10_000)),
        ListCase("a minute of 10,000", partial(crowded, 10_000), 400, minute, (3, 95), True),
        ListCase("a minute of 30,000", partial(crowded, 30_000), 400, minute, (4, 240), True),
    ]
    if is_quick:
        return [each._replace(pages=each.pages // 20) for each in small]
    return [
        *small,
        ListCase("a day of 400 a minute", dataset.busy_day, 200, dataset.BUSY_DAY, (3, 26)),
        ListCase("100,000", partial(spread, 100_000), 400, hour, (3, 20), True),
        ListCase("1,000,000", partial(spread, 1_000_000), 1_000, hour, (3, 20)),
        ListCase("10,000,000", partial(spread, 10_000_000), 1_000, hour, (3, 20), has_agents=False),
    ]


class Page(NamedTuple):
    """A page to ask for, and the response that it must get."""

    name: str
    organization_id: str
    agent_id: str | None
    offset: int
    limit: int
    total: int
    nearby: Sequence[str]
    """Sort keys of the sessions that the page can meet."""
    keys: Sequence[str]
    """Sort keys of its own sessions."""


class Cost(NamedTuple):
    """The cost of a page by the function's own log line."""

    round_trips: int
    requests: int
    read_units: float
    items: int
    milliseconds: float


class Measured(NamedTuple):
    """A list with the costs of its pages."""

    case: ListCase
    total: int
    places: list[tuple[str, Cost]]
    """Costs of the pages at named places."""
    pages: list[tuple[int, Cost]]
    """Limits and costs of the pages at random offsets."""
    walk: tuple[int, float, float] | None
    """Round trips, read units and milliseconds of a page by walking."""

    @property
    def of_20(self) -> list[Cost]:
        """Return the costs of the pages of 20."""
        return [cost for _, cost in self.places] + [cost for limit, cost in self.pages if limit == LIMIT_DEFAULT]


def main() -> None:
    is_quick = "--quick" in sys.argv
    export = engine.BUILD / "benchmarks"
    shutil.rmtree(export, ignore_errors=True)
    lists = cases(is_quick=is_quick)
    with Pool(2) as pool:  # the longest list first; its ten million sort keys take 2 GB
        asked = pool.map(partial(prepare, export), lists[::-1], chunksize=1)[::-1]
    say("importing ...")
    with engine.running(export) as client:
        check_read_units(client, asked[0][0][0].organization_id)
        handler = load("list_sessions").handler
        measured = [
            measure(client, handler, case, *pages, rounds=2 if is_quick else ROUNDS)
            for case, pages in zip(lists, asked, strict=True)
        ]
    if not is_quick:
        plot.write(
            [
                (each.total, max(cost.read_units for cost in each.of_20), each.walk and each.walk[1])
                for each in measured
                if each.case.name == f"{each.total:,}"
            ]
        )
    finish("paging", goals_of(measured), tables_of(measured), is_complete=not is_quick)


def prepare(export: Path, case: ListCase) -> tuple[list[Page], list[Page]]:
    """Write a list for the engine, and return the named and the random pages to ask for."""
    say(f"making the list: {case.name} ...")
    organization = case.make()
    rng = random.Random(dataset.SEED)
    keys: dict[str | None, Sequence[str]] = {None: organization.keys}
    if case.has_agents:
        keys |= {agent: [key for key in organization.keys if agent_of(key) == agent] for agent in dataset.AGENTS}
    spans = {agent_id: dataset.ranks_in(of_agent, case.span) for agent_id, of_agent in keys.items()}

    def page(name: str, agent_id: str | None, offset: int, limit: int = LIMIT_DEFAULT) -> Page:
        here = keys[agent_id]
        nearby = () if case.is_whole else dataset.surroundings(here, offset, limit, SCAN_MAX + limit)
        return Page(name, organization.id, agent_id, offset, limit, len(here), nearby, here[offset : offset + limit])

    size, (start, end) = len(organization.keys), spans[None]
    offsets = {
        "first page": 0,
        "half": size // 2,
        "densest span": (start + end) // 2,
        "last page": (size - 1) // 20 * 20,
    }
    places = [page(name, None, offset) for name, offset in offsets.items()]
    pages = []
    for _ in range(case.pages):
        agent_id = rng.choice((None, None, None, *list(keys)[1:]))
        limit = rng.choice((LIMIT_DEFAULT, LIMIT_DEFAULT, rng.randint(1, LIMIT_MAX)))
        first, last = spans[agent_id]
        is_inside = last > first and rng.random() < 0.5
        offset = rng.randrange(first, last) if is_inside else rng.randrange(len(keys[agent_id]))
        pages.append(page("random", agent_id, offset, limit))

    def items() -> Iterator[dict[str, Any]]:
        # Oldest first, as sessions come: the engine then adds at the end of its trees.
        needed = set(organization.keys if case.is_whole else [key for each in (*places, *pages) for key in each.nearby])
        for key in sorted(needed):
            yield item_of(dataset.session_at(organization.id, key))

    engine.write_export(export, organization.id, "sessions", items())
    rows = dataset.count_rows(organization, of_agents=case.has_agents)
    engine.write_export(export, organization.id, "counts", rows)
    return places, pages


def query_of(partition: Partition) -> dict[str, Any]:
    """Return a query of a partition's sessions, newest first."""
    return {
        "TableName": "sessions",
        "IndexName": partition.index.name,
        "KeyConditionExpression": f"{partition.index.partition_key} = :scope",
        "ExpressionAttributeValues": {":scope": {"S": partition.scope}},
        "ScanIndexForward": False,
        "ReturnConsumedCapacity": "TOTAL",
    }


def check_read_units(client: Any, organization_id: str) -> None:
    """Raise AssertionError unless the engine bills queries of 1 to 200 sessions as DynamoDB does."""
    for limit in range(1, 201):
        response = client.query(**query_of(Partition(organization_id, None)), Limit=limit)
        read = sum(item_bytes(item) for item in response["Items"])
        billed = response["ConsumedCapacity"]["CapacityUnits"]
        assert billed == math.ceil(read / READ_UNIT_BYTES) / 2, f"{billed} units for {read} bytes"


def measure(
    client: Any, handler: Callable[..., Any], case: ListCase, places: list[Page], pages: list[Page], rounds: int
) -> Measured:
    """Ask for every page of a list; time the named ones in interleaved rounds."""
    say(f"asking for {len(pages):,} random pages: {case.name} ...")
    turns = [[ask(handler, place) for place in places] for _ in range(rounds)]
    costs = [
        turn[-1]._replace(milliseconds=statistics.median(cost.milliseconds for cost in turn))
        for turn in zip(*turns, strict=True)
    ]
    total = places[0].total
    is_walked = case.is_whole and case.name == f"{total:,}"
    return Measured(
        case,
        total,
        [(place.name, cost) for place, cost in zip(places, costs, strict=True)],
        [(page.limit, ask(handler, page)) for page in pages],
        walk(client, Partition(places[0].organization_id, None), places[-1]) if is_walked else None,
    )


def ask(handler: Callable[..., Any], page: Page) -> Cost:
    """Return the cost of a page, which must be the slice of the sorted list."""
    query = f"offset={page.offset}&limit={page.limit}&agent_id={page.agent_id or ''}"
    made = list_event(query, {"organization_id": page.organization_id})
    log = io.StringIO()
    with redirect_stdout(log):
        began = time.perf_counter()
        response = handler(made, CONTEXT)
        took = time.perf_counter() - began
    data = [dataset.session_at(page.organization_id, key) for key in page.keys]
    expected = {"data": data, "total": page.total, "offset": page.offset, "limit": page.limit}
    assert json.loads(response["body"]) == expected, f"a wrong page: {page._replace(nearby=(), keys=())}"
    line = json.loads(log.getvalue().splitlines()[-1])
    trips, units, items = (line[name][0] for name in ("RoundTrips", "ReadUnits", "ItemsRead"))
    return Cost(int(trips), line["requests"], units, int(items), took * 1000)


def walk(client: Any, partition: Partition, page: Page) -> tuple[int, float, float]:
    """Return round trips, read units and milliseconds of a last page without counts, at the least that DynamoDB allows.

    One pass over the index; what is not on the page is counted and not transferred.
    """
    query = query_of(partition)
    items: list[Any] = []
    total, trips, units = 0, 0, 0.0
    began = time.perf_counter()
    while trips == 0 or query["ExclusiveStartKey"] is not None:
        ahead = page.offset - total
        part = {"Select": "COUNT", "Limit": min(ahead, WALK_PAGE)} if ahead > 0 else {"Limit": page.limit}
        response = client.query(**query, **part)
        items += response.get("Items", ())
        total += response["Count"]
        trips += 1
        units += response["ConsumedCapacity"]["CapacityUnits"]
        query["ExclusiveStartKey"] = response.get("LastEvaluatedKey")
    took = time.perf_counter() - began
    assert (total, [item[CREATED_AT_ID]["S"] for item in items]) == (page.total, list(page.keys))
    return trips, units, took * 1000


def item_bytes(item: dict[str, Any]) -> int:
    """Return the size of an item ('DynamoDB item sizes and formats')."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(stored: dict[str, Any]) -> int:
    ((kind, value),) = stored.items()
    match kind:
        case "S":
            return len(value.encode())
        case "N":
            return 1 + (len(value.strip("0")) + 1) // 2
        case "L":
            return 3 + sum(1 + _value_bytes(each) for each in value)
        case "M":
            return 3 + len(value) + item_bytes(value)
        case _:
            return 1


def goals_of(measured: Sequence[Measured]) -> list[Goal]:
    """Return the goals for paging."""
    firsts = [cost for each in measured for name, cost in each.places if name == "first page"]
    goals = [
        Goal("first page, round trips in sequence", 1, max(cost.round_trips for cost in firsts)),
        Goal("first page, read units", 5, max(cost.read_units for cost in firsts)),
    ]
    for each in measured:
        trips, units = each.case.most
        name = f"any page, {each.case.name}"
        goals.append(Goal(f"{name}: round trips", trips, max(cost.round_trips for cost in each.of_20)))
        goals.append(Goal(f"{name}: read units", units, max(cost.read_units for cost in each.of_20)))
    return goals


def tables_of(measured: Sequence[Measured]) -> list[Table]:
    """Return the tables for the document."""
    places = Table(
        "Pages of 20",
        {"list": "", "page": ""}
        | {"round trips": "d", "requests": "d", "read units": ".1f", "items read": "d", "ms": ".1f"},
        [(each.case.name, name, *cost) for each in measured for name, cost in each.places],
        "Items read: those that DynamoDB read, count rows included. Ms: median time of the whole handler.",
    )
    rows = []
    for each in measured:
        for limit, costs in (("20", each.of_20), ("1 to 100", [cost for _, cost in each.pages])):
            units = [cost.read_units for cost in costs]
            trips = max(cost.round_trips for cost in costs)
            rows.append((each.case.name, limit, len(costs), trips, max(units), statistics.mean(units), 0))
    pages = Table(
        "Pages at random offsets, each compared with the sorted list",
        {"list": "", "limit": "", "pages": ",d", "most round trips": "d"}
        | {"most read units": ".1f", "mean read units": ".1f", "wrong": "d"},
        rows,
    )
    walks = Table(
        "The last page, walked",
        {"list": ",d", "round trips": "d", "read units": ",.0f", "ms": ",.0f"},
        [(each.total, *each.walk) for each in measured if each.walk is not None],
    )
    return [places, pages, walks]


if __name__ == "__main__":
    main()
