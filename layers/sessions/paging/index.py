"""Query on one partition of an index: walks by cursor, in either direction, and counting without transfer."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sessions.client import Reader
from sessions.errors import PageTooLarge
from sessions.schema import CREATED_AT_ID, Item, Partition

TRANSFERRED_SKIP: Final = 600
"""Entries that are skipped by transferring and dropping them; of a longer skip DynamoDB counts what does not fit into
one cursor page of 1 MB ('Query' in the API reference), about 730 entries of 1.4 kB, for one more round trip. 600 and a
page of 100 still fit into one: dropping them takes some 6 ms of CPU, about what the round trip would take."""

PAGE_READS: Final = 16
"""Cursor pages of 1 MB that entries of one response are taken from. An entry is little smaller as JSON than it is
stored, so more can never fit into a response of 6 MB, and would only fill the function's memory."""


class WalkResult(NamedTuple):
    """Entries that a walk returned, in the order it went, and whether it reached the end of the partition."""

    items: list[Item]
    skipped: int
    at_end: bool

    @property
    def passed(self) -> int:
        """How many entries the walk passed, returned ones included."""
        return self.skipped + len(self.items)


class IndexPartition:
    """One partition of an index of the sessions table, read by one Reader."""

    def __init__(
        self,
        reader: Reader,
        table: str,
        partition: Partition,
        transferred_skip: int = TRANSFERRED_SKIP,
        page_reads: int = PAGE_READS,
    ) -> None:
        self._reader = reader
        self._table = table
        self._partition = partition
        self._transferred_skip = transferred_skip
        self._page_reads = page_reads

    def query_descending(self, below: str | None, skip: int, take: int) -> WalkResult:
        """Entries from newest to oldest.

        Args:
            below: the sort key that all entries are older than; None starts at the newest entry.
            skip: entries to pass over.
            take: entries to return at most.
        """
        return self._walk(self._query("<", below, forward=False), skip, take)

    def query_ascending(self, start: str | None, skip: int, take: int) -> WalkResult:
        """Entries from oldest to newest, beginning with the first whose sort key is `start` or above it."""
        return self._walk(self._query(">=", start, forward=True), skip, take)

    def count(self, max_cursor_pages: int) -> int | None:
        """How many entries there are, counted one by one; None when `max_cursor_pages` cursor pages do not suffice."""
        query = self._query("<", None, forward=False) | {"Select": "COUNT"}
        counted: int = 0
        for _ in range(max_cursor_pages):
            response = self._reader.query(**query)
            counted += response["Count"]
            if "LastEvaluatedKey" not in response:
                return counted
            query["ExclusiveStartKey"] = response["LastEvaluatedKey"]
        return None

    def _walk(self, query: dict[str, Any], skip: int, take: int) -> WalkResult:
        skipped = 0
        while skip - skipped > self._transferred_skip:
            response = self._reader.query(**query, Select="COUNT", Limit=skip - skipped)
            skipped += response["Count"]
            if "LastEvaluatedKey" not in response:
                return WalkResult([], skipped, at_end=True)
            query["ExclusiveStartKey"] = response["LastEvaluatedKey"]
        items: list[Item] = []
        page_reads = 0
        while True:
            response = self._reader.query(**query, Limit=skip - skipped + take - len(items))
            dropped = min(skip - skipped, len(response["Items"]))
            skipped += dropped
            items += response["Items"][dropped:]
            page_reads += bool(response["Items"][dropped:])
            if page_reads > self._page_reads:
                raise PageTooLarge
            if "LastEvaluatedKey" not in response:
                return WalkResult(items, skipped, at_end=True)
            if len(items) == take:
                return WalkResult(items, skipped, at_end=False)
            query["ExclusiveStartKey"] = response["LastEvaluatedKey"]

    def _query(self, comparison: str, bound: str | None, *, forward: bool) -> dict[str, Any]:
        index = self._partition.index
        condition, values = f"{index.partition_key} = :scope", {":scope": {"S": self._partition.scope}}
        if bound is not None:
            condition += f" AND {CREATED_AT_ID} {comparison} :bound"
            values[":bound"] = {"S": bound}
        return {
            "TableName": self._table,
            "IndexName": index.name,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": values,
            "ScanIndexForward": forward,
        }
