"""Sessions at the edges of the contract, and the list that they make, without the code under test."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

ORGANIZATION = "org_" + "0dd" * 10 + "00"
OTHER_ORGANIZATION = "org_" + "0dd" * 10 + "01"
AGENTS = ["agent_" + "a" * 32, "agent_01933b5a00007000800000000000001", "agent_" + "0" * 32]

LARGE = 30_000
"""Characters of the texts of a large entry."""

TEXTS = [
    None,
    "",
    " ",
    "\x00\x01\x1b[31m\x7f\x85\u2028\ufeff",
    "\r\n\t\\\"'</script>",
    "👩🏽‍🚀🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "مرحبا بالعالم ‏(123)‎ שלום",
    "\u202etxet desrever\u202c",
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞",
    "null",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢\U0010ffff\ufffe",
    "%00&limit=0#{{}}${jndi:x}",
]

NUMBERS = [
    "0",
    "-0.0",
    "99999999999999999999999999999999999999",
    "-12345678901234567890123456789012345678",
    "9007199254740993",
    "1e-7",
    "-1.5e120",
    "1e-130",
    "2.2250738585072014e-100",
    "0.1",
    "1.0",
    "1e5",
]

BASE = datetime(2026, 2, 27, 22, 58, 59)
OFFSETS = [("Z", 0), ("z", 0), ("+00:00", 0), ("-00:00", 0), ("+05:45", 345), ("-11:30", -690), ("+14:00", 840)]


class Odd(NamedTuple):
    """A line of the file, and the session that a client is to get for it."""

    line: str
    session: dict[str, Any]


def odd_sessions(count: int, seed: int) -> list[Odd]:
    """So many of them, in no order; mostly of one organization."""
    rng = random.Random(seed)
    return [_odd(rng, number) for number in range(count)]


def newest_first(odd: list[Odd], **fields: str) -> list[dict[str, Any]]:
    """The list of the contract, of the sessions with these fields alone."""
    wanted = (each.session for each in odd)
    mine = [entry for entry in wanted if all(entry[name] == value for name, value in fields.items())]
    return sorted(mine, key=lambda entry: (entry["created_at"], entry["id"]), reverse=True)


def _odd(rng: random.Random, number: int) -> Odd:
    # Few moments, at the edges of seconds, hours and months: many ties, and full minutes.
    moment = BASE + timedelta(minutes=rng.choice((0, 0, 1, 2, 61, 1501)), microseconds=rng.choice((0, 1, 999_999)))
    if rng.random() < 0.3:
        moment += timedelta(days=rng.randrange(-800, 800), seconds=rng.randrange(86_400))
    times = {
        name: _time(rng, moment + timedelta(seconds=late)) for name, late in (("created_at", 0), ("updated_at", 9))
    }
    for name in ("started_at", "finished_at"):
        times[name] = _time(rng, moment) if rng.random() < 0.5 else (None, None)
    texts = {name: rng.choice(TEXTS) for name in ("title", "preview", "output_preview")}
    if rng.random() < 0.03:
        texts["preview"] = "".join(rng.choices("aé漢😀\x00", k=LARGE // 3))
    config = _config(rng, rng.choice((0, 1, 3, 29)))
    stored: dict[str, Any] = {
        "id": _id(rng, number),
        "organization_id": ORGANIZATION if rng.random() < 0.95 else OTHER_ORGANIZATION,
        "agent_id": rng.choice(AGENTS),
        "status": rng.choice(("started", "active", "idle")),
        **texts,
        "model_id": rng.choice((None, "model_1", "model_" + "f" * 64)),
        "tags": rng.choice(([], [""], ["a", "a"], ["ключ:значение", "🏷️"])),
        "capabilities": rng.choice(([], [{"ref": ""}, {"ref": "x", "config": None}], [{"ref": "y", "config": "HERE"}])),
        "usage": rng.choice((None, {"input_tokens": 0, "output_tokens": 2**31 - 1, "cache_read_tokens": 0})),
    }
    given = stored | {name: text for name, (text, _) in times.items()}
    if stored["usage"] and rng.random() < 0.5:
        given["usage"] = stored["usage"] | {"cache_creation_tokens": None}
    given = {name: value for name, value in given.items() if value not in (None, []) or rng.random() < 0.5}
    line = json.dumps(given, ensure_ascii=rng.random() < 0.5).replace('"HERE"', config)
    session = json.loads(json.dumps(stored).replace('"HERE"', config)) | {
        name: text for name, (_, text) in times.items()
    }
    return Odd(line, session)


def _id(rng: random.Random, number: int) -> str:
    digits = rng.choice((1, 28, 31, 59))
    return f"session_{rng.getrandbits(4 * digits):0{digits}x}{number:04x}"


def _time(rng: random.Random, moment: datetime) -> tuple[str, str]:
    """A moment in some form of RFC 3339, and in the one that clients get."""
    zone, minutes = rng.choice(OFFSETS)
    local = moment + timedelta(minutes=minutes)
    fraction = f".{local.microsecond:06}{rng.choice(('', '0', '999', '000000001'))}"
    if local.microsecond == 0 and rng.random() < 0.5:
        fraction = rng.choice(("", ".0"))
    written = f"{local:%Y-%m-%d}{rng.choice('Tt ')}{local:%H:%M:%S}{fraction}{zone}"
    if local.second == 0 and minutes == 0 and rng.random() < 0.5:
        before = local - timedelta(seconds=1)
        written = f"{before:%Y-%m-%dT%H:%M}:60{fraction}{zone}"
    return written, moment.isoformat(timespec="microseconds") + "Z"


def _config(rng: random.Random, levels: int) -> str:
    """JSON with so many objects and arrays in one another."""
    if levels == 0:
        return rng.choice([*NUMBERS, "null", "true", '"\\u0000"', "{}", "[]"])
    inner = _config(rng, levels - 1)
    return f"[{inner}, 0]" if rng.random() < 0.5 else f'{{"kéy {levels}": {inner}, "type": "N", "S": {{"N": "1"}}}}'


def pages(total: int, limits: list[int]) -> Iterator[tuple[int, int]]:
    """Offset and limit of every page, and of the one behind the end."""
    for limit in limits:
        for offset in range(0, total, limit):
            yield offset, limit
        yield total, limit
