"""The counts table as tests look at it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.service import Service

Row = tuple[str, str, str]
"""Scope, bucket and bin."""

Numbers = dict[Row, int]


def rows(service: Service) -> list[dict[str, Any]]:
    """Every row of the counts table."""
    pages = service.dynamodb.get_paginator("scan").paginate(TableName="counts", ConsistentRead=True)
    return [row for page in pages for row in page["Items"]]


def numbers(service: Service) -> Numbers:
    """The number of every bin that is not zero."""
    return numbers_of(rows(service))


def numbers_of(items: Iterable[dict[str, Any]]) -> Numbers:
    """The number of every bin in these rows that is not zero; markers have none."""
    found = {
        (row["scope"]["S"], row["bucket"]["S"], name): int(value["N"])
        for row in items
        for name, value in row.items()
        if row["bucket"]["S"] != "S" and name not in ("scope", "bucket")
    }
    return {key: number for key, number in found.items() if number}


def markers(service: Service) -> set[str]:
    """The sessions that have a marker."""
    return {row["scope"]["S"].removeprefix("session#") for row in rows(service) if row["bucket"]["S"] == "S"}


def expected(sessions: Iterable[dict[str, Any]]) -> Numbers:
    """The numbers that these sessions must have, in other words than the code's."""
    counted: Counter[Row] = Counter()
    for entry in sessions:
        organization, time = entry["organization_id"], entry["created_at"]
        five_seconds = f"{time[15]}:{int(time[17:19]) // 5 * 5:02}"
        for scope in (organization, f"{organization}#{entry['agent_id']}"):
            counted[scope, "M" + time[:7], time[8:10]] += 1
            counted[scope, "D" + time[:10], time[11:13] + time[14]] += 1
            counted[scope, "T" + time[:15], five_seconds] += 1
    return dict(counted)
