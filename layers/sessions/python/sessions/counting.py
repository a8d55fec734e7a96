"""Keeping the count rows: markers and transactions; the stream and the rebuild share it.

An entry is counted where an index holds it: in the partition of `organization_id`, in the partition of
`organization_agent`, and in both under its month, hour and minute. What was counted for a session is
written down in a row of its own, the marker (`scope` = `session#` + id, `bucket` = `S`), as the very keys
that were counted. Every transaction changes markers and counters together, on the condition that the
markers still are what they were when they were read. So at any moment, whatever was repeated, lost or
crashed before it, each counter is the number of markers that say so; all that is left to the callers is
to bring every marker to its session.

What a marker becomes:

    record          marker            becomes
    INSERT          equal             what it was
    INSERT          none, or another  the new image's keys
    REMOVE          equal             none
    REMOVE          none, or another  what it was
    look at a session as it is now    the session's keys, or none

A marker that said only 'counted' would be wrong for good when put, delete, put of one id is delivered
twice with other keys: it could not tell which of the two puts it stands for.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotocoreConnectionError

from sessions.buckets import buckets_of
from sessions.dynamodb import Item, is_transient

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ORGANIZATION: Final = "organization_id"
ORGANIZATION_AGENT: Final = "organization_agent"
SORT_KEY: Final = "created_at_id"
"""The key attributes of the two indexes: a partition key each, and the sort key that they share."""

MARKER_BUCKET: Final = "S"
MARKER_PREFIX: Final = "session#"
"""Markers lie in a partition each, so that they do not crowd the organization's."""

ACTIONS: Final = 100
"""Actions in one transaction ('Quotas in Amazon DynamoDB', TransactWriteItems)."""

KEYS: Final = 100
"""Keys in one BatchGetItem ('Quotas in Amazon DynamoDB', BatchGetItem)."""

PARTITION_KEY_BYTES: Final = 2048
"""Length of a partition key's value ('Quotas in Amazon DynamoDB', partition keys)."""

TRIES: Final = 10
PAUSE: Final = 0.05
PAUSE_MOST: Final = 2.0
"""Tries of one session; seconds to wait at most before the second one, twice that before the third, and
so on up to the last figure: about 5 s of waiting in all."""

DEADLINE: Final = 40.0
"""Seconds after which no further call starts. With a last call of 9 s (`dynamodb.py`) counting ends 11 s
before the function's timeout of 60 s."""

_WORTH_ANOTHER_TRY: Final = frozenset(
    {"ConditionalCheckFailed", "ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"}
)
"""Reasons for which a transaction was cancelled that another try, on markers read anew, may not meet
again (TransactWriteItems, 'Cancellation reason codes'). botocore retries no cancelled transaction."""

INSERT: Final = "INSERT"
REMOVE: Final = "REMOVE"

Row = tuple[str, str]
"""Scope and bucket: the key of a counter."""


class Keys(NamedTuple):
    """The keys under which an entry is counted; None where an index's entry is not."""

    organization_id: str | None
    organization_agent: str | None
    created_at_id: str

    @property
    def rows(self) -> list[Row]:
        """The counters that count the entry."""
        scopes = [scope for scope in (self.organization_id, self.organization_agent) if scope is not None]
        return [(scope, bucket) for scope in scopes for bucket in buckets_of(self.created_at_id)]


Marker = Keys | None
"""What is counted for a session; None for nothing."""

Becoming = Callable[[Marker], Marker]
"""What the marker of a session is to become, given what it is."""


class Change(NamedTuple):
    """A record of the stream that matters here."""

    inserted: bool
    keys: Marker
    sequence_number: str


def keys_of(session_id: str, image: Item) -> Marker:
    """The keys under which an item of the sessions table is counted, or None when it is counted nowhere.

    An index holds an item that has both of its keys. A partition key in the other index's form (an
    organization with a `#`, an organization and agent without one) would share its scope with rows of the
    other index, and belongs to no listing that a caller can ask for: it is not counted. Nor is a session
    whose id is too long to be a marker's key.
    """
    created_at_id = _text(image, SORT_KEY)
    if created_at_id is None or not _fits_a_marker(session_id):
        return None
    organization_id, organization_agent = _text(image, ORGANIZATION), _text(image, ORGANIZATION_AGENT)
    if organization_id is not None and "#" in organization_id:
        organization_id = None
    if organization_agent is not None and "#" not in organization_agent:
        organization_agent = None
    if organization_id is None and organization_agent is None:
        return None
    return Keys(organization_id, organization_agent, created_at_id)


