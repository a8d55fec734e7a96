"""What the load runs on: sessions that follow from their numbers, who writes them when, and what a page may show."""

from __future__ import annotations

import json
import random
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

AGENTS: Final = tuple(f"agent_{digit * 32}" for digit in "123")
NOBODY: Final = "agent_" + "9" * 32
QUIET: Final = {f"org_{digit * 32}": size for digit, size in zip("1234", (0, 15, 300, 6000), strict=True)}
"""Organizations that nobody writes to, and how many sessions they have."""
BUSY: Final = {f"org_{digit * 32}": size for digit, size in zip("89", (150, 1200), strict=True)}
"""Organizations in which sessions are created and deleted all the time, and how many they begin with."""
ORGANIZATIONS: Final = (*QUIET, *BUSY)

KEY: Final = "evr_" + "load0000" * 4
UNKNOWN_KEY: Final = "evr_" + "unknown-" * 4

SPAN_SECONDS: Final = 150 * 86_400


def created_at(number: int) -> str:
    """Any moment of five months, many of them in the same few minutes."""
    seconds = number * 7919 % SPAN_SECONDS if number % 3 else 90 * 86_400 + number % 240
    return (datetime(2026, 6, 1) + timedelta(seconds=seconds, microseconds=number)).isoformat(
        timespec="microseconds"
    ) + "Z"


def entry(number: int, organization: str) -> dict[str, Any]:
    """The session with a number, as a client gets it."""
    moment = created_at(number)
    return {
        "id": f"session_{number:032x}",
        "organization_id": organization,
        "agent_id": AGENTS[number % 3],
        "status": ("started", "active", "idle")[number % 3],
        "created_at": moment,
        "updated_at": moment,
        "started_at": None,
        "finished_at": moment if number % 2 else None,
        "title": f"Session {number} " + 'äöü"\\' * (number % 20),
        "preview": "How do I get a refund? " * 8,
        "output_preview": "You get it within days. " * 8,
        "model_id": None,
        "tags": [f"tag-{number % 7}"],
        "capabilities": [{"ref": "web", "config": {"depth": number}}],
        "usage": {"input_tokens": number, "output_tokens": 1},
    }


def sort_key(number: int) -> str:
    """What the index sorts by."""
    return f"{created_at(number)}#session_{number:032x}"


def first_numbers() -> dict[str, range]:
    """The sessions that each organization begins with."""
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
    def query(self) -> dict[str, str]:
        given = {"offset": str(self.offset), "limit": str(self.limit)}
        return given if self.agent is None else given | {"agent_id": self.agent}


def any_list_request(chance: random.Random) -> ListRequest:
    """First, deep and last pages, past the end, of everything or of one agent, that there may not be."""
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
"""Seconds for which the sessions that may be there are looked up together."""


@dataclass
class Life:
    """When a session was written and counted, on the clock that all processes share."""

    number: int
    put: tuple[float, float] = (-FOREVER, -FOREVER)
    deleted: tuple[float, float] = (FOREVER, FOREVER)
    changes: list[tuple[float, float]] = field(default_factory=list)
    """From each write's beginning to the end of its counting."""


class Partition:
    """The sessions of an organization, or of one of its agents."""

    def __init__(self, lives: list[Life]) -> None:
        self.lives = sorted(lives, key=lambda life: sort_key(life.number), reverse=True)
        self.numbers = [life.number for life in self.lives]
        self._keys = {number: sort_key(number) for number in self.numbers}
        changes = [change for life in lives for change in life.changes]
        self._starts = sorted(start for start, _ in changes)
        self._ends = sorted(end for _, end in changes)
        self._slices: dict[int, list[Life]] = {}

    def _around(self, began: float, ended: float) -> list[Life]:
        """At least the sessions that may have been there at some time of a request."""
        number = int(began // SLICE)
        if ended > (number + 2) * SLICE:
            return self.lives
        if number not in self._slices:
            start, end = number * SLICE, (number + 2) * SLICE
            self._slices[number] = [life for life in self.lives if life.put[0] < end and life.deleted[1] > start]
        return self._slices[number]

    def unsettled(self, began: float, ended: float) -> int:
        """Writes that were not both done and counted before a request, and not begun after it."""
        return bisect_left(self._starts, ended) - bisect_left(self._ends, began)

    def fault(self, request: ListRequest, total: int, page: list[int], began: float, ended: float) -> str | None:
        """What is wrong with a page; None where all of it may be so."""
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
            return f"entries that cannot be there: {set(page) - visible}"
        keys = [sort_key(number) for number in page]
        if keys != sorted(set(keys), reverse=True):
            return "the page is not sorted"
        if len(page) > limit:
            return "more entries than the limit"
        if abs(total - len(sure)) > unsettled:
            return f"the total is {total}, by {len(sure)} with {unsettled} unsettled"
        if not page:
            return None if total <= offset else "an empty page before the end"
        if total < offset + len(page) or (len(page) < limit and total != offset + len(page)):
            return "the total contradicts the page"
        between = {number for number in sure if keys[-1] <= sort_key(number) <= keys[0]}
        if not between <= set(page):
            return f"entries are missing: {between - set(page)}"
        if len(page) < limit and any(sort_key(number) < keys[-1] for number in sure):
            return "a short page before the end"
        rank = sum(sort_key(number) > keys[0] for number in sure)
        if abs(rank - offset) > unsettled:
            return f"rank {rank} at offset {offset} with {unsettled} unsettled"
        return None


def partitions(log: Path) -> dict[tuple[str, str | None], Partition]:
    """Every partition, by the log of the one who wrote."""
    lives: dict[str, dict[int, Life]] = {
        organization: {number: Life(number) for number in numbers} for organization, numbers in first_numbers().items()
    }
    waiting: dict[int, list[float]] = defaultdict(list)
    owners = {number: organization for organization, numbers in first_numbers().items() for number in numbers}
    for line in log.read_text().splitlines():
        record = json.loads(line)
        if record["what"] == "counted":
            for number in record["numbers"]:
                lives[owners[number]][number].changes += [(began, record["ended"]) for began in waiting.pop(number, [])]
            continue
        number, organization = record["number"], record["organization"]
        owners[number] = organization
        life = lives[organization].setdefault(number, Life(number))
        times = record["began"], record["ended"]
        if record["what"] == "put":
            life.put = times
        else:
            life.deleted = times
        waiting[number].append(record["began"])
    for number, begun in waiting.items():
        lives[owners[number]][number].changes += [(began, FOREVER) for began in begun]
    found: dict[tuple[str, str | None], Partition] = {}
    for organization in ORGANIZATIONS:
        every = list(lives[organization].values())
        found[organization, None] = Partition(every)
        for agent in (*AGENTS, NOBODY):
            found[organization, agent] = Partition([life for life in every if AGENTS[life.number % 3] == agent])
    return found
