"""Reading the count rows of a scope: the total, and between which keys an offset lies.

A scope is the partition key of an index: an organization, or an organization and one of its agents.
For each scope there is a row for every month, hour and minute in which sessions were created.
`counting.py` keeps the rows; nothing here writes.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sessions import buckets
from sessions.dynamodb import Reader


class Count(NamedTuple):
    """One count row: a bucket and how many entries lie in it."""

    bucket: str
    entries: int


class Span(NamedTuple):
    """The stretch of the list that one bucket counts, and where it lies.

    Its entries have the ranks from `start` up to but not including `end`; rank 0 is the newest entry.
    """

    bucket: str
    start: int
    end: int


class Counts:
    """The count rows of one scope, as they were when they were read."""

    def __init__(self, table: str, scope: str) -> None:
        self._table = table
        self._scope = scope
        self.negative: list[str] = []
        """Buckets that were read below zero, which no correct history leads to; each counts as 0."""

    def months(self, reader: Reader) -> list[Count]:
        """The months in which there are entries, newest first; together they are the total."""
        return self._read(reader, buckets.MONTH)

    def find(self, reader: Reader, months: list[Count], offset: int, near: int) -> Span:
        """The finest span that the offset is known to lie in.

        Goes down from months to hours to minutes, only until the offset is at most `near` entries away
        from an end of the span. An offset that the finer rows say lies below the span is at or past its end.

        Raises:
            ValueError: the offset is at or past the total of the months.
        """
        span = _containing(months, offset, start=0)
        if span is None:
            raise ValueError("the offset is at or past the total")
        for level in (buckets.HOUR, buckets.MINUTE):
            if min(offset - span.start, span.end - offset) <= near or not buckets.is_whole(span.bucket):
                return span
            finer = self._read(reader, level + buckets.prefix_of(span.bucket))
            inner = _containing(finer, offset, span.start)
            if inner is None:
                # Read later, the finer rows hold less than the coarser one said: entries have been
                # deleted in between, and the offset now lies below the span.
                return Span(span.bucket, span.start, span.start + total(finer))
            span = inner
        return span

    def _read(self, reader: Reader, beginning: str) -> list[Count]:
        end = buckets.after(beginning)
        return [
            Count(row["bucket"]["S"], self._checked(row["bucket"]["S"], int(row["count"]["N"])))
            for page in self._pages(reader, beginning, end)
            for row in page["Items"]
            if row["bucket"]["S"] != end  # BETWEEN has it; a sort key cut short may be named so
        ]

    def _pages(self, reader: Reader, beginning: str, end: str) -> Iterator[dict[str, Any]]:
        parameters: dict[str, Any] = {
            "TableName": self._table,
            # What begins_with finds, as a range: engines built on SQL look at a whole partition for begins_with.
            "KeyConditionExpression": "#scope = :scope AND #bucket BETWEEN :first AND :end",
            "ExpressionAttributeNames": {"#scope": "scope", "#bucket": "bucket"},
            "ExpressionAttributeValues": {
                ":scope": {"S": self._scope},
                ":first": {"S": beginning},
                ":end": {"S": end},
            },
            "ScanIndexForward": False,
        }
        while True:
            page = reader.query(**parameters)
            yield page
            if "LastEvaluatedKey" not in page:
                return
            parameters["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _checked(self, bucket: str, entries: int) -> int:
        if entries < 0:
            self.negative.append(bucket)
            return 0
        return entries


def total(counts: list[Count]) -> int:
    """How many entries the buckets hold together."""
    return sum(count.entries for count in counts)


def _containing(counts: list[Count], offset: int, start: int) -> Span | None:
    for bucket, entries in counts:
        if offset < start + entries:
            return Span(bucket, start, start + entries)
        start += entries
    return None