def _fits_a_marker(session_id: str) -> bool:
    return len((MARKER_PREFIX + session_id).encode()) <= PARTITION_KEY_BYTES


def marker_of(item: Item) -> Marker:
    """The marker that a row of the counts table is."""
    created_at_id = _text(item, SORT_KEY)
    if created_at_id is None:
        return None
    return Keys(_text(item, ORGANIZATION), _text(item, ORGANIZATION_AGENT), created_at_id)


def marker_key(session_id: str) -> Item:
    """The key of a session's marker in the counts table."""
    return {"scope": {"S": MARKER_PREFIX + session_id}, "bucket": {"S": MARKER_BUCKET}}


def session_of(scope: str) -> str:
    """The session that the marker with this scope belongs to."""
    return scope.removeprefix(MARKER_PREFIX)


def changes_of(records: Iterable[Mapping[str, Any]]) -> dict[str, list[Change]]:
    """The changes of every session in a batch of stream records, sessions in the order of their first record.

    Records of another kind are left out: the keys of a session never change after its creation.

    Raises:
        KeyError: an insert or removal lacks its image, as if the stream had another view type. To pass
            over it would lose it for good; so the batch fails, and ends in the failure queue.
    """
    changes: dict[str, list[Change]] = {}
    for record in records:
        kind, stream = record["eventName"], record["dynamodb"]
        if kind not in (INSERT, REMOVE):
            continue
        session_id = stream["Keys"]["id"]["S"]
        keys = keys_of(session_id, stream["NewImage" if kind == INSERT else "OldImage"])
        changes.setdefault(session_id, []).append(Change(kind == INSERT, keys, stream["SequenceNumber"]))
    return changes


def after(changes: Sequence[Change]) -> Becoming:
    """What a marker becomes by changes, one after another."""

    def becoming(marker: Marker) -> Marker:
        for change in changes:
            if change.inserted:
                marker = change.keys
            elif change.keys == marker:
                marker = None
        return marker

    return becoming


def as_it_is(keys: Marker) -> Becoming:
    """What a marker becomes by a look at its session."""
    return lambda _: keys


class Move(NamedTuple):
    """One session's way from the marker as it was read to the marker as it is to be."""

    before: Marker
    after: Marker


@dataclass
class Outcome:
    """What became of a batch of sessions."""

    moved: dict[str, Move] = field(default_factory=dict)
    """Sessions whose marker changed."""
    attempted: set[str] = field(default_factory=set)
    """Sessions in any transaction that was sent; one that timed out may have been carried out."""
    failed: dict[str, str] = field(default_factory=dict)
    """Sessions that could not be counted, and why."""
    transactions: int = 0
    """Transactions that were carried out."""
    retries: int = 0
    """Calls that another try was made for."""


