"""Reading the count rows of one scope. `counting/` keeps the rows; nothing here writes."""

from __future__ import annotations

from typing import Any, Final

from sessions.client import Reader
from sessions.histograms import MONTH, MONTHS, Bins, Level, month_of, month_text
from sessions.schema import BUCKET, SCOPE, Item

_FIRST_MONTH: Final = MONTH.bucket(month_text(MONTHS[0]))
_LAST_MONTH: Final = MONTH.bucket(month_text(MONTHS[-1]))

MonthRows = list[tuple[int, Bins]]
"""Number and bins of every month that has entries, newest first."""


class CountRows:
    """The count rows of one scope, as they were when they were read, by one Reader."""

    def __init__(self, reader: Reader, table: str, scope: str) -> None:
        self._reader = reader
        self._table = table
        self._scope = scope
        self.negative: list[str] = []
        """Buckets with a bin below zero, which no correct history leads to; each such bin counts as 0."""

    def months(self) -> MonthRows:
        """The rows of all months, whose bins together are the total; none for a scope that was never counted."""
        months = []
        for row in self._rows("#bucket BETWEEN :first AND :last", {":first": _FIRST_MONTH, ":last": _LAST_MONTH}):
            month, bins = month_of(row[BUCKET]["S"]), self._bins(row, MONTH)
            if month is not None and bins:  # an earlier version kept one number a month, which is no bin
                months.append((month, bins))
        return months

    def row(self, level: Level, text: str) -> Bins:
        """The bins of one row; none when it does not exist."""
        rows = self._rows("#bucket = :bucket", {":bucket": level.bucket(text)})
        return self._bins(rows[0], level) if rows else {}

    def _rows(self, condition: str, values: dict[str, str]) -> list[Item]:
        query: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": f"#scope = :scope AND {condition}",
            "ExpressionAttributeNames": {"#scope": SCOPE, "#bucket": BUCKET},  # `scope` is a reserved word
            "ExpressionAttributeValues": {
                name: {"S": value} for name, value in {":scope": self._scope, **values}.items()
            },
            "ScanIndexForward": False,
        }
        rows: list[Item] = []
        while True:
            response = self._reader.query(**query)
            rows += response["Items"]
            if "LastEvaluatedKey" not in response:
                return rows
            query["ExclusiveStartKey"] = response["LastEvaluatedKey"]

    def _bins(self, row: Item, level: Level) -> Bins:
        bins = {name: int(row[name]["N"]) for name in row.keys() & level.names}
        if bins and min(bins.values()) < 0:
            self.negative.append(row[BUCKET]["S"])
        return bins
