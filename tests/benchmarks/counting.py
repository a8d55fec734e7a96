"""Transactions, write units and time to count a session, through the real `count_sessions`.

Batches of stream records as Lambda delivers them, of several sizes and in several orders; afterwards every count row is
compared with the sessions. `make bench` writes the figures into docs/benchmarks.md; `--quick` counts fewer sessions and
writes nothing.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any, Final, NamedTuple

from tests.benchmarks import dataset, engine
from tests.benchmarks.dataset import Organization
from tests.benchmarks.report import Goal, Table, finish, say
from tests.counting.rows import expected, numbers
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
    """The cost of one order at one batch size; units are those of a session."""

    batch: int
    order: str
    transactions: int
    most_transactions: int
    """In one invocation."""
    write_units: float
    read_units: float
    sessions_per_second: float


class Meter:
    """Counts the transactions of a client and the units that they are billed."""

    def __init__(self, client: Any) -> None:
        self.tally: Counter[str] = Counter()
        client.meta.events.register("provide-client-params.dynamodb.*", self._ask)
        client.meta.events.register("after-call.dynamodb.TransactWriteItems", self._wrote)
        client.meta.events.register("after-call.dynamodb.BatchGetItem", self._read)

    def _ask(self, params: dict[str, Any], **_: Any) -> dict[str, Any]:
        self._actions = len(params.get("TransactItems", ()))
        return params | {"ReturnConsumedCapacity": "TOTAL"}

    def _wrote(self, parsed: dict[str, Any], **_: Any) -> None:
        billed = sum(each["CapacityUnits"] for each in parsed["ConsumedCapacity"])
        assert billed == self._actions * TRANSACTION_UNITS, f"{billed} units for {self._actions} actions"
        self.tally.update({"transactions": 1, "write units": billed})

    def _read(self, parsed: dict[str, Any], **_: Any) -> None:
        self.tally["read units"] += sum(each["CapacityUnits"] for each in parsed["ConsumedCapacity"])


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
    table = Table(
        "Counting; per session: write units and read units on the counts table",
        {"batch": "d", "order": "", "transactions": ",d", "most in a batch": "d"}
        | {"write units": ".1f", "read units": ".1f", "sessions per second": ",.0f"},
        measured,
        f"{sessions:,} sessions each; afterwards no count row was wrong. One invocation follows another, as on one "
        "shard of the stream.",
    )
    finish("counting", goals_of(measured), [table], is_complete=not is_quick)


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
    meter.tally.clear()
    most, seconds = 0, 0.0
    for start in range(0, len(organization.keys), batch):
        items = [item_of(each) for each in organization.sessions(organization.keys[start : start + batch])]
        event = {"Records": [stream_record(number, "INSERT", new=item) for number, item in enumerate(items)]}
        before = meter.tally["transactions"]
        with redirect_stdout(StringIO()):
            began = time.perf_counter()
            outcome = handler(event, CONTEXT)
            seconds += time.perf_counter() - began
        assert outcome == {"batchItemFailures": []}
        most = max(most, meter.tally["transactions"] - before)
    tally, sessions = meter.tally, len(organization.keys)
    units = tally["write units"] / sessions, tally["read units"] / sessions
    return Measured(batch, order, tally["transactions"], most, *units, sessions / seconds)


def check(client: Any, organization: Organization) -> None:
    """Raise AssertionError unless the count rows of an organization agree with its sessions."""
    found = {place: number for place, number in numbers(client).items() if place[0].startswith(organization.id)}
    assert found == expected(organization.sessions(organization.keys)), "the counts are wrong"


def goals_of(measured: Sequence[Measured]) -> list[Goal]:
    """Return the goals for counting."""
    units = {each.batch: each.write_units for each in measured if each.order == BUSY}
    most = max(each.most_transactions for each in measured if each.batch == 25)
    return [
        Goal("write units to count a lone session", 10, units[1]),
        Goal("write units to count a session in a batch of 25 of a busy hour", 3, units[25]),
        Goal("transactions for 25 sessions", 2, most),
    ]


if __name__ == "__main__":
    main()
