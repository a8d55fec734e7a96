"""The sessions of the benchmarks: two bursty years of one organization, at every size that is measured.

Each organization has entries of about 1.4 kB from five agents. Three tenths of them fall into one month and
a fortieth into one hour of it, with 400 in each of its minutes until they are used up. Two more organizations
have 10,000 and 30,000 in a single minute. Everything follows from a seed; the tables are
written once, as DynamoDB exports tables, and kept.
"""

import hashlib
import json
import random
import re
import shutil
from calendar import monthrange
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from multiprocessing import Pool
from pathlib import Path
from typing import Any, Final, NamedTuple

from sessions.histograms import Row, add
from sessions.schema import IndexKeys, count_row_key
from sessions_cli.items import item_of
from tests.benchmarks import engine

SEED: Final = 20261123
FIRST_MONTH: Final = (2024, 11)
MONTHS: Final = 24
DENSE_MONTH: Final = "2026-03"
DENSE_HOUR: Final = "2026-03-17T14"
DENSE_MINUTE: Final = f"{DENSE_HOUR}:00"
CROWDED_MINUTE: Final = "2026-03-17T09:30"

DENSE_HOUR_SHARE: Final = 0.024
DENSE_MONTH_SHARE: Final = 0.3
MINUTE_MAX: Final = 400
"""Sessions created in the densest minutes; the goals are stated up to here."""
CROWDED: Final = (10_000, 30_000)
"""Sessions in the one minute of each crowded organization; 500 a second is what a partition of an index can take."""

AGENTS: Final = tuple(f"agent_01933b5a{number:024x}" for number in range(1, 6))
AGENT_SHARES: Final = (60, 25, 10, 4, 1)
"""Percent of the sessions that each agent has."""

PART: Final = 50_000
"""Entries in one file of the export."""

FORMAT: Final = 3
"""Raised when entries or their distribution change: an export of another format is made again."""


class Organization(NamedTuple):
    """One organization and the sort keys of its entries, newest first."""

    id: str
    keys: Sequence[str]

    def of_agent(self, agent_id: str | None) -> Sequence[str]:
        """The sort keys of one agent's entries, or all of them."""
        if agent_id is None:
            return self.keys
        return [key for key in self.keys if agent_of(key) == agent_id]

    def ranks_in(self, prefix: str) -> tuple[int, int]:
        """The first rank of the entries whose sort key begins with the prefix, and the one after the last."""
        ranks = [rank for rank, key in enumerate(self.keys) if key.startswith(prefix)]
        return ranks[0], ranks[-1] + 1

    def sessions(self, keys: Iterable[str]) -> list[dict[str, Any]]:
        """The entries at these sort keys, as the API must return them."""
        return [session(self.id, key) for key in keys]


def sized(entries: int) -> str:
    """The id of the organization with so many entries."""
    return f"org_{entries:032x}"


def crowded(entries: int) -> str:
    """The id of the organization with so many entries in one minute."""
    return f"org_c{entries:031x}"


class Dataset:
    """The tables of a set of sizes, and what is in them."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = sizes
        name = hashlib.sha256(repr((FORMAT, SEED, list(sizes))).encode()).hexdigest()[:12]
        self.home = engine.BUILD / "benchmarks" / name
        self.export = self.home / "export"
        """Tables in DynamoDB's export format."""

    @property
    def is_ready(self) -> bool:
        return (self.home / "complete").exists()

    @cached_property
    def organizations(self) -> dict[str, Organization]:
        """Every organization, by id."""
        return {
            path.stem: Organization(path.stem, path.read_text().split())
            for path in sorted(self.home.glob("org_*.keys"))
        }

    def make(self) -> None:
        """Write the export; for 1,000,000 entries it takes a minute or two, and 2 GB."""
        shutil.rmtree(self.home, ignore_errors=True)
        for table in (engine.SESSIONS_TABLE, engine.COUNTS_TABLE):
            (self.export / table / "data").mkdir(parents=True)
        engine.write_schema(self.export)
        with Pool() as pool:
            for organization in generated(self.sizes):
                (self.home / f"{organization.id}.keys").write_text("\n".join(organization.keys))
                oldest_first = organization.keys[::-1]  # as they came: the engine then adds at the end of its trees
                parts = [
                    (self.export, organization.id, oldest_first[start : start + PART])
                    for start in range(0, len(oldest_first), PART)
                ]
                counting = pool.apply_async(_write_counts, (self.export, organization))
                pool.starmap(_write_sessions, parts)
                counting.get()
        (self.home / "complete").touch()


def _write_sessions(export: Path, organization_id: str, keys: Sequence[str]) -> None:
    name = f"{organization_id}-{keys[0][:26].replace(':', '')}.json"
    with open(export / engine.SESSIONS_TABLE / "data" / name, "w") as file:
        for key in keys:
            file.write(json.dumps({"Item": item_of(session(organization_id, key))}) + "\n")


def _write_counts(export: Path, organization: Organization) -> None:
    with open(export / engine.COUNTS_TABLE / "data" / f"{organization.id}.json", "w") as file:
        for row in count_rows(organization):
            file.write(json.dumps({"Item": row}) + "\n")


def generated(sizes: Iterable[int]) -> Iterator[Organization]:
    """The organizations of these sizes, and those with a crowded minute."""
    for size in sizes:
        yield Organization(sized(size), _keys(size))
    for entries in CROWDED:
        moments = _Moments(random.Random(SEED))
        moments.fill(CROWDED_MINUTE, entries)
        moments.bursts([_month(number) for number in range(MONTHS)], CROWDED[0])
        yield Organization(crowded(entries), moments.keys())


