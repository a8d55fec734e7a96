"""How far counting lags behind, and what conflicts cost: a simulation of one busy organization.

Every transaction of an organization updates the same count rows, and its sessions arrive over all shards of the
stream. DynamoDB cancels a transaction that meets another one on an item, so shards cancel each other's work, and
`count_sessions` has to try again. No engine on one machine behaves like that. This does: a discrete-event simulation,
where each shard is a Python generator that yields the seconds it waits. It sleeps no real time, and a seed makes it
repeatable.

    polls of a shard, batching window (Lambda)      `_Shard.gather`
    reading markers, transactions, pauses, tries    `_Shard.invoke`, as `count_sessions` does
    conflicts, cancelled transactions, throttling   `_Shard.transact` (DynamoDB)

Published limits are constants below, with their source. What AWS does not publish is an assumption, and a table shows
what depends on it. Left out: cold starts, shards that open and close, failures, and DynamoDB's burst and adaptive
capacity (which would only help).
"""

from __future__ import annotations

import heapq
import random
import sys
from collections import Counter, defaultdict, deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from math import ceil
from typing import Final, NamedTuple

from tests.benchmarks import report
from tests.benchmarks.engine import ROOT

DOCUMENT: Final = ROOT / "docs" / "counting.md"
SEED: Final = 20261123

# ------------------------------------------------------------------------------------ published

PARTITION_UNITS: Final = 1_000
"""Write units a second of one partition ('Best practices for designing and using partition keys effectively')."""

UNITS: Final = 2
"""Write units of one action in a transaction on an item of up to 1 kB: one to prepare it and one to commit it
('Amazon DynamoDB Transactions: How it works', capacity management). A transaction that conflicts is taken to cost as
much, which AWS does not say; one that is throttled, nothing."""

ACTIONS: Final = 100
"""Actions in one transaction ('Quotas in Amazon DynamoDB', TransactWriteItems)."""

KEYS: Final = 100
"""Keys in one BatchGetItem ('Quotas in Amazon DynamoDB', BatchGetItem)."""

POLL: Final = 0.25
"""Seconds between two polls of a shard: a base rate of 4 a second ('Using AWS Lambda with Amazon DynamoDB')."""

DEADLINE: Final = 40.0
"""Seconds after which `count_sessions` starts no further call."""


class Assumptions(NamedTuple):
    """What AWS does not publish. Times are in seconds."""

    stream_delay: tuple[float, float] = (0.02, 0.15)
    """Until a write can be read from the stream, least and most."""
    invocation: float = 0.02
    """A warm invocation apart from its calls: Lambda's own time, and the function's Python."""
    read: float = 0.005
    """A BatchGetItem."""
    transaction: float = 0.015
    """A TransactWriteItems."""
    jitter: tuple[float, float] = (0.7, 1.3)
    """What the three times above are multiplied by, each time anew: least and most."""
    prepared: tuple[float, float] = (0.27, 0.33)
    """Part of its time after which a transaction reaches an item, least and most. DynamoDB prepares all items in
    parallel, rejects those that another transaction has prepared, then commits or cancels everything ('Distributed
    Transactions at Scale in Amazon DynamoDB', USENIX ATC 2023). So two that are prepared at the same time can cancel
    each other, and no order of the actions prevents it."""
    released: float = 0.9
    """Part of its time after which it lets go of its items, carried out or cancelled."""


class Settings(NamedTuple):
    """What can be chosen: of the event source mapping, of `count_sessions`, and of the count rows."""

    window: int
    """Seconds for which a batch is gathered, in whole seconds (CreateEventSourceMapping)."""
    batch_size: int = 100
    parallelization: int = 1
    """Batches of a shard that are worked on at once, 1 to 10. Each session keeps to one of them, in order."""
    pause: float = 0.05
    """Seconds before the second try, at most: each pause is anything from none to its most."""
    pause_growth: float = 2.0
    pause_most: float = 2.0
    tries: int = 10
    delay: float = 0.0
    """Seconds before the first try, at most."""
    reads_again: bool = True
    """Whether markers are read again after a conflict. The condition on them guards either way."""
    actions: int = ACTIONS
    """Actions in one transaction, at most."""
    copies: int = 1
    """Rows that a count row is split into ('write sharding'); readers add them up."""
    spreads: bool = False
    """Whether any copy is written at once. If not, the first try takes the first copy, and others take the rest."""

    def pause_before(self, tries: int) -> float:
        """Seconds to wait at most, when `tries` have failed."""
        return min(self.pause_most, self.pause * self.pause_growth ** (tries - 1))


