"""The counts table as tests look at it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.service import Service

Counters = dict[tuple[str, str], int]


def rows(service: Service) -> list[dict[str, Any]]:
    """Every row of the counts table."""
    pages = service.dynamodb.get_paginator("scan").paginate(TableName="counts", ConsistentRead=True)
    return [row for page in pages for row in page["Items"]]


def counters(service: Service) -> Counters:
    """Every counter that is not zero."""
    found = {
        (row["scope"]["S"], row["bucket"]["S"]): int(row["count"]["N"])
        for row in rows(service)
        if row["bucket"]["S"] != "S"
    }
    return {key: number for key, number in found.items() if number}


def markers(service: Service) -> set[str]:
    """The sessions that have a marker."""
    return {row["scope"]["S"].removeprefix("session#") for row in rows(service) if row["bucket"]["S"] == "S"}


def expected(sessions: Iterable[dict[str, Any]]) -> Counters:
    """The counters that these sessions must have."""
    counted: Counter[tuple[str, str]] = Counter()
    for entry in sessions:
        organization, time = entry["organization_id"], entry["created_at"]
        for scope in (organization, f"{organization}#{entry['agent_id']}"):
            counted.update([(scope, "M" + time[:7]), (scope, "H" + time[:13]), (scope, "N" + time[:16])])
    return dict(counted)
