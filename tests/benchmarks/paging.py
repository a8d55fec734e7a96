"""What a page costs at any offset of up to 1,000,000 sessions: round trips, read units, time, and whether it is right.

Counted pages run through the list code and through the whole handler; beside them the cheapest walk there
is, in the same rounds, on the same engine. `SIZES=1000,10000` measures less and leaves `docs/` alone.
"""

from __future__ import annotations

import io
import json
import math
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sessions import client as dynamodb
from sessions.client import Cost, Reader, TimeLimit
from sessions.contract import LIMIT_DEFAULT, LIMIT_MAX, PageRequest
from sessions.paging.finder import Pages
from sessions.schema import CREATED_AT_ID, Item, Partition
from sessions_cli.items import item_bytes
from tests.benchmarks import dataset, engine, plot, report
from tests.benchmarks.dataset import Dataset, Organization

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
ROUNDS: Final = 15
WALK_ENTRIES: Final = 100_000
"""Entries up to which a list is walked in rounds as well; a longer one is walked once."""
WALKS: Final = 3
RANDOM_PAGES: Final = 4_000
CROWDED_PAGES: Final = 400
"""Random pages of each crowded minute."""
CAPACITY_CHECKS: Final = 200

WALK_PAGE: Final = 800
"""Entries a walk asks for at a time: more than the 1 MB of a cursor page holds, so it changes nothing on
DynamoDB, but the engine reads as many as were asked for before it cuts the page."""

WALKED: Final = "last page"
"""The one place that is walked to: a walk costs the same at any offset, because of the total."""

CROWDED_GOALS: Final = {10_000: (4, 90), 30_000: (5, 240)}
"""Round trips and read units of any page in a minute of so many sessions."""

READ_UNIT_BYTES: Final = 4_096
"""A Query rounds what it read up to so much, at half a unit each ('Read and write operations')."""


class PageCase(NamedTuple):
    """A page to ask for, and the entries that it must have."""

    name: str
    organization: Organization
    request: PageRequest
    total: int
    expected: list[dict[str, Any]]

    @property
    def partition(self) -> Partition:
        return Partition(self.organization.id, self.request.agent_id)


class Measured(NamedTuple):
    """A place, its cost, and the median times of its rounds in milliseconds."""

    place: PageCase
    cost: Cost
    pages_ms: float
    handler_ms: float
    walk: Cost | None
    walk_ms: float | None


def main() -> None:
    sizes = tuple(int(size) for size in os.environ.get("SIZES", "").split(",") if size) or SIZES
    data = Dataset(sizes)
    if not data.is_ready:
        _say(f"making {' + '.join(map(report.whole, sizes))} sessions, once ...")
        began = time.perf_counter()
        data.make()
        _say(f"made in {time.perf_counter() - began:.0f} s: {data.home}")
    _say("importing them into the engine ...")
    began = time.perf_counter()
    with engine.running(data.export):
        _say(f"imported in {time.perf_counter() - began:.0f} s")
        bench = _Bench(dynamodb.create_client())
        _say("comparing the engine's read units with DynamoDB's rule ...")
        bench.check_capacity(data)
        _say(f"measuring, {ROUNDS} rounds ...")
        measured = bench.measure([place for size in sizes for place in places(data.organizations[dataset.sized(size)])])
        crowded = bench.measure([crowded_place(data.organizations[dataset.crowded(each)]) for each in dataset.CROWDED])
        _say(f"asking for {RANDOM_PAGES:,} random pages of {sizes[-1]:,} sessions ...")
        pages = bench.random_pages(data.organizations[dataset.sized(sizes[-1])], dataset.DENSE_HOUR, RANDOM_PAGES)
        minutes = {
            each: bench.random_pages(data.organizations[dataset.crowded(each)], dataset.CROWDED_MINUTE, CROWDED_PAGES)
            for each in dataset.CROWDED
        }
    goals = goals_of(measured, pages, minutes)
    tables = [report.goals_table(goals), *tables_of(measured, crowded, pages, minutes)]
    report.show(*tables)
    if sizes == SIZES:
        report.publish("paging", tables)
        plot.write([_point(measured, size) for size in sizes])
    if not all(goal.is_met for goal in goals):
        sys.exit("Not every goal is met.")