BEFORE: Final = Settings(window=0)
CHOSEN: Final = Settings(window=1, pause=0.05, pause_most=0.25, tries=30)
SPARE: Final = CHOSEN._replace(copies=3)
"""With two spare copies of each row, for second and later tries alone."""


class Load(NamedTuple):
    """What one organization does."""

    rate: float
    """Creations a second."""
    shards: int
    """Shards of the table's stream, which has one for each partition of the table."""
    agents: int = 1
    """Agents of the organization, created for at random; each has three count rows of its own."""


class Result(NamedTuple):
    """What became of a load."""

    sessions: int
    lags: Sequence[float]
    """Seconds from a session's creation until it was counted, shortest first."""
    transactions: int
    cancelled: int
    throttled: int
    """Those of the cancelled that a partition had no write units for."""
    write_units: float
    invocations: int
    redelivered: int
    """Invocations that could not count everything, so that Lambda delivered the rest again."""

    def lag(self, share: float) -> float:
        """The lag that this share of the sessions stays below."""
        return self.lags[min(len(self.lags) - 1, ceil(share * len(self.lags)))]

    @property
    def cancelled_share(self) -> float:
        return self.cancelled / self.transactions

    @property
    def units_each(self) -> float:
        return self.write_units / self.sessions


class Session(NamedTuple):
    """A session that is to be counted."""

    created: float
    readable: float
    """When its record can be read from the stream."""
    agent: int


class Row(NamedTuple):
    """A count row: month, day or ten minutes of a scope. All sessions of a run fall into the same ones."""

    scope: str
    level: str
    copy: int


LEVELS: Final = "MDT"

_INSTANT: Final = 1e-9
"""Seconds that make no difference but that of rounding."""

Wait = Generator[float, None, None]
"""A process: it yields the seconds that it waits."""


class Simulation:
    """One run: its clock, the items that transactions hold, and what was measured."""

    def __init__(
        self,
        load: Load,
        settings: Settings,
        sessions: Iterable[Session],
        rng: random.Random,
        assumptions: Assumptions = Assumptions(),  # noqa: B008  (immutable)
    ) -> None:
        self.load = load
        self.settings = settings
        self.assumptions = assumptions
        self.rng = rng
        self.now = 0.0
        self.held: set[Row] = set()
        """Rows that a transaction has prepared and not yet committed or released."""
        self.capacity: defaultdict[str, _Capacity] = defaultdict(_Capacity)
        self.lags: list[float] = []
        self.tally: Counter[str] = Counter()
        queues = self._queues(sessions)
        self._waiting = [(0.0, number, _Shard(self, queue).run()) for number, queue in enumerate(queues)]

    def run(self) -> Result:
        """Everything, until the last session is counted."""
        heapq.heapify(self._waiting)
        while self._waiting:
            self.now, number, process = self._waiting[0]
            if (seconds := next(process, None)) is None:
                heapq.heappop(self._waiting)
            else:
                heapq.heapreplace(self._waiting, (self.now + seconds, number, process))
        self.lags.sort()
        names = ("transactions", "cancelled", "throttled", "write_units", "invocations", "redelivered")
        return Result(len(self.lags), self.lags, **{name: self.tally[name] for name in names})

    def _queues(self, sessions: Iterable[Session]) -> list[deque[Session]]:
        """Sessions by shard, and within it by the batches that are worked on at once; their ids say where."""
        queues: list[list[Session]] = [[] for _ in range(self.load.shards * self.settings.parallelization)]
        for session in sessions:
            self.rng.choice(queues).append(session)
        return [deque(sorted(queue, key=lambda session: session.readable)) for queue in queues]

    def jittered(self, seconds: float) -> float:
        """A time as it may be this once."""
        return seconds * self.rng.uniform(*self.assumptions.jitter)


