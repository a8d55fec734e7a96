"""Queries on the count rows of one scope. `sessions/counting/` writes the rows."""

from __future__ import annotations

from typing import Final

from sessions.client import Reader
from sessions.histograms import MONTH, MONTHS, TEN_MINUTES, Bins, Level, day_buckets, month_number, month_text
from sessions.schema import BUCKET, SCOPE, Item

_MONTHS: Final = (MONTH.bucket(month_text(MONTHS[0])), MONTH.bucket(month_text(MONTHS[-1])))

MonthRows = list[tuple[int, Bins]]
"""Number and bins of each month that has sessions, newest first."""


class CountRows:
    """The count rows of one scope."""

    def __init__(self, table: str, scope: str) -> None:
        self._table = table
        self._scope = scope
        self.negative: list[str] = []
        """Buckets with a bin below zero, which only a fault produces; such a bin counts as 0."""

    def months(self, reader: Reader) -> MonthRows:
        """Return the rows of all months; the sum of their bins is the total. Empty for a scope never counted."""
        months = []
        for bucket, bins in self._rows(reader, _MONTHS, MONTH):
            month = month_number(bucket)
            if month is not None and bins:  # other attributes are not bins: an earlier layout had a plain counter
                months.append((month, bins))
        return months

    def ten_minutes(self, reader: Reader, day: str) -> dict[str, Bins]:
        """Return the rows of a day, at most 144 of them, by bucket."""
        return dict(self._rows(reader, day_buckets(day), TEN_MINUTES))

    def _rows(self, reader: Reader, buckets: tuple[str, str], level: Level) -> list[tuple[str, Bins]]:
        """Return bucket and bins of the rows from the first bucket to the last, newest first."""
        rows: list[tuple[str, Bins]] = []
        start: dict[str, Item] = {}
        while True:
            response = reader.query(
                TableName=self._table,
                KeyConditionExpression="#scope = :scope AND #bucket BETWEEN :first AND :last",
                ExpressionAttributeNames={"#scope": SCOPE, "#bucket": BUCKET},  # `scope` is a reserved word
                ExpressionAttributeValues={
                    ":scope": {"S": self._scope},
                    ":first": {"S": buckets[0]},
                    ":last": {"S": buckets[1]},
                },
                ScanIndexForward=False,
                **start,
            )
            for item in response["Items"]:
                bins = {name: int(item[name]["N"]) for name in item.keys() & level.bins}
                rows.append((item[BUCKET]["S"], bins))
                if min(bins.values(), default=0) < 0:
                    self.negative.append(item[BUCKET]["S"])
            if "LastEvaluatedKey" not in response:
                return rows
            start = {"ExclusiveStartKey": response["LastEvaluatedKey"]}
