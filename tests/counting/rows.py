"""The counts table as tests look at it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.service import Service

Bins = dict[tuple[str, str, str], int]
"""Numbers by scope, bucket and bin."""


def rows(service: Service) -> list[dict[str, Any]]:
    """Every row of the counts table."""
    pages = service.dynamodb.get_paginator("scan").paginate(TableName="counts", ConsistentRead=True)
    return [row for page in pages for row in page["Items"]]


def counters(service: Service) -> Bins:
    """Every bin that is not zero."""
    found = {
        (row["scope"]["S"], row["bucket"]["S"], name): int(value["N"])
        for row in rows(service)
        if row["bucket"]["S"] != "S"
        for name, value in row.items()
        if name not in ("scope", "bucket")
    }
    return {key: number for key, number in found.items() if number}


def markers(service: Service) -> set[str]:
    """The sessions that have a marker."""
    return {row["scope"]["S"].removeprefix("session#") for row in rows(service) if row["bucket"]["S"] == "S"}


def expected(sessions: Iterable[dict[str, Any]]) -> Bins:
    """The bins that these sessions must have."""
    counted: Counter[tuple[str, str, str]] = Counter()
    for entry in sessions:
        organization, time = entry["organization_id"], entry["created_at"]
        places = [
            ("M" + time[:7], time[8:10]),
            ("D" + time[:10], time[11:13] + time[14]),
            ("T" + time[:15], f"{time[15]}:{int(time[17:19]) // 5 * 5:02}"),
        ]
        for scope in (organization, f"{organization}#{entry['agent_id']}"):
            counted.update((scope, *place) for place in places)
    return dict(counted)
