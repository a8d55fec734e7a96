"""The sessions that the local API starts with, and their counts."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sessions.histograms import Row, add
from sessions.schema import (
    CREATED_AT_ID,
    ID,
    ORGANIZATION_AGENT,
    ORGANIZATION_ID,
    Item,
    count_row_key,
    index_keys,
    marker_item,
)
from sessions_cli.bulk import BATCH_WRITES, scan
from sessions_cli.load import LoadResult, load
from sessions_cli.progress import OnProgress
from sessions_cli.sources import Source, UnreadableSource
from sessions_local.local_tables import COUNTS, SESSIONS
from sessions_local.settings import CannotStart

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Seed:
    """A readable file or folder of sessions."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._source = Source(path)
            self._total = self._source.total()
        except UnreadableSource as error:
            raise CannotStart(f"DATA: {error}") from None

    def load(self, client: DynamoDBClient, progress: OnProgress) -> None:
        """Write the sessions into the table, and report invalid lines."""
        loaded = rejected = 0

        def on_result(result: LoadResult) -> None:
            nonlocal loaded, rejected
            loaded += result.loaded
            rejected += len(result.rejected)
            for line, reason in result.rejected:
                print(f"{self._path}, {line.place}: not loaded: {reason}", file=sys.stderr, flush=True)
            progress("loading", loaded + rejected, self._total)

        try:
            load(client, SESSIONS, self._source.lines(), on_result)
        except UnreadableSource as error:
            raise CannotStart(f"DATA: {error}") from None
        if rejected or not loaded:
            print(f"{self._path}: {loaded:,} loaded, {rejected:,} not", file=sys.stderr, flush=True)


def write_counts(client: DynamoDBClient, progress: OnProgress) -> None:
    """Count every session in the table, in a counts table that is empty, without moto's slow transactions.

    The rows are those that the stream and `sessions counts rebuild` would write.
    """
    changes: Counter[tuple[Row, str]] = Counter()
    items: list[Item] = []
    for page in scan(client, SESSIONS, [ID, ORGANIZATION_ID, ORGANIZATION_AGENT, CREATED_AT_ID]):
        for item in page:
            session_id = item[ID]["S"]
            keys = index_keys(session_id, item)
            if keys is not None:
                add(changes, keys, 1)
                items.append(marker_item(session_id, keys))
    rows: defaultdict[Row, Item] = defaultdict(dict)
    for (row, bin_name), count in changes.items():
        rows[row][bin_name] = {"N": str(count)}
    items += [count_row_key(*row) | bins for row, bins in rows.items()]
    for start in range(0, len(items), BATCH_WRITES):
        requests: list[Any] = [{"PutRequest": {"Item": item}} for item in items[start : start + BATCH_WRITES]]
        client.batch_write_item(RequestItems={COUNTS: requests})
        progress("counting", start + len(requests), len(items))


def organizations(client: DynamoDBClient) -> Iterator[str]:
    """Return the organization of every session in the table."""
    for page in scan(client, SESSIONS, [ORGANIZATION_ID]):
        yield from (item[ORGANIZATION_ID]["S"] for item in page if "S" in item.get(ORGANIZATION_ID, {}))
