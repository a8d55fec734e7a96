"""The sessions table and the counts table of one engine, as repairs look at them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from sessions.client import BATCH_GET_KEYS
from sessions.counting.transitions import Marker
from sessions.histograms import Row
from sessions.schema import (
    BUCKET,
    CREATED_AT_ID,
    ID,
    ORGANIZATION_AGENT,
    ORGANIZATION_ID,
    SCOPE,
    count_row_key,
    index_keys,
    is_valid_marker_id,
    marker_index_keys,
    marker_key,
    marker_session_id,
)
from sessions_cli.dynamodb import Sleep, approximate_count, read_batch, scan
from sessions_cli.progress import OnProgress

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")

INDEX_KEYS: Final = (ORGANIZATION_ID, ORGANIZATION_AGENT, CREATED_AT_ID)
"""The attributes that say where a session is listed and counted."""


class Bin(NamedTuple):
    """A bin of a count row."""

    scope: str
    bucket: str
    name: str


class Tables(NamedTuple):
    """What is counted, and what counts it."""

    dynamodb: DynamoDBClient
    sessions: str
    counts: str
    sleep: Sleep = time.sleep
    """Makes every pause, before another try and otherwise."""

    def scan_sessions(self, progress: OnProgress) -> Iterator[tuple[str, Marker]]:
        """Where each session of the table is to be counted."""
        done, total = 0, approximate_count(self.dynamodb, self.sessions)
        for page in scan(self.dynamodb, self.sessions, (ID, *INDEX_KEYS)):
            for item in page:
                yield item[ID]["S"], index_keys(item[ID]["S"], item)
            done += len(page)
            progress("reading sessions", done, total)

    def read_session_keys(self, session_ids: Sequence[str]) -> dict[str, Marker]:
        """Where each of these sessions is to be counted, by a strongly consistent read of it.

        Raises:
            Throttled: DynamoDB kept throttling; any other fault is raised as it is.
        """
        found: dict[str, Marker] = dict.fromkeys(session_ids)
        for chunk in chunks(session_ids):
            keys = [{ID: {"S": session_id}} for session_id in chunk]
            for item in read_batch(self.dynamodb, self.sessions, keys, (ID, *INDEX_KEYS), self.sleep):
                found[item[ID]["S"]] = index_keys(item[ID]["S"], item)
        return found

    def read_markers(self, session_ids: Sequence[str]) -> dict[str, Marker]:
        """Where each of these sessions is counted, by a strongly consistent read of its marker.

        Raises:
            Throttled: DynamoDB kept throttling; any other fault is raised as it is.
        """
        found: dict[str, Marker] = dict.fromkeys(session_ids)
        for chunk in chunks(list(filter(is_valid_marker_id, session_ids))):
            keys = [marker_key(session_id) for session_id in chunk]
            for marker in read_batch(self.dynamodb, self.counts, keys, sleep=self.sleep):
                found[marker_session_id(marker) or ""] = marker_index_keys(marker)
        return found

    def read_bins(self, rows: Iterable[Row]) -> dict[Bin, int]:
        """The bins of these rows, by a strongly consistent read of them.

        Raises:
            Throttled: DynamoDB kept throttling; any other fault is raised as it is.
        """
        found: dict[Bin, int] = {}
        for chunk in chunks(list(rows)):
            keys = [count_row_key(*row) for row in chunk]
            for row in read_batch(self.dynamodb, self.counts, keys, sleep=self.sleep):
                scope, bucket = row[SCOPE]["S"], row[BUCKET]["S"]
                found |= {Bin(scope, bucket, name): int(value["N"]) for name, value in row.items() if "N" in value}
        return found


def chunks(values: Sequence[T]) -> Iterable[Sequence[T]]:
    """As many at a time as one request reads."""
    for start in range(0, len(values), BATCH_GET_KEYS):
        yield values[start : start + BATCH_GET_KEYS]
