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
        preview="How do I get a refund? " * 8,
        output_preview="You get it within days. " * 8,
        tags=[f"tag-{number % 7}"],
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

SLICE: Final = 2.0
"""Seconds for which the sessions that may exist are looked up together."""


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
        self.lives = sorted(lives, key=lambda life: sort_key(life.number), reverse=True)
        self.numbers = [life.number for life in self.lives]
        self._keys = {number: sort_key(number) for number in self.numbers}
        changes = [change for life in lives for change in life.changes]
        self._starts = sorted(start for start, _ in changes)
        self._ends = sorted(end for _, end in changes)
        self._slices: dict[int, list[Life]] = {}

    def _around(self, began: float, ended: float) -> list[Life]:
        """Return at least the sessions that may have existed at some time of a request."""
        number = int(began // SLICE)
        if ended > (number + 2) * SLICE:
            return self.lives
        if number not in self._slices:
            start, end = number * SLICE, (number + 2) * SLICE
            self._slices[number] = [life for life in self.lives if life.put[0] < end and life.deleted[1] > start]
        return self._slices[number]

    def unsettled(self, began: float, ended: float) -> int:
        """Return how many writes were neither done and counted before a request nor begun after it."""
        return bisect_left(self._starts, ended) - bisect_left(self._ends, began)

    def fault(self, request: ListRequest, total: int, page: list[int], began: float, ended: float) -> str | None:
        """Return what is wrong with a page, or None."""
        offset, limit = request.offset, request.limit
        unsettled = self.unsettled(began, ended)
        lives, sort_key = self._around(began, ended), self._keys.__getitem__
        if not self._starts:  # nobody ever wrote here
            sure = self.numbers
        else:
            sure = [life.number for life in lives if life.put[1] < began and life.deleted[0] > ended]
        if unsettled == 0:
            if page != sure[offset : offset + limit]:
                return f"the page is another one: {page}"
            return None if total == len(sure) else f"the total is {total} and not {len(sure)}"
        visible = {life.number for life in lives if life.put[0] < ended and life.deleted[1] > began}
        if not set(page) <= visible:
            return f"sessions that cannot exist: {set(page) - visible}"
        keys = [sort_key(number) for number in page]
        if keys != sorted(set(keys), reverse=True):
            return "the page is not sorted"
        if len(page) > limit:
            return "more sessions than the limit"
        if abs(total - len(sure)) > unsettled:
            return f"the total is {total}, by {len(sure)} with {unsettled} unsettled"
        if not page:
            return None if total <= offset else "an empty page before the end"
        if total < offset + len(page) or (len(page) < limit and total != offset + len(page)):
            return "the total contradicts the page"
        between = {number for number in sure if keys[-1] <= sort_key(number) <= keys[0]}
        if not between <= set(page):
            return f"sessions are missing: {between - set(page)}"
        if len(page) < limit and any(sort_key(number) < keys[-1] for number in sure):
            return "a short page before the end"
        rank = sum(sort_key(number) > keys[0] for number in sure)
        if abs(rank - offset) > unsettled:
            return f"rank {rank} at offset {offset} with {unsettled} unsettled"
        return None


def partitions(lives: Iterable[Life]) -> dict[tuple[str, str | None], Partition]:
    """Return every partition."""
    by_partition: dict[tuple[str, str | None], list[Life]] = {
        (organization, agent): [] for organization in ORGANIZATIONS for agent in (None, *AGENTS, NOBODY)
    }
    for life in lives:
        by_partition[life.organization, None].append(life)
        by_partition[life.organization, AGENTS[life.number % 3]].append(life)
    return {key: Partition(several) for key, several in by_partition.items()}
