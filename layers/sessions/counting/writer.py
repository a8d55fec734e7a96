"""Writes markers and count rows: reads the markers, sends the transactions, retries."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from botocore.exceptions import ClientError

from sessions.client import BATCH_GET_KEYS, CALL_FAULTS, is_transient
from sessions.counting.packing import Transaction, pack
from sessions.counting.transitions import Marker, MarkerUpdate
from sessions.schema import is_valid_marker_id, marker_index_keys, marker_key, marker_session_id

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TRIES: Final = 30
PAUSE: Final = 0.05
PAUSE_MAX: Final = 0.25
"""Tries of one session, and the pauses between them in seconds. A pause is random, at most PAUSE before the second try;
that limit doubles with each try, up to PAUSE_MAX: about 3.5 s in all. Longer pauses would make up most of the lag
where many shards write the rows of one organization (docs/counting.md, Lag)."""

DEADLINE: Final = 40.0
"""Seconds after which no further call starts. With a last call of 9 s (`client.py`) counting ends 11 s before the
function's timeout of 60 s."""

OUT_OF_TIME: Final = "out of time"

_CANCELLED: Final = "TransactionCanceledException"
_RETRYABLE: Final = frozenset(
    {"ConditionalCheckFailed", "ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"}
)
"""Reasons of a cancelled transaction that may be gone once the markers have been read again (TransactWriteItems,
'Cancellation reason codes'). botocore does not retry cancelled transactions."""

T = TypeVar("T")


@dataclass
class Outcome:
    """The result of counting a batch of sessions."""

    updated: dict[str, MarkerUpdate] = field(default_factory=dict)
    """Sessions whose marker changed."""
    attempted: set[str] = field(default_factory=set)
    """Sessions in any transaction that was sent; one that timed out may have been committed."""
    failed: dict[str, str] = field(default_factory=dict)
    """Sessions that could not be counted, and why."""
    transactions: int = 0
    """Transactions committed."""
    retries: int = 0
    """Calls that failed and were retried."""


class CountWriter:
    """The count rows and markers of one counts table, for writing."""

    def __init__(self, dynamodb: DynamoDBClient, counts_table: str) -> None:
        self._dynamodb = dynamodb
        self._table = counts_table

    def apply(self, sessions: Mapping[str, T], next_marker: Callable[[Marker, T], Marker]) -> Outcome:
        """Set the markers of sessions, and the count rows with them.

        Sessions that meet a conflict, throttling or a timeout are retried: their markers are read again, so a call
        that timed out may have been committed without harm. A session that DynamoDB refuses does not affect the others.

        Args:
            sessions: what is known of each session, by id; transactions are packed in this order.
            next_marker: computes a marker from the present one and what is known of the session.
        """
        batch = _Batch(list(filter(is_valid_marker_id, sessions)))
        for tries in range(TRIES):
            if tries:
                time.sleep(backoff(tries))
            self._write(batch, self._read(batch, sessions, next_marker))
            if not batch.waiting or batch.is_out_of_time:
                break
        batch.outcome.failed |= batch.waiting
        return batch.outcome

    def _read(
        self, batch: _Batch, sessions: Mapping[str, T], next_marker: Callable[[Marker, T], Marker]
    ) -> dict[str, MarkerUpdate]:
        """Read the markers of waiting sessions, and return those that have to change."""
        updates: dict[str, MarkerUpdate] = {}
        for session_ids in _chunks(list(batch.waiting)):
            if batch.is_out_of_time:
                break
            with batch.retrying(session_ids):
                markers, missed = self._read_markers(session_ids)
                for session_id in session_ids:
                    before = markers.get(session_id)
                    after = next_marker(before, sessions[session_id])
                    if session_id in missed:
                        batch.waiting[session_id] = "throttled"
                    elif before == after:
                        del batch.waiting[session_id]
                    else:
                        updates[session_id] = MarkerUpdate(before, after)
        return updates

    def _read_markers(self, session_ids: Sequence[str]) -> tuple[dict[str | None, Marker], set[str | None]]:
        """Return the markers of at most 100 sessions by a strongly consistent read, and the sessions not read."""
        wanted: Any = {"Keys": [marker_key(each) for each in session_ids], "ConsistentRead": True}
        response: Any = self._dynamodb.batch_get_item(RequestItems={self._table: wanted})
        rows = response["Responses"].get(self._table, [])
        unread = response["UnprocessedKeys"].get(self._table, {"Keys": []})["Keys"]
        return {marker_session_id(row): marker_index_keys(row) for row in rows}, set(map(marker_session_id, unread))

    def _write(self, batch: _Batch, updates: Mapping[str, MarkerUpdate]) -> None:
        for transaction in pack(updates, batch.isolated):
            if batch.is_out_of_time:
                break
            batch.outcome.attempted.update(transaction.updates)
            with batch.retrying(list(transaction.updates)):
                self._dynamodb.transact_write_items(TransactItems=transaction.actions(self._table))
                batch.commit(transaction)


