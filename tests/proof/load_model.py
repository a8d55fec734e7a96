"""The sessions of the load, when each was written and counted, and what a page may show meanwhile."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tests.service import created_at, session

AGENTS: Final = tuple(f"agent_{digit * 32}" for digit in "123")
NOBODY: Final = "agent_" + "9" * 32
QUIET: Final = {f"org_{digit * 32}": size for digit, size in zip("1234", (0, 15, 300, 6000), strict=True)}
"""Organizations that nobody writes to, and how many sessions they have."""
BUSY: Final = {f"org_{digit * 32}": size for digit, size in zip("89", (150, 1200), strict=True)}
"""Organizations in which sessions are created and deleted all the time, and how many they begin with."""
ORGANIZATIONS: Final = (*QUIET, *BUSY)

SPAN_SECONDS: Final = 150 * 86_400


def session_number(number: int, organization: str) -> dict[str, Any]:
    """Return the session with a number: created at any moment of five months, often in the same few minutes."""
    seconds = number * 7919 % SPAN_SECONDS if number % 3 else 90 * 86_400 + number % 240
    return session(
        number,
        organization_id=organization,
        agent_id=AGENTS[number % 3],
        status=("started", "active", "idle")[number % 3],
        created_at=created_at(seconds + number / 10**6),
        title=f"Session {number} " + 'äöü"\\' * (number % 20),
        preview="How do I get a refund? " * 16,
        capabilities=[{"ref": "web", "config": {"depth": number}}],
        usage={"input_tokens": number, "output_tokens": 1},
    )


def sort_key(number: int) -> str:
    """Return the index's sort key of the session with a number."""
    made = session_number(number, "")
    return f"{made['created_at']}#{made['id']}"


def first_numbers() -> dict[str, range]:
    """Return the numbers of the sessions that each organization begins with."""
    found, start = {}, 1
    for organization, size in (QUIET | BUSY).items():
        found[organization] = range(start, start + size)
        start += size
    return found


class ListRequest(NamedTuple):
    """A request for a page."""

    organization: str
    agent: str | None
    offset: int
    limit: int

    @property
    def query(self) -> str:
        return f"offset={self.offset}&limit={self.limit}" + (f"&agent_id={self.agent}" if self.agent else "")


def any_list_request(chance: random.Random) -> ListRequest:
    """Return a request for a first, deep or last page, or past the end, of all sessions or of an agent."""
    organization = chance.choices(ORGANIZATIONS, (1, 2, 4, 6, 4, 6))[0]
    size = (QUIET | BUSY)[organization]
    agent = chance.choices((None, *AGENTS, NOBODY), (60, 15, 10, 10, 1))[0]
    size = size if agent is None else size // 3
    kind = chance.random()
    offset = 0 if kind < 0.4 else chance.randint(0, size + 5) if kind < 0.95 else chance.choice((size * 2, 2**31 - 1))
    return ListRequest(organization, agent, offset, chance.choice((20, 20, 20, chance.randint(1, 100))))


# ------------------------------------------------------------------------------- what may be visible when

FOREVER: Final = float("inf")


@dataclass
class Life:
    """When a session was written and counted, on the clock that all processes share."""

    number: int
    organization: str
    put: tuple[float, float] = (-FOREVER, -FOREVER)
    deleted: tuple[float, float] = (FOREVER, FOREVER)
    changes: list[tuple[float, float]] = field(default_factory=list)
    """From each write's beginning to the end of its counting."""


class Partition:
    """The sessions of an organization or of one of its agents."""

    def __init__(self, lives: list[Life]) -> None:
        self._keys = {life.number: sort_key(life.number) for life in lives}
        self._lives = sorted(lives, key=lambda life: self._keys[life.number], reverse=True)
        self._numbers = [life.number for life in self._lives]
        changes = [change for life in lives for change in life.changes]
        self._starts = sorted(start for start, _ in changes)
        self._ends = sorted(end for _, end in changes)

    def unsettled(self, began: float, ended: float) -> int:
        """Return how many writes were neither done and counted before a request nor begun after it."""
        return bisect_left(self._starts, ended) - bisect_left(self._ends, began)

    def fault(self, request: ListRequest, total: int, page: list[int], began: float, ended: float) -> str | None:
        """Return what is wrong with a page, or None."""
        offset, limit = request.offset, request.limit
        unsettled = self.unsettled(began, ended)
        if self._starts:
            sure = [life.number for life in self._lives if life.put[1] < began and life.deleted[0] > ended]
        else:  # nobody ever wrote here
            sure = self._numbers
        if unsettled == 0:
            is_exact = (page, total) == (sure[offset : offset + limit], len(sure))
            return None if is_exact else f"total {total} and not {len(sure)}, or another page: {page}"
        if abs(total - len(sure)) > unsettled:
            return f"the total is {total}, by {len(sure)} with {unsettled} unsettled"
        if not page:
            return "an empty page before the end" if total > offset else None
        visible = {life.number for life in self._lives if life.put[0] < ended and life.deleted[1] > began}
        if not set(page) <= visible:
            return f"sessions that cannot exist: {set(page) - visible}"
        keys, sure_keys = [self._keys[number] for number in page], [self._keys[number] for number in sure]
        is_short, end = len(page) < limit, offset + len(page)
        faults = {
            "not sorted": keys != sorted(set(keys), reverse=True),
            "more sessions than the limit": len(page) > limit,
            "the total contradicts the page": total < end or (is_short and total > end),
            "sessions are missing": not {key for key in sure_keys if keys[-1] <= key <= keys[0]} <= set(keys),
            "a short page before the end": is_short and sure_keys != [] and sure_keys[-1] < keys[-1],
            "the page is too far away": abs(sum(key > keys[0] for key in sure_keys) - offset) > unsettled,
        }
        found = [name for name, is_so in faults.items() if is_so]
        return f"{found}; total {total} by {len(sure)}, {unsettled} unsettled" if found else None


def partitions(lives: Iterable[Life]) -> dict[tuple[str, str | None], Partition]:
    """Return every partition."""
    several: dict[tuple[str, str | None], list[Life]] = {
        (organization, agent): [] for organization in ORGANIZATIONS for agent in (None, *AGENTS, NOBODY)
    }
    for life in lives:
        for agent in (None, AGENTS[life.number % 3]):
            several[life.organization, agent].append(life)
    return {key: Partition(each) for key, each in several.items()}