def count_rows(organization: Organization, *, of_agents: bool = True) -> Iterator[dict[str, Any]]:
    """The count rows that counting these entries leads to, without the markers, which no page reads."""
    bins: Counter[tuple[Row, str]] = Counter()
    for key in organization.keys:
        agent = f"{organization.id}#{agent_of(key)}" if of_agents else None
        add(bins, IndexKeys(organization.id, agent, key), 1)
    rows: dict[Row, dict[str, Any]] = {}
    for (row, name), count in bins.items():
        rows.setdefault(row, count_row_key(*row))[name] = {"N": str(count)}
    yield from rows.values()


def agent_of(key: str) -> str:
    """Whose entry it is, by the last digits of its id."""
    percent = int(key[-6:], 16) % 100
    for agent_id, share in zip(AGENTS, AGENT_SHARES, strict=True):
        if percent < share:
            return agent_id
        percent -= share
    raise AssertionError("the shares add up to 100")


WORDS: Final = tuple(
    re.findall(
        r"\w+",
        """deploy staging rollback invoice refund customer export nightly report index migrate schema parse log retry
        timeout review merge branch release draft summary translate contract policy audit budget forecast latency""",
    )
)

SPREADER: Final = int.from_bytes(hashlib.sha512(b"words").digest() + hashlib.sha512(b"more words").digest(), "big")
"""Makes the few bits in which ids differ show in every word of an entry."""


def session(organization_id: str, key: str) -> dict[str, Any]:
    """An entry as the API returns it; all of it follows from the sort key."""
    created_at, identifier = key.split("#")
    number = int(identifier[-12:], 16)
    later = created_at[:17] + "59.999999Z"
    spread = number * SPREADER
    words = [WORDS[(spread >> 7 * place) % len(WORDS)] for place in range(96)]
    return {
        "id": identifier,
        "organization_id": organization_id,
        "agent_id": agent_of(key),
        "status": ("started", "active", "idle")[number % 3],
        "created_at": created_at,
        "updated_at": later,
        "started_at": created_at,
        "finished_at": later if number % 2 else None,
        "title": " ".join(words[:6]).capitalize(),
        "preview": " ".join(words[6:40]),
        "output_preview": " ".join(words[40:]),
        "model_id": f"model_{number % 7:032x}",
        "tags": words[:2],
        "capabilities": [{"ref": "session_file_system", "config": {"read_only": number % 5 == 0, "depth": number % 9}}],
        "usage": {"input_tokens": number % 90_000, "output_tokens": number % 9_000, "cache_read_tokens": number % 700},
    }


def _month(number: int) -> str:
    year, month = FIRST_MONTH
    months = year * 12 + month - 1 + number
    return f"{months // 12:04d}-{months % 12 + 1:02d}"


def _keys(size: int) -> list[str]:
    moments = _Moments(random.Random(SEED + size))
    in_hour = int(size * DENSE_HOUR_SHARE)
    for minute in range(60):
        moments.fill(f"{DENSE_HOUR}:{minute:02d}", min(MINUTE_MAX, in_hour - len(moments)))
    moments.bursts([DENSE_MONTH], int(size * DENSE_MONTH_SHARE) - in_hour)
    others = [_month(number) for number in range(MONTHS) if _month(number) != DENSE_MONTH]
    moments.bursts(others, size - len(moments))
    return moments.keys()


class _Moments:
    """Moments of creation, at most so many in a minute."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._moments: list[datetime] = []
        self._in_minute: Counter[datetime] = Counter()

    def __len__(self) -> int:
        return len(self._moments)

    def fill(self, minute: str, entries: int) -> None:
        start = datetime.fromisoformat(minute).replace(tzinfo=UTC)
        for _ in range(entries):
            self._moments.append(start + timedelta(microseconds=int(self._rng.random() * 60_000_000)))
            self._in_minute[start] += 1

    def bursts(self, months: Sequence[str], entries: int) -> None:
        """Bursts of a dozen on average within ten minutes, by day more often than by night."""
        until = len(self) + entries
        while len(self) < until:
            year, month = map(int, self._rng.choice(months).split("-"))
            day = self._rng.randrange(monthrange(year, month)[1]) + 1
            hour = self._rng.choice((self._rng.randrange(24), self._rng.randrange(8, 19)))
            start = datetime(year, month, day, hour, self._rng.randrange(50), tzinfo=UTC)
            for _ in range(min(until - len(self), int(self._rng.expovariate(1 / 12)) + 1)):
                moment = start + timedelta(microseconds=int(self._rng.random() * 600_000_000))
                minute = moment.replace(second=0, microsecond=0)
                if self._in_minute[minute] < MINUTE_MAX:
                    self._in_minute[minute] += 1
                    self._moments.append(moment)

    def keys(self) -> list[str]:
        """Sort keys, newest first; one in a hundred shares its moment with another entry."""
        moments = sorted(self._moments)
        keys = []
        for number, moment in enumerate(moments):
            at = moments[number - 1] if number and number % 100 == 0 else moment
            stamp = at.replace(tzinfo=None).isoformat(timespec="microseconds")
            identifier = f"{int(at.timestamp() * 1000):012x}{self._rng.getrandbits(80):020x}"
            keys.append(f"{stamp}Z#session_{identifier}")
        return sorted(keys, reverse=True)
