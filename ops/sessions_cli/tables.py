"""The sessions table and the counts table of one engine, as repairs read them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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
    Item,
    count_row_key,
    index_keys,
    is_valid_marker_id,
    marker_index_keys,
    marker_key,
    marker_session_id,
)
from sessions_cli.bulk import BATCH_WRITES, chunks, describe, read_batch, scan, write_batch
from sessions_cli.progress import OnProgress

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SESSIONS_KEY: Final = (ID,)
COUNTS_KEY: Final = (SCOPE, BUCKET)
"""Key attributes of the two tables."""

DAY: Final = "D"
"""First character of the buckets of days, which version 1.0.0 counts in and nothing reads any more."""

INDEX_KEYS: Final = (ORGANIZATION_ID, ORGANIZATION_AGENT, CREATED_AT_ID)
"""Attributes that determine where a session is listed and counted."""


class Bin(NamedTuple):
    """The place of a bin: its count row and its name."""

    scope: str
    bucket: str
    name: str


class Tables(NamedTuple):
    """The sessions table and the counts table."""

    dynamodb: DynamoDBClient
    sessions: str
    counts: str

    def describe(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return DynamoDB's descriptions of both."""
        return (
            describe(self.dynamodb, self.sessions, SESSIONS_KEY),
            describe(self.dynamodb, self.counts, COUNTS_KEY),
        )

    def scan_sessions(self, progress: OnProgress) -> Iterator[Item]:
        """Yield the id and the index keys of each item of the sessions table."""
        done, total = 0, describe(self.dynamodb, self.sessions, SESSIONS_KEY)["ItemCount"]
        for page in scan(self.dynamodb, self.sessions, (ID, *INDEX_KEYS)):
            yield from page
            done += len(page)
            progress("reading sessions", done, total)

    def scan_counts(self, step: str, progress: OnProgress) -> Iterator[list[Item]]:
        """Yield the rows of the counts table, markers included, page by page."""
        done, total = 0, describe(self.dynamodb, self.counts, COUNTS_KEY)["ItemCount"]
        for page in scan(self.dynamodb, self.counts):
            yield page
            done += len(page)
            progress(step, done, total)

    def delete_counts(self, rows: Iterable[Item]) -> None:
        """Delete rows of the counts table."""
        for chunk in chunks(rows, BATCH_WRITES):
            keys = [{SCOPE: row[SCOPE], BUCKET: row[BUCKET]} for row in chunk]
            write_batch(self.dynamodb, self.counts, [{"DeleteRequest": {"Key": key}} for key in keys])

    def read_session_keys(self, session_ids: Sequence[str]) -> dict[str, Marker]:
        """Return the index keys of each session, by strongly consistent reads; None if it does not exist."""
        found: dict[str, Marker] = dict.fromkeys(session_ids)
        for chunk in chunks(session_ids, BATCH_GET_KEYS):
            keys = [{ID: {"S": session_id}} for session_id in chunk]
            for item in read_batch(self.dynamodb, self.sessions, keys, (ID, *INDEX_KEYS)):
                found[item[ID]["S"]] = index_keys(item[ID]["S"], item)
        return found

    def read_markers(self, session_ids: Sequence[str]) -> dict[str, Marker]:
        """Return the marker of each session, by strongly consistent reads."""
        found: dict[str, Marker] = dict.fromkeys(session_ids)
        for chunk in chunks(filter(is_valid_marker_id, session_ids), BATCH_GET_KEYS):
            keys = [marker_key(session_id) for session_id in chunk]
            for marker in read_batch(self.dynamodb, self.counts, keys):
                found[marker_session_id(marker) or ""] = marker_index_keys(marker)
        return found

    def read_bins(self, rows: Iterable[Row]) -> dict[Bin, int]:
        """Return the bins of these count rows, by strongly consistent reads."""
        found: dict[Bin, int] = {}
        for chunk in chunks(rows, BATCH_GET_KEYS):
            for row in read_batch(self.dynamodb, self.counts, [count_row_key(*each) for each in chunk]):
                scope, bucket = row[SCOPE]["S"], row[BUCKET]["S"]
                numbers = {Bin(scope, bucket, name): bin_number(value) for name, value in row.items()}
                found |= {place: number for place, number in numbers.items() if number is not None}
        return found


def bin_number(value: Item) -> int | None:
    """Return the number of a bin, or None if the attribute value is no whole number."""
    number = re.fullmatch(r"-?[0-9]+", value.get("N", ""))
    return int(number[0]) if number else None