class Counting:
    """The count rows and markers of one counts table, for writing."""

    def __init__(
        self, dynamodb: DynamoDBClient, counts_table: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._dynamodb = dynamodb
        self._table = counts_table
        self._sleep = sleep

    def count(self, sessions: Mapping[str, Becoming]) -> Outcome:
        """Brings the markers of sessions, and the counters with them, to what they are to become.

        Sessions that meet a conflict, throttling or a timeout are tried again from the reading of their
        markers on, which makes it harmless that a call which timed out may have been carried out.
        A session that DynamoDB refuses takes no other one with it.

        Args:
            sessions: what the marker of each session is to become; packed in this order.
        """
        outcome = Outcome()
        # A key that is too long would make DynamoDB refuse to read all the others with it.
        work = _Work(list(filter(_fits_a_marker, sessions)), ends_at=time.monotonic() + DEADLINE)
        for tries in range(TRIES):
            if tries:
                self._sleep(pause(tries))
            work = self._try(work, sessions, outcome)
            if not work.waiting or work.is_over:
                break
        outcome.failed |= {session_id: work.reasons[session_id] for session_id in work.waiting}
        return outcome

    def _try(self, work: _Work, sessions: Mapping[str, Becoming], outcome: Outcome) -> _Work:
        """One try of everything that waits; returns what has to wait for another."""
        later = _Work([], work.ends_at, work.apart, work.reasons)
        moves: dict[str, Move] = {}
        for start in range(0, len(work.waiting), KEYS):
            chunk = work.waiting[start : start + KEYS]
            try:
                work.check()
                markers, unread = self._markers(chunk)
            except _FAULTS as error:
                _sort_out(error, chunk, later, outcome)
                continue
            later.put_off(unread, "throttled")
            for session_id, marker in markers.items():
                move = Move(marker, sessions[session_id](marker))
                if move.before != move.after:
                    moves[session_id] = move
        for transaction in _packed(moves, work.apart):
            try:
                work.check()
                outcome.attempted.update(transaction.moves)
                self._dynamodb.transact_write_items(TransactItems=self._actions(transaction))
            except _FAULTS as error:
                _sort_out(error, list(transaction.moves), later, outcome)
            else:
                outcome.transactions += 1
                outcome.moved |= transaction.moves
        return later.in_order_of(work)

    def _markers(self, session_ids: Sequence[str]) -> tuple[dict[str, Marker], list[str]]:
        """The markers of at most 100 sessions, and the sessions whose marker was not read."""
        items, unread = strong_read(self._dynamodb, self._table, [marker_key(each) for each in session_ids])
        found = {session_of(item["scope"]["S"]): marker_of(item) for item in items}
        missed = {session_of(key["scope"]["S"]) for key in unread}
        return {each: found.get(each) for each in session_ids if each not in missed}, list(missed)

    def _actions(self, transaction: _Transaction) -> list[Any]:
        markers = [self._marker_action(session_id, move) for session_id, move in transaction.moves.items()]
        counters = [
            {
                "Update": {
                    "TableName": self._table,
                    "Key": {"scope": {"S": scope}, "bucket": {"S": bucket}},
                    "UpdateExpression": "ADD #count :change",
                    "ExpressionAttributeNames": {"#count": "count"},
                    "ExpressionAttributeValues": {":change": {"N": str(change)}},
                }
            }
            for (scope, bucket), change in transaction.changes.items()
        ]
        return markers + counters

    def _marker_action(self, session_id: str, move: Move) -> dict[str, Any]:
        key, condition = marker_key(session_id), {"TableName": self._table} | _unchanged(move.before)
        if move.after is None:
            return {"Delete": condition | {"Key": key}}
        keys = {name: {"S": value} for name, value in move.after._asdict().items() if value is not None}
        return {"Put": condition | {"Item": key | keys}}


def strong_read(
    dynamodb: DynamoDBClient, table: str, keys: Sequence[Item], attributes: Sequence[str] = ()
) -> tuple[list[Item], list[Item]]:
    """The items of at most 100 keys as they are now, and the keys that DynamoDB left unprocessed.

    Args:
        attributes: those to return; none given means all.
    """
    names = {f"#{name}": name for name in attributes}  # `scope` and others are reserved words
    wanted: Any = {"Keys": list(keys), "ConsistentRead": True}
    if names:
        wanted |= {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}
    answer: Any = dynamodb.batch_get_item(RequestItems={table: wanted})
    return answer["Responses"].get(table, []), answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])


def pause(tries: int) -> float:
    """Seconds to wait before another try, when `tries` have failed: anything from none to twice as many each time."""
    return random.uniform(0, min(PAUSE_MOST, PAUSE * 2 ** (tries - 1)))  # noqa: S311  (no secret)


class _OutOfTime(Exception):
    """The deadline has passed."""


_FAULTS = (_OutOfTime, ClientError, HTTPClientError, BotocoreConnectionError)


