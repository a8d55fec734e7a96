"""The counts table as tests read it, from any engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sessions_cli.bulk import scan

Row = tuple[str, str, str]
"""Scope, bucket and bin."""

Numbers = dict[Row, int]


def rows(dynamodb: Any) -> list[dict[str, Any]]:
    """Return every row of the counts table."""
    return [row for page in scan(dynamodb, "counts") for row in page]


def numbers(dynamodb: Any) -> Numbers:
    """Return the number of every bin that is not zero."""
    return numbers_of(rows(dynamodb))


def numbers_of(items: Iterable[dict[str, Any]]) -> Numbers:
    """Return the number of every bin in these rows that is not zero; markers have none."""
    found = {
        (row["scope"]["S"], row["bucket"]["S"], name): int(value["N"])
        for row in items
        for name, value in row.items()
        if row["bucket"]["S"] != "S" and name not in ("scope", "bucket")
    }
    return {key: number for key, number in found.items() if number}


def markers(dynamodb: Any) -> set[str]:
    """Return the ids of the sessions that have a marker."""
    return {row["scope"]["S"].removeprefix("session#") for row in rows(dynamodb) if row["bucket"]["S"] == "S"}


def expected(sessions: Iterable[dict[str, Any]]) -> Numbers:
    """Return the numbers that these sessions must have, computed in another way than the code's."""
    counted: Counter[Row] = Counter()
    for session in sessions:
        organization, time = session["organization_id"], session["created_at"]
        five_seconds = f"{time[15]}:{int(time[17:19]) // 5 * 5:02}"
        for scope in (organization, f"{organization}#{session['agent_id']}"):
            counted[scope, "M" + time[:7], time[8:10]] += 1
            counted[scope, "T" + time[:15], five_seconds] += 1
    return dict(counted)
