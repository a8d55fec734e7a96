"""Markers and count rows changed together: how sessions are packed into transactions, and which are tried again."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sessions.client import BATCH_GET_KEYS, CALL_FAULTS, TimeLimit, batch_get, is_transient
from sessions.counting.transitions import Marker, MarkerUpdate, Transition
from sessions.errors import Unavailable
from sessions.histograms import Row, add
from sessions.schema import (
    CREATED_AT_ID,
    IndexKeys,
    count_row_key,
    fits_marker,
    marked_keys,
    marked_session,
    marker_item,
    marker_key,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ACTIONS: Final = 100
"""Actions in one transaction ('Quotas in Amazon DynamoDB', TransactWriteItems). A count row is one action and has at
most 144 bins, so that its expression of some 12 bytes a bin stays below the 4 kB of an expression ('Quotas in Amazon
DynamoDB', expression parameters)."""

TRIES: Final = 30
PAUSE: Final = 0.05
PAUSE_MOST: Final = 0.25
"""Tries of one session; seconds to wait at most before the second one, twice that before the third, and so on up to the
last figure: about 3.5 s of waiting in all. Long pauses would be most of the lag where many shards write the rows of one
organization; `make bench` simulates it, and docs/counting.md says what was tried."""

DEADLINE: Final = 40.0
"""Seconds after which no further call starts. With a last call of 9 s (`dynamodb.py`) counting ends 11 s before the
function's timeout of 60 s."""

TIME_LIMIT: Final = 52.0
"""Seconds after which a batch is given up, whatever its calls do: then all of it is delivered again."""

OUT_OF_TIME: Final = "out of time"

_RETRYABLE: Final = frozenset(
    {"ConditionalCheckFailed", "ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"}
)
"""Reasons for which a transaction was cancelled that another try, on markers read anew, may not meet again
(TransactWriteItems, 'Cancellation reason codes'). botocore retries no cancelled transaction."""


class Limits(NamedTuple):
    """How much goes into one call, how often and how long it is tried; tests make them small."""

    actions: int = ACTIONS
    reads: int = BATCH_GET_KEYS
    tries: int = TRIES
    deadline: float = DEADLINE


@dataclass
class Outcome:
    """What became of a batch of sessions."""

    updated: dict[str, MarkerUpdate] = field(default_factory=dict)
    """Sessions whose marker changed."""
    attempted: set[str] = field(default_factory=set)
    """Sessions in any transaction that was sent; one that timed out may have been carried out."""
    failed: dict[str, str] = field(default_factory=dict)
    """Sessions that could not be counted, and why."""
    transactions: int = 0
    """Transactions that were carried out."""
    retries: int = 0
    """Calls that another try was made for."""


class CountWriter:
    """The count rows and markers of one counts table, for writing."""

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        counts_table: str,
        sleep: Callable[[float], None] = time.sleep,
        limits: Limits = Limits(),  # noqa: B008  (immutable)
        time_limit: TimeLimit | None = None,
    ) -> None:
        """
        Args:
            time_limit: when to stop waiting, whatever the calls do; None: never.
        """
        self._dynamodb = dynamodb
        self._table = counts_table
        self._sleep = sleep
        self._limits = limits
        self._time_limit = time_limit

    def apply(self, transitions: Mapping[str, Transition]) -> Outcome:
        """Brings the markers of sessions, and the count rows with them, to what they are to become.

        Sessions that meet a conflict, throttling or a timeout are tried again from the reading of their markers on,
        which makes it harmless that a call which timed out may have been carried out. A session that DynamoDB refuses
        takes no other one with it.

        Args:
            transitions: what the marker of each session becomes; packed in this order.
        """
        if self._time_limit is None:
            return self._apply(transitions)
        try:
            return self._time_limit.run(lambda: self._apply(transitions))
        except Unavailable:
            return Outcome(attempted=set(transitions), failed=dict.fromkeys(transitions, OUT_OF_TIME))

    def _apply(self, transitions: Mapping[str, Transition]) -> Outcome:
        outcome = Outcome()
        # A key that is too long would make DynamoDB refuse to read all the others with it.
        work = _Work(list(filter(fits_marker, transitions)), ends_at=time.monotonic() + self._limits.deadline)
        for tries in range(self._limits.tries):
            if tries:
                self._sleep(backoff(tries))
            work = self._try(work, transitions, outcome)
            if not work.waiting or work.is_over:
                break
        outcome.failed |= {session_id: work.reasons[session_id] for session_id in work.waiting}
        return outcome

    def _try(self, work: _Work, transitions: Mapping[str, Transition], outcome: Outcome) -> _Work:
        """One try of everything that waits; returns what has to wait for another."""
        later = _Work([], work.ends_at, work.alone, work.reasons)
        updates: dict[str, MarkerUpdate] = {}
        for start in range(0, len(work.waiting), self._limits.reads):
            chunk = work.waiting[start : start + self._limits.reads]
            try:
                work.check()
                markers, unread = self._markers(chunk)
            except _FAULTS as error:
                _handle_failure(error, chunk, later, outcome)
                continue
            later.retry_later(unread, "throttled")
            for session_id, marker in markers.items():
                update = MarkerUpdate(marker, transitions[session_id](marker))
                if update.before != update.after:
                    updates[session_id] = update
        for transaction in pack(updates, work.alone, self._limits.actions):
            try:
                work.check()
                outcome.attempted.update(transaction.updates)
                self._dynamodb.transact_write_items(TransactItems=self._actions(transaction))
            except _FAULTS as error:
                _handle_failure(error, list(transaction.updates), later, outcome)
            else:
                outcome.transactions += 1
                outcome.updated |= transaction.updates
        return later.in_order_of(work)

    def _markers(self, session_ids: Sequence[str]) -> tuple[dict[str, Marker], list[str]]:
        """The markers of at most 100 sessions, and the sessions whose marker was not read."""
        items, unread = batch_get(self._dynamodb, self._table, [marker_key(each) for each in session_ids])
        found = {marked_session(item): marked_keys(item) for item in items}
        missed = {marked_session(key) for key in unread}
        return (
            {each: found.get(each) for each in session_ids if each not in missed},
            [each for each in session_ids if each in missed],
        )

    def _actions(self, transaction: Transaction) -> list[Any]:
        markers = [self._marker_action(session_id, update) for session_id, update in transaction.updates.items()]
        return markers + [self._row_action(row, bins) for row, bins in transaction.rows.items()]

    def _row_action(self, row: Row, bins: Mapping[str, int]) -> dict[str, Any]:
        numbered = list(enumerate(bins.items()))
        return {
            "Update": {
                "TableName": self._table,
                "Key": count_row_key(*row),
                "UpdateExpression": "ADD " + ", ".join(f"#{number} :{number}" for number, _ in numbered),
                "ExpressionAttributeNames": {f"#{number}": name for number, (name, _) in numbered},
                "ExpressionAttributeValues": {f":{number}": {"N": str(change)} for number, (_, change) in numbered},
            }
        }

    def _marker_action(self, session_id: str, update: MarkerUpdate) -> dict[str, Any]:
        condition = {"TableName": self._table} | _marker_condition(update.before)
        if update.after is None:
            return {"Delete": condition | {"Key": marker_key(session_id)}}
        return {"Put": condition | {"Item": marker_item(session_id, update.after)}}


