"""Transactions, write units and time to count a session, through the real `count_sessions`.

Batches of stream records as Lambda delivers them, of several sizes and in several orders; afterwards every count row is
compared with the sessions. `make bench` writes the figures into docs/benchmarks.md; `--quick` counts fewer sessions and
writes nothing.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any, Final, NamedTuple

from sessions.schema import marker_session_id
from tests.benchmarks import dataset, engine
from tests.benchmarks.dataset import Organization
from tests.benchmarks.report import Goal, Table, finish, say, whole
from tests.service import CONTEXT, item_of, load, stream_record

SESSIONS: Final = 1_000
BATCHES: Final = (1, 25, 100)
"""Records in one invocation; the event source mapping hands over 100 at most."""

TRANSACTION_UNITS: Final = 2
"""Write units of an action in a transaction on an item of up to 1 kB, as all count rows and markers are ('Amazon
DynamoDB Transactions: how it works', capacity)."""

BUSY: Final = "one busy hour"
AGAIN: Final = "delivered again"


class Measured(NamedTuple):
    """The cost of one order at one batch size."""

    order: str
    batch: int
    sessions: int
    transactions: int
    most_transactions: int
    """In one invocation."""
    write_units: float
    read_units: float
    seconds: float


class Meter:
    """Counts the transactions of a client and the units that they are billed."""

    def __init__(self, client: Any) -> None:
        self.transactions = 0
        self.write_units = 0.0
        self.read_units = 0.0
        client.meta.events.register("provide-client-params.dynamodb.*", self._ask)
        client.meta.events.register("after-call.dynamodb.TransactWriteItems", self._wrote)
        client.meta.events.register("after-call.dynamodb.BatchGetItem", self._read)

    def _ask(self, params: dict[str, Any], **_: Any) -> dict[str, Any]:
        self._actions = len(params.get("TransactItems", ()))
        return params | {"ReturnConsumedCapacity": "TOTAL"}

    def _wrote(self, parsed: dict[str, Any], **_: Any) -> None:
        billed = sum(each["CapacityUnits"] for each in parsed["ConsumedCapacity"])
        assert billed == self._actions * TRANSACTION_UNITS, f"{billed} units for {self._actions} actions"
        self.transactions += 1
        self.write_units += billed

    def _read(self, parsed: dict[str, Any], **_: Any) -> None:
        self.read_units += sum(each["CapacityUnits"] for each in parsed["ConsumedCapacity"])


def main() -> None:
    is_quick = "--quick" in sys.argv
    sessions = SESSIONS // 10 if is_quick else SESSIONS
    with engine.running() as client:
        function = load("count_sessions")
        meter = Meter(function.counts._dynamodb)
        measured = []
        for batch in BATCHES:
            for order, organization in orders(sessions, batch):
                say(f"{order}, {batch} at a time ...")
                measured.append(measure(function.handler, meter, order, organization, batch))
                check(client, organization)
            again = measure(function.handler, meter, AGAIN, organization, batch)
            assert again.transactions == 0
            measured.append(again)
            check(client, organization)
    finish("counting", goals_of(measured), [table_of(measured)], is_complete=not is_quick)


def orders(sessions: int, batch: int) -> Iterator[tuple[str, Organization]]:
    """Yield an organization for each order of arrival."""
    rng = random.Random(dataset.SEED + batch)
    busy = dataset.spread(int(1.05 * sessions / dataset.DENSE_HOUR_SHARE) + batch).keys
    start, end = dataset.ranks_in(busy, dataset.DENSE_HOUR)
    yield BUSY, Organization(f"org_{batch:031x}1", busy[start:end][-sessions:][::-1])
    quiet = dataset.spread(sessions + batch).keys
    yield "two years in order", Organization(f"org_{batch:031x}2", quiet[:sessions][::-1])
    others = dataset.spread(2 * sessions + batch).keys
    yield "two years shuffled", Organization(f"org_{batch:031x}3", rng.sample(others, sessions))


def measure(handler: Any, meter: Meter, order: str, organization: Organization, batch: int) -> Measured:
    """Count the sessions batch by batch."""
    before = meter.transactions, meter.write_units, meter.read_units
    most, seconds = 0, 0.0
    for start in range(0, len(organization.keys), batch):
        items = [item_of(each) for each in organization.sessions(organization.keys[start : start + batch])]
        event = {"Records": [stream_record(number, "INSERT", new=item) for number, item in enumerate(items)]}
        so_far = meter.transactions
        with redirect_stdout(StringIO()):
            began = time.perf_counter()
            outcome = handler(event, CONTEXT)
            seconds += time.perf_counter() - began
        assert outcome == {"batchItemFailures": []}
        most = max(most, meter.transactions - so_far)
    return Measured(
        order,
        batch,
        len(organization.keys),
        meter.transactions - before[0],
        most,
        meter.write_units - before[1],
        meter.read_units - before[2],
        seconds,
    )


def check(client: Any, organization: Organization) -> None:
    """Raise AssertionError unless the count rows of an organization agree with its sessions."""
    found = [
        row
        for page in client.get_paginator("scan").paginate(TableName="counts")
        for row in page["Items"]
        if marker_session_id(row) is None and row["scope"]["S"].split("#")[0] == organization.id
    ]

    def by_row(row: Any) -> tuple[str, str]:
        return row["scope"]["S"], row["bucket"]["S"]

    assert sorted(found, key=by_row) == sorted(dataset.count_rows(organization), key=by_row), "the counts are wrong"


def goals_of(measured: Sequence[Measured]) -> list[Goal]:
    """Return the goals for counting."""

    def units(batch: int) -> float:
        return max(each.write_units / each.sessions for each in measured if (each.batch, each.order) == (batch, BUSY))

    return [
        Goal("write units to count a lone session", 10, units(1)),
        Goal("write units to count a session in a batch of 25 of a busy hour", 3, units(25)),
        Goal("transactions for 25 sessions", 2, max(each.most_transactions for each in measured if each.batch == 25)),
    ]


def table_of(measured: Sequence[Measured]) -> Table:
    """Return the table for the document."""
    return Table(
        "Counting; per session: write units and read units on the counts table",
        ("batch", "order", "transactions", "most in a batch", "write units", "read units", "sessions per second"),
        [
            (
                str(each.batch),
                each.order,
                whole(each.transactions),
                str(each.most_transactions),
                f"{each.write_units / each.sessions:.1f}",
                f"{each.read_units / each.sessions:.1f}",
                whole(each.sessions / each.seconds),
            )
            for each in measured
        ],
        f"{whole(measured[0].sessions)} sessions each; afterwards no count row was wrong. One invocation follows "
        "another, as on one shard of the stream.",
    )


if __name__ == "__main__":
    main()
