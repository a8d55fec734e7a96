"""The lag of counting for one busy organization, simulated with simpy.

All transactions of an organization update the same count rows, and its sessions arrive over all shards of the stream.
DynamoDB cancels a transaction that meets another one on an item, and `count_sessions` retries. No engine on one machine
behaves like that.

Packing, tries and pauses are the real ones. Published limits are constants with their source; what AWS does not publish
is an assumption. Left out: cold starts, shards that open and close, failures, and DynamoDB's burst capacity.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from collections.abc import Generator, Iterable
from math import ceil
from typing import Any, Final, NamedTuple

import simpy

from sessions.counting.packing import Transaction, pack
from sessions.counting.transitions import MarkerUpdate
from sessions.counting.writer import TRIES, backoff
from sessions.histograms import Row
from sessions.schema import IndexKeys
from tests.benchmarks import report
from tests.service import ROOT

DOCUMENT: Final = ROOT / "docs" / "counting.md"
SEED: Final = 20261123
BATCH: Final = 100
WINDOW: Final = 1.0
POLL: Final = 0.25
"""Batch size and batching window in `template.yaml`; seconds between two polls of a shard: 4 a second
('Using AWS Lambda with Amazon DynamoDB')."""

PARTITION_UNITS: Final = 1_000.0
"""Write units a second of one partition ('Best practices for designing and using partition keys effectively')."""

ACTION_UNITS: Final = 2
"""Write units of one action on an item of up to 1 kB ('Amazon DynamoDB Transactions: How it works', capacity
management), also of a transaction that conflicts, which AWS does not say."""

# Assumptions: seconds, and shares of a transaction's time.
STREAM_DELAY: Final = (0.02, 0.15)
INVOCATION: Final = 0.02
READ: Final = 0.005
TRANSACTION: Final = 0.015
JITTER: Final = (0.7, 1.3)
PREPARED: Final = (0.27, 0.33)
RELEASED: Final = 0.9
"""DynamoDB prepares all items in parallel, rejects those that another transaction has prepared, then commits or cancels
('Distributed Transactions at Scale in Amazon DynamoDB', USENIX ATC 2023)."""

_INSTANT: Final = 1e-9
Process = Generator[simpy.Event, Any, None]


class Session(NamedTuple):
    """A session to count: when it was created, and when its record can be read from the stream."""

    created: float
    readable: float
    update: MarkerUpdate


class Simulation:
    """One run: its clock, the rows that transactions hold, and what was measured."""

    def __init__(self, rate: float, agents: int, shards: int, seconds: float = 60) -> None:
        self.lags: list[float] = []
        self.tally: Counter[str] = Counter()
        random.seed(SEED)
        self._environment = simpy.Environment()
        self._held: set[Row] = set()
        self._capacity: defaultdict[str, tuple[float, float]] = defaultdict(lambda: (PARTITION_UNITS, 0.0))
        queues: list[list[Session]] = [[] for _ in range(shards)]
        for session in self._sessions(rate, agents, seconds):
            random.choice(queues).append(session)
        for queue in queues:
            self._environment.process(self._shard(deque(sorted(queue, key=lambda session: session.readable))))
        self._environment.run()
        self.lags.sort()

    @property
    def lag(self) -> float:
        """Return the 99th percentile of the lag."""
        return self.lags[ceil(0.99 * len(self.lags)) - 1]

    @property
    def cell(self) -> str:
        """Return what the table shows."""
        cancelled = self.tally["cancelled"] / self.tally["transactions"]
        return f"{self.lag:.2f} s, {cancelled:.0%}, {self.tally['write units'] / len(self.lags):.1f}"

    def _sessions(self, rate: float, agents: int, seconds: float) -> Iterable[Session]:
        created = random.expovariate(rate)
        while created < seconds:
            agent = f"org_1#agent_{random.randrange(agents)}"
            keys = IndexKeys("org_1", agent, "2026-11-23T16:41:46.463925Z")
            yield Session(created, created + random.uniform(*STREAM_DELAY), MarkerUpdate(None, keys))
            created += random.expovariate(rate)

    def _until(self, moment: float) -> simpy.Event:
        return self._environment.timeout(max(0.0, moment - self._environment.now))

    def _call(self, seconds: float) -> simpy.Event:
        return self._environment.timeout(seconds * random.uniform(*JITTER))

    def _shard(self, queue: deque[Session]) -> Process:
        """Poll a shard and invoke the function; what it does not count is delivered again before anything newer."""
        first_poll, read = random.uniform(0, POLL), deque[Session]()
        while queue or read:
            ends_at = self._environment.now + WINDOW
            while len(read) < BATCH and (not read or self._environment.now < ends_at - _INSTANT):
                after = max(self._environment.now + _INSTANT, queue[0].readable if queue and not read else 0)
                yield self._until(first_poll + ceil((after - first_poll) / POLL) * POLL)
                if not read:
                    ends_at = self._environment.now + WINDOW
                while queue and queue[0].readable <= self._environment.now:
                    read.append(queue.popleft())
            batch = {str(number): read.popleft() for number in range(min(len(read), BATCH))}
            while batch:
                yield from self._invoke(batch)

    def _invoke(self, batch: dict[str, Session]) -> Process:
        """Count a batch as `count_sessions` does; leave in it what could not be counted."""
        yield self._call(INVOCATION)
        for tries in range(TRIES):
            if tries:
                yield self._environment.timeout(backoff(tries))
            yield self._call(READ)
            for transaction in pack({key: session.update for key, session in batch.items()}):
                yield from self._transact(transaction, batch)
            if not batch:
                return

    def _transact(self, transaction: Transaction, batch: dict[str, Session]) -> Process:
        rows, began = list(transaction.rows), self._environment.now
        lasts = TRANSACTION * random.uniform(*JITTER)
        self.tally["transactions"] += 1
        held = []
        if self._takes_capacity(rows):
            self.tally["write units"] += ACTION_UNITS * (len(transaction.updates) + len(rows))
            for share, row in sorted((random.uniform(*PREPARED), row) for row in rows):
                yield self._until(began + share * lasts)
                if row not in self._held:
                    self._held.add(row)
                    held.append(row)
            yield self._until(began + RELEASED * lasts)
            self._held.difference_update(held)
        yield self._until(began + lasts)
        if len(held) < len(rows):
            self.tally["cancelled"] += 1
            return
        self.lags += [self._environment.now - batch.pop(key).created for key in transaction.updates]

    def _takes_capacity(self, rows: list[Row]) -> bool:
        """Take the write units of some rows from those left of each scope, and return whether there were enough."""
        now = self._environment.now
        for scope, number in Counter(scope for scope, _ in rows).items():
            units, since = self._capacity[scope]
            units = min(PARTITION_UNITS, units + (now - since) * PARTITION_UNITS) - ACTION_UNITS * number
            if units < 0:
                return False
            self._capacity[scope] = (units, now)
        return True


SHARDS: Final = (4, 16, 32, 64, 128)
LOADS: Final = ((10, 1), (100, 1), (500, 1), (500, 5))
"""Creations a second and agents; 500 of 1.4 kB are what one partition of an index takes."""

GOALS: Final = {32: 2.0, 64: 3.0}
"""Seconds of lag at the 99th percentile, up to so many shards."""
GOAL_LONE: Final = 1.5


def main() -> None:
    results = {(shards, each): Simulation(*each, shards) for shards in SHARDS for each in LOADS}
    lone = Simulation(1 / 30, 1, 64, seconds=60_000).lags[-1]
    goals = []
    for most, goal in GOALS.items():
        worst = max(result.lag for (shards, _), result in results.items() if shards <= most)
        goals.append(report.Goal(f"seconds of lag up to {most} shards, 99th percentile", goal, worst))
    goals.append(report.Goal("seconds of lag of a lone session", GOAL_LONE, lone))
    columns = {"shards": "d"} | {f"{rate} a second, {agents} agent{'s' * (agents > 1)}": "" for rate, agents in LOADS}
    rows = [[shards, *(results[shards, each].cell for each in LOADS)] for shards in SHARDS]
    notes = "Lag at the 99th percentile; cancelled transactions; write units of counting a session."
    table = report.Table("Lag by load and shards", columns, rows, notes)
    report.publish("simulation", f"Simulated, seed {SEED}; nothing was measured.", [table], DOCUMENT)
    report.end(goals, [table])


if __name__ == "__main__":
    main()