def backoff(tries: int) -> float:
    """Seconds to wait before another try, when `tries` have failed: anything from none to twice as many each time."""
    return random.uniform(0, min(PAUSE_MOST, PAUSE * 2 ** (tries - 1)))  # noqa: S311  (no secret)


# -------------------------------------------------------------------------------------------- packing


@dataclass
class Transaction:
    """Marker updates of several sessions, and what they change in the bins together."""

    updates: dict[str, MarkerUpdate]
    bins: Counter[tuple[Row, str]]
    """The change of each bin by row and name; some may be 0."""

    @property
    def rows(self) -> dict[Row, dict[str, int]]:
        """The changes of each row that changes, by bin."""
        rows: dict[Row, dict[str, int]] = {}
        for (row, name), change in self.bins.items():
            if change:
                rows.setdefault(row, {})[name] = change
        return rows

    @property
    def actions(self) -> int:
        """Actions that the transaction takes: one for each item."""
        return len(self.updates) + len({row for (row, _), change in self.bins.items() if change})

    def joined_by(self, session_id: str, update: MarkerUpdate) -> Transaction:
        """The transaction with one more session in it."""
        bins = Counter(self.bins)
        add(bins, update.after, 1)
        add(bins, update.before, -1)
        return Transaction(self.updates | {session_id: update}, bins)


