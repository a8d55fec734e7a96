"""The sessions table and the counts table of one engine, as repairs look at them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from ops.dynamodb import Sleep, approximate_count, read_batch, scan
from ops.progress import OnProgress
from sessions.counting.transitions import Marker
from sessions.dynamodb import BATCH_GET_KEYS
from sessions.schema import (
    CREATED_AT_ID,
    ID,
    ORGANIZATION_AGENT,
    ORGANIZATION_ID,
    fits_marker,
    index_keys,
    marked_keys,
    marked_session,
    marker_key,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

INDEX_KEYS: Final = (ORGANIZATION_ID, ORGANIZATION_AGENT, CREATED_AT_ID)
"""The attributes that say where a session is listed and counted."""


class Tables(NamedTuple):
    """What is counted, and what counts it."""

    dynamodb: DynamoDBClient
    sessions: str
    counts: str
    sleep: Sleep = time.sleep
    """Makes every pause, before another try and otherwise."""

    def every_session(self, progress: OnProgress) -> Iterator[tuple[str, Marker]]:
        """Where each session of the table is to be counted."""
        done, total = 0, approximate_count(self.dynamodb, self.sessions)
        for page in scan(self.dynamodb, self.sessions, (ID, *INDEX_KEYS)):
            for item in page:
                yield item[ID]["S"], index_keys(item[ID]["S"], item)
            done += len(page)
            progress("reading sessions", done, total)

    def sessions_now(self, session_ids: Sequence[str]) -> dict[str, Marker]:
        """Where each of these sessions is to be counted, by a strongly consistent look at it.

        Raises:
            Throttled: DynamoDB kept throttling; any other fault is raised as it is.
        """
        found: dict[str, Marker] = dict.fromkeys(session_ids)
        for chunk in chunks(session_ids):
            keys = [{ID: {"S": each}} for each in chunk]
            for item in read_batch(self.dynamodb, self.sessions, keys, (ID, *INDEX_KEYS), self.sleep):
                found[item[ID]["S"]] = index_keys(item[ID]["S"], item)
        return found

    def markers_now(self, session_ids: Sequence[str]) -> dict[str, Marker]:
        """Where each of these sessions is counted, by a strongly consistent look at its marker.

        Raises:
            Throttled: DynamoDB kept throttling; any other fault is raised as it is.
        """
        found: dict[str, Marker] = dict.fromkeys(session_ids)
        for chunk in chunks(list(filter(fits_marker, session_ids))):
            keys = [marker_key(each) for each in chunk]
            for marker in read_batch(self.dynamodb, self.counts, keys, sleep=self.sleep):
                found[marked_session(marker) or ""] = marked_keys(marker)
        return found


def chunks(session_ids: Sequence[str]) -> Iterable[Sequence[str]]:
    """As many at a time as one request reads."""
    for start in range(0, len(session_ids), BATCH_GET_KEYS):
        yield session_ids[start : start + BATCH_GET_KEYS]
