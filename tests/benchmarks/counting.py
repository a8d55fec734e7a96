"""What counting costs: transactions, write units and time per session, through the real `count_sessions`.

Batches of stream records as Lambda would deliver them, at several sizes and in several orders; afterwards every
count row is compared with what the sessions add up to. `SESSIONS=200` measures less and leaves `docs/` alone.
"""

from __future__ import annotations

import io
import os
import random
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sessions import client as dynamodb
from sessions.counting.writer import CountWriter
from sessions.schema import marker_session_id
from sessions_cli.items import item_of
from tests.benchmarks import dataset, engine, report
from tests.benchmarks.dataset import Organization

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SESSIONS: Final = 1_000
BATCHES: Final = (1, 25, 100)
"""Records in one invocation; the event source mapping hands over 100 at most."""

TRANSACTION_UNITS: Final = 2
"""Write units of an action in a transaction on an item of up to 1 kB, as all count rows and markers are
('Amazon DynamoDB Transactions: how it works', capacity)."""

GOAL_SESSIONS: Final = 25
GOAL_TRANSACTIONS: Final = 2


class Measured(NamedTuple):
    """The costs of one order at one batch size."""

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
    """Counts what a client sends and what it is billed."""

    def __init__(self, client: DynamoDBClient) -> None:
        self.transactions = 0
        self.write_units = 0.0
        self.read_units = 0.0
        events: Any = client.meta.events  # a handler may return what takes the place of the parameters
        events.register("provide-client-params.dynamodb.*", self._ask)
        events.register("after-call.dynamodb.TransactWriteItems", self._wrote)
        events.register("after-call.dynamodb.BatchGetItem", self._read)

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
    sessions = int(os.environ.get("SESSIONS", SESSIONS))
    with engine.running():
        engine.create_tables()
        function = engine.function("count_sessions")
        client = dynamodb.create_client()
        meter = Meter(client)
        function.counts = CountWriter(client, engine.COUNTS_TABLE)
        measured = []
        for batch in BATCHES:
            for order, organization in orders(sessions, batch):
                _say(f"{order}, {batch} at a time ...")
                measured.append(measure(function.handler, meter, order, organization, batch))
                check(dynamodb.create_client(), organization)
            again = measure(function.handler, meter, "delivered again", organization, batch)
            assert again.transactions == 0
            measured.append(again)
            check(dynamodb.create_client(), organization)
    tables = [report.goals_table(goals := goals_of(measured)), table_of(measured)]
    report.show(*tables)
    if sessions == SESSIONS:
        report.publish("counting", tables)
    if not all(goal.is_met for goal in goals):
        sys.exit("Not every goal is met.")


def orders(sessions: int, batch: int) -> Iterable[tuple[str, Organization]]:
    """Sessions of an organization each, oldest first unless said otherwise."""
    rng = random.Random(dataset.SEED + batch)
    busy, *_ = dataset.generated([dataset.MINUTE_MAX * 1_000 + batch])
    first, end = busy.ranks_in(dataset.DENSE_HOUR)
    yield "one busy hour", Organization(f"org_{batch:031x}1", busy.keys[first:end][-sessions:][::-1])
    quiet, *_ = dataset.generated([sessions + batch])
    yield "two years in order", Organization(f"org_{batch:031x}2", quiet.keys[:sessions][::-1])
    wide, *_ = dataset.generated([sessions * 2 + batch])
    yield "two years shuffled", Organization(f"org_{batch:031x}3", rng.sample(wide.keys, sessions))


def measure(handler: Any, meter: Meter, order: str, organization: Organization, batch: int) -> Measured:
    """The sessions counted, batch by batch."""
    before = meter.transactions, meter.write_units, meter.read_units
    most, seconds = 0, 0.0
    for start in range(0, len(organization.keys), batch):
        event = {"Records": [record(organization.id, key) for key in organization.keys[start : start + batch]]}
        so_far = meter.transactions
        with redirect_stdout(io.StringIO()):
            began = time.perf_counter()
            outcome = handler(event, None)
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


def record(organization_id: str, key: str) -> dict[str, Any]:
    """The stream's word of a new session."""
    item = item_of(dataset.session(organization_id, key))
    return {
        "eventID": key,
        "eventName": "INSERT",
        "eventSource": "aws:dynamodb",
        "dynamodb": {"Keys": {"id": item["id"]}, "NewImage": item, "SequenceNumber": "1"},
    }


def check(client: DynamoDBClient, organization: Organization) -> None:
    """That the count rows of an organization are what its sessions add up to.

    Raises:
        AssertionError: they are not.
    """
    found = [
        row
        for page in client.get_paginator("scan").paginate(TableName=engine.COUNTS_TABLE)
        for row in page["Items"]
        if marker_session_id(row) is None and row["scope"]["S"].split("#")[0] == organization.id
    ]

    def by_row(row: Any) -> tuple[str, str]:
        return row["scope"]["S"], row["bucket"]["S"]

    assert sorted(found, key=by_row) == sorted(dataset.count_rows(organization), key=by_row), "the counts are wrong"


def goals_of(measured: Sequence[Measured]) -> list[report.Goal]:
    """The goals for counting, and whether this run met them."""
    most = max(each.most_transactions for each in measured if each.batch == GOAL_SESSIONS)
    return [
        report.Goal(
            f"transactions for {GOAL_SESSIONS} sessions of one organization",
            f"at most {GOAL_TRANSACTIONS}",
            str(most),
            most <= GOAL_TRANSACTIONS,
        ),
        report.Goal("wrong count rows", "none", "none", is_met=True),  # every row above was compared
    ]


def table_of(measured: Sequence[Measured]) -> report.Table:
    """What is shown and published."""
    return report.Table(
        "Counting",
        (
            "batch",
            "order",
            "sessions",
            "transactions",
            "most in a batch",
            "write units each",
            "read units each",
            "per s",
        ),
        [
            (
                str(each.batch),
                each.order,
                report.whole(each.sessions),
                report.whole(each.transactions),
                str(each.most_transactions),
                f"{each.write_units / each.sessions:.1f}",
                f"{each.read_units / each.sessions:.1f}",
                report.whole(each.sessions / each.seconds),
            )
            for each in measured
        ],
        "Units each: per session, on the counts table. Writing the session itself takes 6 more (1.4 kB, two indexes). "
        "Per s: sessions counted in a second by one invocation after another, as on one shard of the stream.",
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