def places(organization: Organization) -> list[PageCase]:
    """The offsets that are measured in one organization."""
    size = len(organization.keys)
    last = (size - 1) // LIMIT_DEFAULT * LIMIT_DEFAULT
    month = organization.ranks_in(dataset.DENSE_MONTH)
    minute = organization.ranks_in(dataset.DENSE_MINUTE)
    offsets = {
        "first page": 0,
        "a quarter": size // 4,
        "half": size // 2,
        "dense month": sum(month) // 2,
        "dense minute": sum(minute) // 2,
        "last page": last,
    }
    found = [place(name, organization, page_request(None, offset)) for name, offset in offsets.items()]
    agent_id = dataset.AGENTS[0]
    of_agent = len(organization.of_agent(agent_id))
    return [*found, place("half, one agent", organization, page_request(agent_id, of_agent // 2))]


def crowded_place(organization: Organization) -> PageCase:
    """The middle of a crowded minute."""
    first, end = organization.ranks_in(dataset.CROWDED_MINUTE)
    return place(f"middle of a minute of {end - first:,}", organization, page_request(None, (first + end) // 2))


def page_request(agent_id: str | None, offset: int, limit: int = LIMIT_DEFAULT) -> PageRequest:
    """A request whose parameters are known to be valid."""
    return PageRequest.model_construct(agent_id=agent_id, offset=offset, limit=limit)


def place(name: str, organization: Organization, request: PageRequest) -> PageCase:
    """A page, with the slice of the sorted list that it must be."""
    keys = organization.of_agent(request.agent_id)
    expected = organization.sessions(keys[request.offset : request.offset + request.limit])
    return PageCase(name, organization, request, len(keys), expected)


def walk(reader: Reader, partition: Partition, offset: int, limit: int) -> tuple[list[Item], int]:
    """The page and the total without counts, at the least that DynamoDB lets it cost.

    One pass over the index; what is not on the page is counted and not transferred.
    """
    query: dict[str, Any] = {
        "TableName": engine.SESSIONS_TABLE,
        "IndexName": partition.index.name,
        "KeyConditionExpression": f"{partition.index.partition_key} = :scope",
        "ExpressionAttributeValues": {":scope": {"S": partition.scope}},
        "ScanIndexForward": False,
    }
    items: list[Item] = []
    total = 0
    while True:
        if total < offset:
            page = reader.query(**query, Select="COUNT", Limit=min(offset - total, WALK_PAGE))
        elif len(items) < limit:
            page = reader.query(**query, Limit=limit - len(items))
            items += page["Items"]
        else:
            page = reader.query(**query, Select="COUNT", Limit=WALK_PAGE)
        total += page["Count"]
        if "LastEvaluatedKey" not in page:
            return items, total
        query["ExclusiveStartKey"] = page["LastEvaluatedKey"]


class _Bench:
    """Measures on a running engine."""

    def __init__(self, client: DynamoDBClient) -> None:
        self._client = client
        self._pages = Pages(client, engine.SESSIONS_TABLE, engine.COUNTS_TABLE)
        self._handler = engine.function("list_sessions").handler

    def check_capacity(self, data: Dataset) -> None:
        """That the engine bills a Query as DynamoDB would.

        Raises:
            AssertionError: it does not.
        """
        rng = random.Random(dataset.SEED)
        organization = data.organizations[dataset.sized(data.sizes[-1])]
        for _ in range(CAPACITY_CHECKS):
            rank, limit = rng.randrange(len(organization.keys)), rng.randrange(1, 300)
            response = self._client.query(
                TableName=engine.SESSIONS_TABLE,
                IndexName="by_organization",
                KeyConditionExpression=f"organization_id = :scope AND {CREATED_AT_ID} <= :bound",
                ExpressionAttributeValues={":scope": {"S": organization.id}, ":bound": {"S": organization.keys[rank]}},
                ScanIndexForward=False,
                Limit=limit,
                ReturnConsumedCapacity="TOTAL",
            )
            read = sum(item_bytes(item) for item in response["Items"])
            billed = response["ConsumedCapacity"]["CapacityUnits"]
            assert billed == math.ceil(read / READ_UNIT_BYTES) / 2, f"{billed} units for {read} bytes"

    def measure(self, places: Sequence[PageCase]) -> list[Measured]:
        """Every place in every round, one after another, in each way; every response is compared."""
        pages_ms: list[list[float]] = [[] for _ in places]
        handler_ms: list[list[float]] = [[] for _ in places]
        walk_ms: list[list[float]] = [[] for _ in places]
        costs: list[Cost] = [Cost(0, 0, 0.0, 0) for _ in places]
        walked: list[Cost | None] = [None for _ in places]
        for turn in range(ROUNDS):
            for number, place in enumerate(places):
                took, costs[number] = self._page(place)
                pages_ms[number].append(took)
                handler_ms[number].append(self._respond(place))
                if place.name == WALKED and turn < _walks(place):
                    took, walked[number] = self._walk(place)
                    walk_ms[number].append(took)
        return [
            Measured(
                place,
                costs[number],
                statistics.median(pages_ms[number]),
                statistics.median(handler_ms[number]),
                walked[number],
                statistics.median(walk_ms[number]) if walk_ms[number] else None,
            )
            for number, place in enumerate(places)
        ]

    def random_pages(self, organization: Organization, dense: str, number: int) -> list[tuple[PageRequest, Cost]]:
        """Pages at random: anywhere and in the densest span, of all and of one agent, at 20 and at any limit."""
        rng = random.Random(dataset.SEED)
        keys = {agent_id: organization.of_agent(agent_id) for agent_id in (None, *dataset.AGENTS)}
        ranks = {agent_id: _ranks(of_agent, dense) for agent_id, of_agent in keys.items()}
        found = []
        for _ in range(number):
            agent_id = rng.choice((None, None, None, *dataset.AGENTS))
            limit = rng.choice((LIMIT_DEFAULT, rng.randint(1, LIMIT_MAX)))
            offset = rng.choice((rng.randrange(len(keys[agent_id])), rng.randrange(*ranks[agent_id])))
            request = page_request(agent_id, offset, limit)
            expected = organization.sessions(keys[agent_id][offset : offset + limit])
            _, cost = self._page(PageCase("random", organization, request, len(keys[agent_id]), expected))
            found.append((request, cost))
        return found

    def _page(self, place: PageCase) -> tuple[float, Cost]:
        took, listed = _timed(lambda: self._pages.page(place.organization.id, place.request))
        assert listed.page == _page_of(place), f"a wrong page: {place.name}, {place.request}"
        return took, listed.cost

    def _respond(self, place: PageCase) -> float:
        event = engine.list_event(place.organization.id, place.request)
        took, response = _timed(lambda: self._handler(event, None))
        assert response["statusCode"] == 200, response["body"]
        assert json.loads(response["body"]) == _page_of(place), f"a wrong response: {place.name}, {place.request}"
        return took

    def _walk(self, place: PageCase) -> tuple[float, Cost]:
        reader = Reader(self._client, TimeLimit().reads, deadline=math.inf)
        took, (items, total) = _timed(lambda: walk(reader, place.partition, place.request.offset, place.request.limit))
        assert total == place.total
        assert [item["id"]["S"] for item in items] == [entry["id"] for entry in place.expected]
        return took, reader.cost


def goals_of(
    measured: Sequence[Measured],
    pages: Sequence[tuple[PageRequest, Cost]],
    minutes: Mapping[int, Sequence[tuple[PageRequest, Cost]]],
) -> list[report.Goal]:
    """The goals for paging, and whether this run met them."""
    usual = [cost for request, cost in pages if request.limit == LIMIT_DEFAULT]
    largest = [each for each in measured if each.place.organization is measured[-1].place.organization]
    first, last = (next(each for each in largest if each.place.name == name) for name in ("first page", "last page"))
    firsts = [each.cost for each in measured if each.place.name == "first page"]
    trips = max(cost.round_trips for cost in [*usual, *(each.cost for each in measured)])
    read_units = max(cost.read_units for cost in [*usual, *(each.cost for each in measured)])
    ratio = last.handler_ms / first.handler_ms
    of = f"{largest[0].place.total:,} sessions"
    return [
        report.Goal(f"round trips in sequence, any page of {of}", "at most 4", str(trips), trips <= 4),
        report.Goal(f"read units, any page of {of}", "at most 12", report.units(read_units), read_units <= 12),
        report.Goal(
            "first page: round trips in sequence",
            "at most 1",
            str(max(cost.round_trips for cost in firsts)),
            all(cost.round_trips == 1 for cost in firsts),
        ),
        report.Goal(
            "first page: read units",
            "at most 5",
            report.units(max(cost.read_units for cost in firsts)),
            all(cost.read_units <= 5 for cost in firsts),
        ),
        *(_crowded_goal(minute, minutes[minute], *CROWDED_GOALS[minute]) for minute in minutes),
        report.Goal("time of the last page, to the first page's", "at most 4", f"{ratio:.1f}", ratio <= 4),
        report.Goal("wrong pages", "none", "none", is_met=True),  # every response above was compared
    ]


def _crowded_goal(
    minute: int, pages: Sequence[tuple[PageRequest, Cost]], round_trips: int, read_units: int
) -> report.Goal:
    usual = [cost for request, cost in pages if request.limit == LIMIT_DEFAULT]
    trips, units = max(cost.round_trips for cost in usual), max(cost.read_units for cost in usual)
    return report.Goal(
        f"round trips and read units, any page in a minute of {minute:,}",
        f"at most {round_trips} and {read_units}",
        f"{trips} and {report.units(units)}",
        trips <= round_trips and units <= read_units,
    )


def tables_of(
    measured: Sequence[Measured],
    crowded: Sequence[Measured],
    pages: Sequence[tuple[PageRequest, Cost]],
    minutes: Mapping[int, Sequence[tuple[PageRequest, Cost]]],
) -> list[report.Table]:
    """What is shown and published."""
    columns = ("sessions", "page", "trips", "requests", "units", "entries", "list ms", "handler ms")
    counted = report.Table(
        "Counted pages",
        columns,
        [_row(each) for each in [*measured, *crowded]],
        "trips: round trips in sequence; units: read units; entries: those that DynamoDB read, count rows included; "
        "list: `Pages.page`; handler: the whole `list_sessions`. Limit 20; times are medians of interleaved rounds.",
    )
    walked = report.Table(
        "The same pages, walked",
        ("sessions", "page", "trips", "units", "ms", "units to ours", "time to ours"),
        [
            (
                report.whole(each.place.total),
                each.place.name + ("" if _walks(each.place) > 1 else " (measured once)"),
                report.whole(each.walk.round_trips),
                report.units(each.walk.read_units),
                report.milliseconds(each.walk_ms),
                f"{each.walk.read_units / each.cost.read_units:,.1f}",
                f"{each.walk_ms / each.pages_ms:,.1f}",
            )
            for each in measured
            if each.walk is not None and each.walk_ms is not None
        ],
        "The cheapest walk: one pass over the index, all but the page counted without being transferred. It costs the "
        "same at any offset, because of the total.",
    )
    drawn = {f"{len(measured[-1].place.organization.keys):,} sessions": pages}
    drawn |= {f"a minute of {minute:,}": of_minute for minute, of_minute in minutes.items()}
    limits = {
        (name, limit): [cost for request, cost in found if limit != "20" or request.limit == LIMIT_DEFAULT]
        for name, found in drawn.items()
        for limit in ("20", "1 to 100")
    }
    at_random = report.Table(
        "Random pages, each compared with the sorted list",
        ("of", "limit", "pages", "most trips", "most units", "mean units", "wrong"),
        [
            (
                name,
                limit,
                report.whole(len(costs)),
                str(max(cost.round_trips for cost in costs)),
                report.units(max(cost.read_units for cost in costs)),
                report.units(statistics.mean(cost.read_units for cost in costs)),
                "0",
            )
            for (name, limit), costs in limits.items()
        ],
    )
    return [counted, walked, at_random]


def _row(each: Measured) -> tuple[str, ...]:
    cost = each.cost
    return (
        report.whole(each.place.total),
        each.place.name,
        str(cost.round_trips),
        str(cost.requests),
        report.units(cost.read_units),
        report.whole(cost.items_read),
        report.milliseconds(each.pages_ms),
        report.milliseconds(each.handler_ms),
    )


def _point(measured: Sequence[Measured], size: int) -> plot.Point:
    here = [each for each in measured if len(each.place.organization.keys) == size]
    last = next(each for each in here if each.place.name == "last page")
    assert last.walk is not None
    assert last.walk_ms is not None
    return plot.Point(
        sessions=size,
        counted_units=max(each.cost.read_units for each in here),
        counted_ms=max(each.pages_ms for each in here),
        walked_units=last.walk.read_units,
        walked_ms=last.walk_ms,
    )


def _walks(place: PageCase) -> int:
    return WALKS if len(place.organization.keys) <= WALK_ENTRIES else 1


def _page_of(place: PageCase) -> dict[str, Any]:
    return {
        "data": place.expected,
        "total": place.total,
        "offset": place.request.offset,
        "limit": place.request.limit,
    }


def _ranks(keys: Sequence[str], prefix: str) -> tuple[int, int]:
    ranks = [rank for rank, key in enumerate(keys) if key.startswith(prefix)]
    return ranks[0], ranks[-1] + 1


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    with redirect_stdout(io.StringIO()):
        began = time.perf_counter()
        result = work()
        return (time.perf_counter() - began) * 1000, result


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