def backoff(tries: int) -> float:
    """Return the seconds to wait when `tries` have failed: random, up to a maximum that doubles each time."""
    return random.uniform(0, min(PAUSE_MAX, PAUSE * 2 ** (tries - 1)))  # noqa: S311  (not for cryptography)


class _Batch:
    """The sessions of one call of `CountWriter.apply`, while they are counted."""

    def __init__(self, session_ids: Sequence[str]) -> None:
        self.waiting = dict.fromkeys(session_ids, OUT_OF_TIME)
        """Sessions that are not counted yet, and why."""
        self.isolated: set[str] = set()
        """Sessions of a transaction that DynamoDB refused; each gets its own, to find the one at fault."""
        self.outcome = Outcome()
        self._ends_at = time.monotonic() + DEADLINE

    @property
    def is_out_of_time(self) -> bool:
        return time.monotonic() > self._ends_at

    @contextmanager
    def retrying(self, session_ids: Sequence[str]) -> Iterator[None]:
        """Decide, when the call inside fails, whether its sessions are retried, isolated or given up."""
        try:
            yield
        except CALL_FAULTS as error:
            reason = describe(error)
            if is_retryable(error):
                self.outcome.retries += 1
                self.waiting |= dict.fromkeys(session_ids, reason)
            elif len(session_ids) > 1 and _cancellation_reasons(error):
                self.isolated.update(session_ids)
                self.waiting |= dict.fromkeys(session_ids, reason)
            else:
                self.outcome.failed |= dict.fromkeys(session_ids, reason)
                self._finish(session_ids)

    def commit(self, transaction: Transaction) -> None:
        """Note that a transaction was committed."""
        self.outcome.transactions += 1
        self.outcome.updated |= transaction.updates
        self._finish(transaction.updates)

    def _finish(self, session_ids: Iterable[str]) -> None:
        for session_id in session_ids:
            del self.waiting[session_id]


def is_retryable(error: Exception) -> bool:
    """Return whether a retry of the failed call may succeed, once the markers have been read again."""
    reasons = _cancellation_reasons(error)
    return is_transient(error) if reasons is None else {reason["Code"] for reason in reasons} <= _RETRYABLE


def describe(error: Exception) -> str:
    """Return the code and DynamoDB's message of a failed call, for the log."""
    if not isinstance(error, ClientError):
        return type(error).__name__
    reasons = _cancellation_reasons(error)
    details = [error.response["Error"]] if reasons is None else reasons
    sentences = sorted({": ".join(filter(None, [each.get("Code"), each.get("Message")])) for each in details})
    return ("" if reasons is None else f"{_CANCELLED}: ") + ", ".join(sentences)


def _cancellation_reasons(error: Exception) -> list[Any] | None:
    """Return why actions of a cancelled transaction were refused, or None for any other fault."""
    if not isinstance(error, ClientError) or error.response["Error"]["Code"] != _CANCELLED:
        return None
    reasons: list[Any] = error.response.get("CancellationReasons", [])
    return [reason for reason in reasons if reason.get("Code", "None") != "None"]


def _chunks(session_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(session_ids), BATCH_GET_KEYS):
        yield session_ids[start : start + BATCH_GET_KEYS]
