"""Queries on one partition of an index: walks in either direction, and counting without transfer."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sessions.client import Reader
from sessions.errors import PageTooLarge
from sessions.schema import CREATED_AT_ID, Item, Partition

TRANSFER_MAX: Final = 600
"""Longest skip in sessions that is read and dropped; a longer one is counted by DynamoDB first, for one more round
trip. 600 sessions of 1.4 kB and a page of 100 fit into one Query response of 1 MB."""

RESPONSES_MAX: Final = 16
"""Query responses of 1 MB that one page may take. A session is about as large in a response as in the table, so a
page of more would exceed Lambda's response anyway, and only fill the function's memory."""

COUNT_RESPONSES_MAX: Final = 10
"""Query responses of 1 MB that may be counted to find the total of a partition that has no count rows."""


class Walk(NamedTuple):
    """The result of a walk: the items taken, in the order read, and whether it reached the end of the partition."""

    items: list[Item]
    skipped: int
    at_end: bool

    @property
    def passed(self) -> int:
        return self.skipped + len(self.items)


class IndexPartition:
    """One partition of an index of the sessions table."""

    def __init__(self, table: str, partition: Partition) -> None:
        self._table = table
        self._partition = partition

    def walk_down(self, reader: Reader, below: str | None, skip: int, take: int) -> Walk:
        """Walk from newest to oldest: pass over `skip` sessions and take at most `take`.

        Args:
            reader: reads the index.
            below: sort key that all sessions are older than; None: start at the newest session.
            skip: sessions to pass over.
            take: most sessions to return.

        Raises:
            PageTooLarge: the items fill more than `RESPONSES_MAX` responses.
        """
        return self._walk(reader, self._query("<", below, forward=False), skip, take)

    def walk_up(self, reader: Reader, start: str | None, skip: int, take: int) -> Walk:
        """Walk from oldest to newest, starting with the first session whose sort key is at least `start`."""
        return self._walk(reader, self._query(">=", start, forward=True), skip, take)

    def count(self, reader: Reader) -> int | None:
        """Return how many sessions there are, or None if more than `COUNT_RESPONSES_MAX` responses would be needed."""
        query = self._query("<", None, forward=False) | {"Select": "COUNT"}
        counted: int = 0
        for _ in range(COUNT_RESPONSES_MAX):
            response = reader.query(**query)
            counted += response["Count"]
            if "LastEvaluatedKey" not in response:
                return counted
            query["ExclusiveStartKey"] = response["LastEvaluatedKey"]
        return None

    def _walk(self, reader: Reader, query: dict[str, Any], skip: int, take: int) -> Walk:
        skipped = 0
        while skip - skipped > TRANSFER_MAX:
            response = reader.query(**query, Select="COUNT", Limit=skip - skipped)
            skipped += response["Count"]
            if "LastEvaluatedKey" not in response:
                return Walk([], skipped, at_end=True)
            query["ExclusiveStartKey"] = response["LastEvaluatedKey"]
        items: list[Item] = []
        responses = 0
        while True:
            response = reader.query(**query, Limit=skip - skipped + take - len(items))
            dropped = min(skip - skipped, len(response["Items"]))
            skipped += dropped
            items += response["Items"][dropped:]
            responses += dropped < len(response["Items"])
            if responses > RESPONSES_MAX:
                raise PageTooLarge
            if "LastEvaluatedKey" not in response:
                return Walk(items, skipped, at_end=True)
            if len(items) == take:
                return Walk(items, skipped, at_end=False)
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