@dataclass
class _Work:
    """Sessions that wait to be counted."""

    waiting: list[str]
    ends_at: float
    apart: set[str] = field(default_factory=set)
    """Sessions of a transaction that DynamoDB refused: each gets one of its own, to find the culprit."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why each of them waits."""

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.ends_at

    def check(self) -> None:
        if self.is_over:
            raise _OutOfTime

    def put_off(self, session_ids: Iterable[str], reason: str) -> None:
        for session_id in session_ids:
            self.waiting.append(session_id)
            self.reasons[session_id] = reason

    def leave(self, session_ids: Iterable[str]) -> None:
        """There is no time for them; why they had to wait before says more than that."""
        for session_id in session_ids:
            self.waiting.append(session_id)
            self.reasons.setdefault(session_id, "out of time")

    def in_order_of(self, other: _Work) -> _Work:
        again = set(self.waiting)
        self.waiting = [session_id for session_id in other.waiting if session_id in again]
        return self


def _sort_out(error: Exception, session_ids: Sequence[str], later: _Work, outcome: Outcome) -> None:
    """Decides whether sessions whose call failed are tried again, tried one by one, or given up."""
    reason = _reason(error)
    if isinstance(error, _OutOfTime):
        later.leave(session_ids)
    elif _may_pass(error):
        later.put_off(session_ids, reason)
        outcome.retries += 1
    elif len(session_ids) > 1 and _is_cancelled(error):
        later.put_off(session_ids, reason)
        later.apart.update(session_ids)
    else:
        outcome.failed |= dict.fromkeys(session_ids, reason)


def _may_pass(error: Exception) -> bool:
    return set(_cancellations(error)) <= _WORTH_ANOTHER_TRY if _is_cancelled(error) else is_transient(error)


def _is_cancelled(error: Exception) -> bool:
    return isinstance(error, ClientError) and error.response["Error"]["Code"] == "TransactionCanceledException"


def _cancellations(error: Exception) -> list[str]:
    reasons: list[dict[str, str]] = getattr(error, "response", {}).get("CancellationReasons", [])
    return sorted({reason.get("Code", "None") for reason in reasons} - {"None"})


def _reason(error: Exception) -> str:
    if _is_cancelled(error):
        return "TransactionCanceledException: " + ", ".join(_cancellations(error))
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__


@dataclass
class _Transaction:
    """Moves of several sessions, and what they change in the counters together."""

    moves: dict[str, Move]
    changes: dict[Row, int]

    @property
    def actions(self) -> int:
        return len(self.moves) + len(self.changes)

    def joined_by(self, session_id: str, move: Move) -> _Transaction:
        changes = Counter(self.changes)
        changes.update(move.after.rows if move.after else ())
        changes.subtract(move.before.rows if move.before else ())
        return _Transaction(self.moves | {session_id: move}, {row: change for row, change in changes.items() if change})


def _packed(moves: Mapping[str, Move], apart: set[str]) -> Iterator[_Transaction]:
    """The moves in as few transactions as their order allows; those of sessions set apart, one each."""
    transaction = _Transaction({}, {})
    for session_id, move in moves.items():
        if session_id in apart:
            yield _Transaction({}, {}).joined_by(session_id, move)
            continue
        joined = transaction.joined_by(session_id, move)
        if joined.actions > ACTIONS:
            yield transaction
            joined = _Transaction({}, {}).joined_by(session_id, move)
        transaction = joined
    if transaction.moves:
        yield transaction


def _unchanged(marker: Marker) -> dict[str, Any]:
    """The condition that a marker still is what it was when it was read."""
    if marker is None:
        return {"ConditionExpression": f"attribute_not_exists({SORT_KEY})"}
    present = {name: value for name, value in marker._asdict().items() if value is not None}
    terms = [f"{name} = :{name}" if name in present else f"attribute_not_exists({name})" for name in Keys._fields]
    return {
        "ConditionExpression": " AND ".join(terms),
        "ExpressionAttributeValues": {f":{name}": {"S": value} for name, value in present.items()},
    }


def _text(item: Item, name: str) -> str | None:
    # An index leaves out an item whose key attribute is missing; the other types cannot be stored.
    value = item.get(name, {}).get("S")
    return value or None
