"""The sessions of the benchmarks: two bursty years of one organization for each size, all of it from a seed.

Sessions have about 1.4 kB and five agents. Three tenths of them fall into one month and a fortieth into one hour of it,
with 400 in each of its minutes until they are used up. Other organizations have 10,000 or 30,000 sessions in a single
minute, or 400 in every minute of a day.
"""

from __future__ import annotations

import random
import re
from bisect import bisect, bisect_left
from calendar import monthrange
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sessions.histograms import places
from tests import service

SEED: Final = 20261123
MONTHS: Final = [f"{2024 + month // 12}-{month % 12 + 1:02d}" for month in range(10, 34)]
DENSE_MONTH: Final = "2026-03"
BUSY_DAY: Final = "2026-03-17"
DENSE_HOUR: Final = f"{BUSY_DAY}T14"
DENSE_MINUTE: Final = f"{DENSE_HOUR}:00"
CROWDED_MINUTE: Final = f"{BUSY_DAY}T09:30"

DENSE_HOUR_SHARE: Final = 0.024
DENSE_MONTH_SHARE: Final = 0.3
MINUTE_MAX: Final = 400
"""Sessions created in the densest minutes; the goals for any page are stated up to this density."""
OTHERS: Final = 10_000
"""Sessions of a crowded organization outside of its crowded span."""

AGENTS: Final = tuple(f"agent_01933b5a{number:024x}" for number in range(1, 6))
AGENT_SHARES: Final = (60, 85, 95, 99)
"""Per cent of the sessions that the first agent has, the first two have, and so on."""

WORDS: Final = re.findall(
    r"\w+",
    """deploy staging rollback invoice refund customer export nightly report index migrate schema parse log retry
    timeout review merge branch release draft summary translate contract policy audit budget forecast latency""",
)


class Organization(NamedTuple):
    """One organization and the sort keys of its sessions, newest first."""

    id: str
    keys: Sequence[str]

    def sessions(self, keys: Iterable[str]) -> list[dict[str, Any]]:
        """Return the sessions at these sort keys as the API must return them."""
        return [session_at(self.id, key) for key in keys]


def ranks_in(keys: Sequence[str], prefix: str) -> tuple[int, int]:
    """Return the rank of the newest session whose sort key has the prefix, and the rank after the oldest one's."""
    end = bisect_left(range(len(keys)), True, key=lambda rank: keys[rank] < prefix)
    start = bisect_left(range(len(keys)), True, key=lambda rank: keys[rank] < prefix + "~")
    return start, end


def spread(size: int) -> Organization:
    """Return the organization with so many sessions in two years."""
    moments = _Moments(SEED + size)
    in_hour = int(size * DENSE_HOUR_SHARE)
    for minute in range(60):
        moments.fill(f"{DENSE_HOUR}:{minute:02d}", min(MINUTE_MAX, in_hour - len(moments)))
    moments.bursts([DENSE_MONTH], int(size * DENSE_MONTH_SHARE) - in_hour)
    moments.bursts([month for month in MONTHS if month != DENSE_MONTH], size - len(moments))
    return Organization(f"org_{size:032x}", moments.keys())


def crowded(size: int) -> Organization:
    """Return the organization with so many sessions in one minute."""
    moments = _Moments(SEED)
    moments.fill(CROWDED_MINUTE, size)
    moments.bursts(MONTHS, OTHERS)
    return Organization(f"org_c{size:031x}", moments.keys())


def busy_day() -> Organization:
    """Return the organization with 400 sessions in every minute of a day."""
    moments = _Moments(SEED)
    for minute in range(24 * 60):
        moments.fill(f"{BUSY_DAY}T{minute // 60:02d}:{minute % 60:02d}", MINUTE_MAX)
    moments.bursts(MONTHS, OTHERS)
    return Organization(f"org_d{MINUTE_MAX:031x}", moments.keys())