class _Capacity:
    """The write units of one partition: a second's worth, filled up as time passes.

    The rows of a scope share a partition key, so they share one of these.
    """

    def __init__(self) -> None:
        self._units = float(PARTITION_UNITS)
        self._at = 0.0

    def take(self, units: int, now: float) -> bool:
        """Whether there are that many, which are then used up."""
        self._units = min(PARTITION_UNITS, self._units + (now - self._at) * PARTITION_UNITS)
        self._at = now
        if units > self._units:
            return False
        self._units -= units
        return True


class _Shard:
    """A shard of the stream, or one of its batches at a time: Lambda's poller, and `count_sessions`."""

    def __init__(self, simulation: Simulation, queue: deque[Session]) -> None:
        self._simulation = simulation
        self._settings = simulation.settings
        self._rng = simulation.rng
        self._queue = queue
        """Sessions that were not read yet."""
        self._read: deque[Session] = deque()
        """Sessions that a poll has read."""
        self._first_poll = self._rng.uniform(0, POLL)

    def run(self) -> Wait:
        """Batch after batch; what an invocation leaves over is delivered again before anything newer."""
        while self._queue or self._read:
            yield from self.gather()
            batch = [self._read.popleft() for _ in range(min(len(self._read), self._settings.batch_size))]
            while batch:
                yield from self.invoke(batch)

    def gather(self) -> Wait:
        """Polls until there is a full batch, or the window that began with its first record is over."""
        simulation, settings = self._simulation, self._settings
        ends_at = simulation.now + settings.window
        while len(self._read) < settings.batch_size and (not self._read or simulation.now < ends_at - _INSTANT):
            nothing_until = self._queue[0].readable if self._queue and not self._read else simulation.now
            yield self._next_poll(nothing_until) - simulation.now
            if not self._read:
                ends_at = simulation.now + settings.window
            while self._queue and self._queue[0].readable <= simulation.now:
                self._read.append(self._queue.popleft())

    def _next_poll(self, after: float) -> float:
        """The first poll after now, and not before `after`: those between would find nothing."""
        polls = ceil((max(after, self._simulation.now + _INSTANT) - self._first_poll) / POLL)
        return self._first_poll + polls * POLL

    def invoke(self, batch: list[Session]) -> Wait:
        """One invocation of `count_sessions`; leaves in `batch` what could not be counted."""
        simulation, settings, rng = self._simulation, self._settings, self._rng
        simulation.tally["invocations"] += 1
        began = simulation.now
        yield simulation.jittered(simulation.assumptions.invocation) + rng.uniform(0, settings.delay)
        for tries in range(settings.tries):
            if tries:
                yield rng.uniform(0, settings.pause_before(tries))
            if simulation.now - began > DEADLINE:
                break
            if settings.reads_again or not tries:
                for _ in range(0, len(batch), KEYS):
                    yield simulation.jittered(simulation.assumptions.read)
            for sessions in packed(batch, settings.actions):
                yield from self.transact(sessions, batch, tries)
            if not batch:
                return
        simulation.tally["redelivered"] += 1

    def transact(self, sessions: Sequence[Session], batch: list[Session], tries: int) -> Wait:
        """One TransactWriteItems; takes its sessions out of `batch` if it was carried out."""
        simulation, assumptions, rng = self._simulation, self._simulation.assumptions, self._rng
        rows = rows_of(sessions, self._copy(tries))
        began, lasts = simulation.now, simulation.jittered(assumptions.transaction)
        simulation.tally["transactions"] += 1
        if not self._has_capacity(rows):
            simulation.tally["cancelled"] += 1
            simulation.tally["throttled"] += 1
            yield lasts
            return
        simulation.tally["write_units"] += UNITS * (len(sessions) + len(rows))  # cancelled or not
        held: list[Row] = []
        for reached, row in sorted((rng.uniform(*assumptions.prepared) * lasts, row) for row in rows):
            yield began + reached - simulation.now
            if row not in simulation.held:
                simulation.held.add(row)
                held.append(row)
        yield began + assumptions.released * lasts - simulation.now
        simulation.held.difference_update(held)
        yield began + lasts - simulation.now
        if len(held) < len(rows):
            simulation.tally["cancelled"] += 1
            return
        simulation.lags += [simulation.now - session.created for session in sessions]
        counted = set(sessions)
        batch[:] = [session for session in batch if session not in counted]

    def _copy(self, tries: int) -> int:
        copies = self._settings.copies
        if self._settings.spreads or copies == 1:
            return self._rng.randrange(copies)
        return self._rng.randrange(1, copies) if tries else 0

    def _has_capacity(self, rows: Iterable[Row]) -> bool:
        # A throttled scope's transaction is cancelled; what it took from the others is not given back.
        asked = Counter(row.scope for row in rows)
        return all(
            self._simulation.capacity[scope].take(UNITS * number, self._simulation.now)
            for scope, number in asked.items()
        )