def pack(
    updates: Mapping[str, MarkerUpdate], alone: Container[str] = (), most_actions: int = ACTIONS
) -> Iterator[Transaction]:
    """The updates in as few transactions as their order allows.

    Args:
        alone: sessions that get a transaction each.
        most_actions: actions of one transaction.
    """
    transaction = Transaction({}, Counter())
    for session_id, update in updates.items():
        if session_id in alone:
            yield Transaction({}, Counter()).joined_by(session_id, update)
            continue
        joined = transaction.joined_by(session_id, update)
        if joined.actions > most_actions:
            yield transaction
            joined = Transaction({}, Counter()).joined_by(session_id, update)
        transaction = joined
    if transaction.updates:
        yield transaction


def _marker_condition(marker: Marker) -> dict[str, Any]:
    """The condition that a marker still is what it was when it was read."""
    if marker is None:
        return {"ConditionExpression": f"attribute_not_exists({CREATED_AT_ID})"}
    present = {name: value for name, value in marker._asdict().items() if value is not None}
    terms = [f"{name} = :{name}" if name in present else f"attribute_not_exists({name})" for name in IndexKeys._fields]
    return {
        "ConditionExpression": " AND ".join(terms),
        "ExpressionAttributeValues": {f":{name}": {"S": value} for name, value in present.items()},
    }


# -------------------------------------------------------------------------------------------- retries


class _OutOfTime(Exception):
    """The deadline has passed."""


_FAULTS = (_OutOfTime, *CALL_FAULTS)


@dataclass
class _Work:
    """Sessions that wait to be counted."""

    waiting: list[str]
    ends_at: float
    alone: set[str] = field(default_factory=set)
    """Sessions of a transaction that DynamoDB refused: each gets one of its own, to find the culprit."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why each of them waits."""

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.ends_at

    def check(self) -> None:
        if self.is_over:
            raise _OutOfTime

    def retry_later(self, session_ids: Iterable[str], reason: str) -> None:
        for session_id in session_ids:
            self.waiting.append(session_id)
            self.reasons[session_id] = reason

    def give_up(self, session_ids: Iterable[str]) -> None:
        """Out of time; an earlier reason, if there is one, is kept because it says more."""
        for session_id in session_ids:
            self.waiting.append(session_id)
            self.reasons.setdefault(session_id, OUT_OF_TIME)

    def in_order_of(self, other: _Work) -> _Work:
        again = set(self.waiting)
        self.waiting = [session_id for session_id in other.waiting if session_id in again]
        return self


def _handle_failure(error: Exception, session_ids: Sequence[str], later: _Work, outcome: Outcome) -> None:
    """Decides whether sessions whose call failed are tried again, tried one by one, or given up."""
    reason = _reason(error)
    if isinstance(error, _OutOfTime):
        later.give_up(session_ids)
    elif _is_retryable(error):
        later.retry_later(session_ids, reason)
        outcome.retries += 1
    elif len(session_ids) > 1 and _is_cancelled(error):
        later.retry_later(session_ids, reason)
        later.alone.update(session_ids)
    else:
        outcome.failed |= dict.fromkeys(session_ids, reason)


def _is_retryable(error: Exception) -> bool:
    if _is_cancelled(error):
        return {reason["Code"] for reason in _cancellations(error)} <= _RETRYABLE
    return is_transient(error)


def _is_cancelled(error: Exception) -> bool:
    return _error(error).get("Code") == "TransactionCanceledException"


def _cancellations(error: Exception) -> list[dict[str, str]]:
    """The reasons for which actions of a transaction were refused, those that were not left out."""
    reasons = (getattr(error, "response", None) or {}).get("CancellationReasons", [])
    return [reason for reason in reasons if reason.get("Code", "None") != "None"]


def _error(error: Exception) -> dict[str, str]:
    """Code and message of a refusal by DynamoDB; nothing for any other fault."""
    found: dict[str, str] = (getattr(error, "response", None) or {}).get("Error", {})
    return found


def _reason(error: Exception) -> str:
    """The code of a fault, with DynamoDB's own message beside it, for the log."""
    refusal = _error(error)
    if not refusal:
        return type(error).__name__
    said = _cancellations(error) if _is_cancelled(error) else [refusal]
    sentences = sorted({": ".join(filter(None, [each.get("Code"), each.get("Message")])) for each in said})
    return ("TransactionCanceledException: " if _is_cancelled(error) else "") + ", ".join(sentences)