def count_rows(organization: Organization, *, of_agents: bool = True) -> Iterator[dict[str, Any]]:
    """Yield the count rows of these sessions, computed apart from the code that counts; without the markers."""
    numbers: Counter[tuple[str, str, str]] = Counter()
    for key in organization.keys:
        five_seconds = f"{key[15]}:{int(key[17:19]) // 5 * 5:02}"
        for scope in (organization.id, f"{organization.id}#{agent_of(key)}") if of_agents else (organization.id,):
            numbers[scope, "M" + key[:7], key[8:10]] += 1
            numbers[scope, "T" + key[:15], five_seconds] += 1
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for (scope, bucket, name), number in numbers.items():
        row = rows.setdefault((scope, bucket), {"scope": {"S": scope}, "bucket": {"S": bucket}})
        row[name] = {"N": str(number)}
    yield from rows.values()


def surroundings(keys: Sequence[str], offset: int, limit: int, around: int) -> Sequence[str]:
    """Return the keys that a page can meet: those of its five seconds, its own, and so many on either side."""
    first = last = offset
    five_seconds = places(keys[offset])[-1]
    while first > 0 and places(keys[first - 1])[-1] == five_seconds:
        first -= 1
    while last + 1 < len(keys) and places(keys[last + 1])[-1] == five_seconds:
        last += 1
    return keys[max(0, first - around) : max(last + 1, offset + limit) + around]


def agent_of(key: str) -> str:
    """Return the agent of a session, which follows from the last digits of its id."""
    return AGENTS[bisect(AGENT_SHARES, int(key[-6:], 16) % 100)]


def session_at(organization_id: str, key: str) -> dict[str, Any]:
    """Return the session at a sort key; all of its fields follow from the key."""
    created_at, session_id = key.split("#")
    number = int(session_id[-12:], 16)
    words = [WORDS[(number >> place) % len(WORDS)] for place in range(48)] * 2
    return service.session(
        0,
        id=session_id,
        organization_id=organization_id,
        agent_id=agent_of(key),
        status=("started", "active", "idle")[number % 3],
        created_at=created_at,
        updated_at=created_at[:17] + "59.999999Z",
        started_at=created_at,
        title=" ".join(words[:6]).capitalize(),
        preview=" ".join(words[6:40]),
        output_preview=" ".join(words[40:]),
        model_id=f"model_{number % 7:032x}",
        tags=words[:2],
        capabilities=[{"ref": "session_file_system", "config": {"read_only": number % 5 == 0, "depth": number % 9}}],
        usage={"input_tokens": number % 90_000, "output_tokens": number % 9_000, "cache_read_tokens": number % 700},
    )


class _Moments:
    """Times of creation, at most 400 in any minute of the bursts."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._moments: list[datetime] = []
        self._in_minute: Counter[datetime] = Counter()

    def __len__(self) -> int:
        return len(self._moments)

    def fill(self, minute: str, sessions: int) -> None:
        start = datetime.fromisoformat(minute)
        for _ in range(sessions):
            self._moments.append(start + timedelta(microseconds=int(self._rng.random() * 60_000_000)))
        self._in_minute[start] += sessions

    def bursts(self, months: Sequence[str], sessions: int) -> None:
        """Add bursts of a dozen on average within ten minutes, by day more often than by night."""
        until = len(self) + sessions
        while len(self) < until:
            year, month = map(int, self._rng.choice(months).split("-"))
            day = self._rng.randrange(monthrange(year, month)[1]) + 1
            hour = self._rng.choice((self._rng.randrange(24), self._rng.randrange(8, 19)))
            start = datetime(year, month, day, hour, self._rng.randrange(50))
            for _ in range(min(until - len(self), int(self._rng.expovariate(1 / 12)) + 1)):
                moment = start + timedelta(microseconds=int(self._rng.random() * 600_000_000))
                minute = moment.replace(second=0, microsecond=0)
                if self._in_minute[minute] < MINUTE_MAX:
                    self._in_minute[minute] += 1
                    self._moments.append(moment)

    def keys(self) -> list[str]:
        """Return sort keys, newest first; one session in a hundred has the same time as another one."""
        moments = sorted(self._moments)
        keys = []
        for number, moment in enumerate(moments):
            at = moments[number - 1] if number and number % 100 == 0 else moment
            keys.append(f"{at.isoformat(timespec='microseconds')}Z#session_{self._rng.getrandbits(128):032x}")
        return sorted(keys, reverse=True)
