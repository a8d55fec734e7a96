"""`DATA`: a file of sessions at the edges of the contract is served page by page as it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.local.calls import get
from tests.running import local_api
from tests.service import newest_first, session

ORGANIZATION, KEY = "org_" + "0dd" * 10, "evr_local_" + "0dd" * 10
TEXTS = ["", "\x00\x1b[31m\x7f\u2028\ufeff", "\r\n\t\\\"'</script>", "👩🏽‍🚀 مرحبا \u202etxet\u202c Z͑ͫ", "x" * 30_000]
NUMBERS = [0, 99999999999999999999999999999999999999, 9007199254740993, 1e-7, -1.5e120, 0.1, 1.0]
TIMES = {
    "2026-03-01T00:00:00+05:45": "2026-02-28T18:15:00.000000Z",
    "2026-02-27t22:58:59.9999990z": "2026-02-27T22:58:59.999999Z",
    "2026-02-27 22:58:60-00:00": "2026-02-27T22:59:00.000000Z",
}


def odd_session(number: int, written: str, stored: str) -> tuple[str, dict[str, Any]]:
    """A line of the file, and the session that a client is to get for it."""
    config: Any = {"kéy": NUMBERS[number % len(NUMBERS)], "S": {"N": "1"}, "type": None}
    for _ in range(number):
        config = [config]
    served = session(
        number,
        id=f"session_{number:x}" + "0" * (number * 3),
        organization_id=ORGANIZATION,
        agent_id="agent_01933b5a00007000800000000000001",
        title=TEXTS[number % len(TEXTS)],
        tags=["", "ключ:значение", "a", "a"],
        capabilities=[{"ref": ""}, {"ref": "x", "config": config}],
        usage={"input_tokens": 0, "output_tokens": 2**31 - 1, "cache_read_tokens": 0},
    )
    line = json.dumps(served | {"created_at": written, "usage": served["usage"] | {"cache_creation_tokens": None}})
    return line, served | {"created_at": stored}


def test_every_page_is_a_slice_of_the_sorted_list(tmp_path: Path) -> None:
    odd = [odd_session(number, *list(TIMES.items())[number % len(TIMES)]) for number in range(14)]
    path = tmp_path / "odd.ndjson"
    lines = ["nonsense", *(line for line, _ in odd), "{}"]
    path.write_text("\n".join(lines), encoding="utf-8", newline="")
    expected = newest_first(served for _, served in odd)
    with local_api(DATA=str(path)) as api:
        assert next(line.split() for line in api.screen if "evr_local_" in line) == [ORGANIZATION, "14", KEY]
        for offset, limit in [*((offset, 3) for offset in range(0, 15, 3)), (0, 100), (14, 1)]:
            for query in ("", "&agent_id=agent_01933b5a00007000800000000000001"):
                page = get(api, f"/v1/sessions?offset={offset}&limit={limit}{query}", KEY).body
                of = {"total": 14, "offset": offset, "limit": limit}
                assert page == {"data": expected[offset : offset + limit]} | of
        assert get(api).status == 401  # the sample is not there