def rows_of(sessions: Iterable[Session], copy: int = 0) -> list[Row]:
    """The count rows that these sessions are counted in: three of the organization, three of each agent."""
    scopes = ["organization", *sorted({f"agent {session.agent}" for session in sessions})]
    return [Row(scope, level, copy) for scope in scopes for level in LEVELS]


def packed(sessions: Sequence[Session], actions: int = ACTIONS) -> Iterator[list[Session]]:
    """Sessions in as few transactions as their order allows: an action for each marker and each row."""
    transaction: list[Session] = []
    for session in sessions:
        joined = [*transaction, session]
        if transaction and len(joined) + len(rows_of(joined)) > actions:
            yield transaction
            joined = [session]
        transaction = joined
    yield transaction


def simulate(
    load: Load,
    settings: Settings,
    seconds: float = 60,
    assumptions: Assumptions = Assumptions(),  # noqa: B008  (immutable)
) -> Result:
    """Creations at random moments for so many seconds, all beginning at once as those of a batch job do."""
    rng = random.Random(SEED)
    return Simulation(load, settings, arrivals(load, seconds, rng, assumptions), rng, assumptions).run()


def arrivals(load: Load, seconds: float, rng: random.Random, assumptions: Assumptions) -> Iterator[Session]:
    """Sessions at the load's rate, independent of each other."""
    created = rng.expovariate(load.rate)
    while created < seconds:
        yield Session(created, created + rng.uniform(*assumptions.stream_delay), rng.randrange(load.agents))
        created += rng.expovariate(load.rate)


# --------------------------------------------------------------------------------------- tables

RATES: Final = (10, 100, 500)
"""Creations a second; 500 of 1.4 kB are what one partition of an index takes."""

SHARDS: Final = (1, 2, 4, 8, 16, 32, 64, 128)

LOADS: Final = [Load(rate, shards) for rate in RATES for shards in SHARDS]

GOAL_LAGS: Final = {32: 2.0, 64: 3.0}
"""Seconds at the 99th percentile, by the most shards for which they are to hold."""

GOAL_LONE: Final = 1.5

LONE: Final = Load(rate=1 / 30, shards=64)
"""A session every half minute: each is counted alone."""

COMPARED: Final = (Load(500, 32, agents=5), Load(100, 64), Load(500, 64), Load(500, 64, agents=5))


def main() -> None:
    before, chosen, spare = ({load: simulate(load, each) for load in LOADS} for each in (BEFORE, CHOSEN, SPARE))
    lone = simulate(LONE, CHOSEN, seconds=60_000)
    goals = goals_of(chosen, lone)
    tables = [
        report.goals_table(goals),
        lag_table(before, chosen, spare),
        choices_table(),
        assumptions_table(),
    ]
    report.show(*tables)
    report.publish("simulation", tables, DOCUMENT, f"Simulated, seed {SEED}; nothing was measured.")
    if not all(goal.is_met for goal in goals):
        sys.exit("Not every goal is met.")


def goals_of(results: Mapping[Load, Result], lone: Result) -> list[report.Goal]:
    """The goals of the settings that were chosen."""
    goals = []
    for shards, goal in GOAL_LAGS.items():
        worst = max(result.lag(0.99) for load, result in results.items() if load.shards <= shards)
        what = f"lag up to {shards} shards, 99th percentile"
        goals.append(report.Goal(what, f"at most {goal:.1f} s", f"{worst:.2f} s", worst <= goal))
    most = lone.lags[-1]
    return [*goals, report.Goal("lag of a lone session, most", f"{GOAL_LONE} s", f"{most:.2f} s", most <= GOAL_LONE)]


