"""Sample sessions for the local API, the same every time; their words stand in `sample.json`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

SEED: Final = 20261123
NOW: Final = datetime(2026, 11, 23, 16, 41, 46, 463925)
"""The moment, in UTC, at which the newest sessions are still going on; nothing depends on when this runs."""

DAYS: Final = 150
PREVIEW_CHARACTERS: Final = 120

_DATA: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("sample.json").read_text(encoding="utf-8"))


def sessions() -> Iterator[dict[str, Any]]:
    """Every sample session as the contract has it, organization by organization, each from oldest to newest."""
    for number, organization in enumerate(_DATA["organizations"], 1):
        rng = random.Random(SEED + number)  # noqa: S311 - no secret
        agents = organization["agents"]
        times = _creation_times(rng, organization["sessions"])
        for rank, created_at in enumerate(times):
            (agent,) = rng.choices(agents, weights=[each["weight"] for each in agents])
            yield _session(rng, organization["id"], agent, created_at, age=len(times) - rank)


def _creation_times(rng: random.Random, count: int) -> list[datetime]:
    """Office hours mostly, with quiet days, bursts, and some at one and the same microsecond."""
    first = NOW.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS)
    busyness = [
        rng.choice((0, 1, 1, 2, 5)) * (0.15 if (first + timedelta(day)).weekday() > 4 else 1) for day in range(DAYS)
    ]
    times = [NOW - timedelta(microseconds=rng.randrange(120_000_000, 900_000_000))]
    while len(times) < count:
        (day,) = rng.choices(range(DAYS), weights=busyness)
        seconds = min(max(rng.gauss(13.5, 3), 0.1), 23.9) * 3600
        time = first + timedelta(days=day, seconds=int(seconds), microseconds=rng.randrange(1_000_000))
        burst = min(count - len(times), rng.choice((1, 1, 1, 1, 1, 1, 1, 1, 1, 14)))
        if rng.random() < 0.3:
            times += [time] * min(burst, 3)
        else:
            times += [time + timedelta(milliseconds=each * rng.randrange(3000)) for each in range(burst)]
    return sorted(times[:count])


def _session(
    rng: random.Random, organization_id: str, agent: dict[str, Any], created_at: datetime, age: int
) -> dict[str, Any]:
    """One session; `age` is 1 for the organization's newest."""
    (status,) = rng.choices(("idle", "active", "started"), weights=(3, 4, 3) if age < 12 else (90, 2, 8))
    kind = rng.choice([kind for trade in agent["trades"] for kind in _DATA["trades"][trade]])
    words = {
        "order": f"A-{rng.randrange(10_000, 99_999)}",
        "number": rng.randrange(101, 9_999),
        "amount": f"{rng.randrange(12, 990)}.{rng.randrange(100):02} €",
        "city": rng.choice(_DATA["cities"]),
        "service": rng.choice(_DATA["services"]),
        "name": rng.choice(_DATA["names"]),
    }
    asked = status != "started"
    started_at = created_at + timedelta(milliseconds=rng.randrange(80, 4000)) if asked else None
    updated_at = started_at + timedelta(seconds=rng.randrange(4, 5400)) if started_at else created_at
    finished = status == "idle" and rng.random() < 0.6
    answered = asked and (status == "idle" or rng.random() < 0.5)
    return {
        "id": _session_id(rng, created_at),
        "organization_id": organization_id,
        "agent_id": agent["id"],
        "status": status,
        "created_at": _timestamp(created_at),
        "updated_at": _timestamp(min(updated_at, NOW)),
        "started_at": _timestamp(min(started_at, NOW)) if started_at else None,
        "finished_at": _timestamp(min(updated_at, NOW)) if finished else None,
        "title": kind["title"].format(**words) if kind["title"] and asked else None,
        "preview": _preview(kind["preview"].format(**words)) if asked else None,
        "output_preview": _preview(kind["output_preview"].format(**words)) if answered else None,
        "model_id": rng.choice(_DATA["models"]),
        "tags": kind["tags"] + (["vip"] if rng.random() < 0.1 else []),
        "capabilities": [_DATA["capabilities"][name] for name in agent["capabilities"]] if rng.random() < 0.7 else [],
        "usage": _usage(rng) if answered else None,
    }


def _usage(rng: random.Random) -> dict[str, int]:
    usage = {"input_tokens": rng.randrange(300, 90_000), "output_tokens": rng.randrange(40, 9_000)}
    if rng.random() < 0.6:
        usage["cache_read_tokens"] = rng.randrange(0, 400_000)
    if rng.random() < 0.3:
        usage["cache_creation_tokens"] = rng.randrange(0, 40_000)
    return usage


def _session_id(rng: random.Random, created_at: datetime) -> str:
    """A UUID of version 7 without its hyphens: milliseconds since 1970, then random bits."""
    milliseconds = (created_at - datetime(1970, 1, 1)) // timedelta(milliseconds=1)
    bits = rng.getrandbits(74)
    return f"session_{milliseconds:012x}7{bits >> 62:03x}{0x8000000000000000 | bits & (2**62 - 1):016x}"


def _preview(text: str) -> str:
    return text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"


def _timestamp(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds") + "Z"