def lag_table(*results: Mapping[Load, Result]) -> report.Table:
    """Before, as chosen, and with spare rows."""
    columns = ["a second", "shards"]
    for name in ("before", "chosen", "spare rows"):
        columns += [f"{name}: p50, s", "p99, s", "cancelled, %", "units"]
    rows = [
        [f"{load.rate:.0f}", str(load.shards), *(cell for each in results for cell in cells(each[load]))]
        for load in results[0]
    ]
    notes = (
        "Seconds from creation until counted; transactions that were cancelled; write units of counting for each "
        "session. One agent, one minute of creations that begin all at once."
    )
    return report.Table("Lag by creations a second and shards", columns, rows, notes)


def cells(result: Result) -> list[str]:
    """A result in four columns."""
    return [
        f"{result.lag(0.5):.2f}",
        f"{result.lag(0.99):.2f}",
        f"{100 * result.cancelled_share:.0f}",
        f"{result.units_each:.1f}",
    ]


CHOICES: Final = {
    "as before": BEFORE,
    "as chosen": CHOSEN,
    "chosen, no window": CHOSEN._replace(window=0),
    "chosen, window of 2 s": CHOSEN._replace(window=2),
    "chosen, pauses up to 2 s": CHOSEN._replace(pause_most=2.0),
    "chosen, pauses up to 0.1 s": CHOSEN._replace(pause_most=0.1),
    "chosen, first pause 0.1 s": CHOSEN._replace(pause=0.1),
    "chosen, 10 tries": CHOSEN._replace(tries=10),
    "chosen, markers not read again": CHOSEN._replace(reads_again=False),
    "chosen, up to 0.25 s before the first try": CHOSEN._replace(delay=0.25),
    "chosen, batches of 25": CHOSEN._replace(batch_size=25),
    "chosen, batches of 1,000": CHOSEN._replace(batch_size=1_000),
    "chosen, transactions of at most 10 actions": CHOSEN._replace(actions=10),
    "chosen, 2 batches of a shard at once": CHOSEN._replace(parallelization=2),
    "chosen, rows split in 2": CHOSEN._replace(copies=2, spreads=True),
    "chosen, rows split in 4": CHOSEN._replace(copies=4, spreads=True),
    "chosen, 1 spare row": CHOSEN._replace(copies=2),
    "chosen, 2 spare rows": SPARE,
}


def choices_table() -> report.Table:
    """What each choice buys, alone."""
    rows = []
    for name, settings in CHOICES.items():
        results = [simulate(load, settings) for load in COMPARED]
        rows.append([name, *(short(result) for result in results), str(sum(each.redelivered for each in results))])
    notes = "99th percentile of the lag in seconds, cancelled transactions, write units for each session."
    return report.Table("What each choice buys", ["settings", *map(named, COMPARED), "redelivered"], rows, notes)


VARIED: Final = {
    "as assumed": Assumptions(),
    "rows prepared at the same moment": Assumptions(prepared=(0.3, 0.3)),
    "rows prepared within 3 ms, not 1": Assumptions(prepared=(0.2, 0.4)),
    "transactions of 10 ms": Assumptions(transaction=0.010),
    "transactions of 20 ms": Assumptions(transaction=0.020),
    "invocations of 100 ms": Assumptions(invocation=0.1),
}


def assumptions_table() -> report.Table:
    """What depends on what is not published."""
    rows = [
        [name, settings_name, *(short(simulate(load, settings, 30, assumptions)) for load in COMPARED)]
        for name, assumptions in VARIED.items()
        for settings_name, settings in (("chosen", CHOSEN), ("spare rows", SPARE))
    ]
    notes = "As above; half a minute of creations."
    return report.Table("What depends on assumptions", ["assumed", "settings", *map(named, COMPARED)], rows, notes)


def named(load: Load) -> str:
    """A load in words."""
    return f"{load.rate:.0f} a second, {load.shards} shards, {load.agents} agent{'s' if load.agents > 1 else ''}"


def short(result: Result) -> str:
    """A result in one column."""
    return f"{result.lag(0.99):.2f} s, {result.cancelled_share:.0%}, {result.units_each:.1f}"


if __name__ == "__main__":
    main()
