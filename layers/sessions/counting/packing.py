"""Marker updates packed into transactions: pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping
from typing import Any, Final

from sessions.counting.transitions import Marker, MarkerUpdate
from sessions.histograms import Row, add
from sessions.schema import CREATED_AT_ID, IndexKeys, count_row_key, marker_item, marker_key

ACTIONS_MAX: Final = 100
"""Actions in one transaction ('Quotas in Amazon DynamoDB', TransactWriteItems). A count row is one action; with its 120
bins at most, its expression of some 12 bytes a bin stays below the limit of 4 kB."""


class Transaction:
    """Marker updates of several sessions, and the bins that they change together."""

    def __init__(self) -> None:
        self.updates: dict[str, MarkerUpdate] = {}
        self._bins: Counter[tuple[Row, str]] = Counter()

    @property
    def rows(self) -> dict[Row, dict[str, int]]:
        """Return the change of each bin, by row; rows and bins that do not change are left out."""
        rows: dict[Row, dict[str, int]] = {}
        for (row, name), change in self._bins.items():
            if change:
                rows.setdefault(row, {})[name] = change
        return rows

    def try_add(self, session_id: str, update: MarkerUpdate) -> bool:
        """Add a session and return True, unless the transaction would have too many actions: one for each item."""
        self._change(update, 1)
        if self.updates and len(self.updates) + 1 + len(self.rows) > ACTIONS_MAX:
            self._change(update, -1)
            return False
        self.updates[session_id] = update
        return True

    def actions(self, table: str) -> list[Any]:
        """Return the parameter TransactItems of TransactWriteItems."""
        markers = [_marker_action(table, session_id, update) for session_id, update in self.updates.items()]
        return markers + [_row_action(table, row, bins) for row, bins in self.rows.items()]

    def _change(self, update: MarkerUpdate, sign: int) -> None:
        add(self._bins, update.after, sign)
        add(self._bins, update.before, -sign)


def pack(updates: Mapping[str, MarkerUpdate], isolated: Container[str] = ()) -> Iterator[Transaction]:
    """Yield the updates in transactions, as few as their order allows.

    Args:
        updates: by session id.
        isolated: sessions that get a transaction of their own.
    """
    transaction = Transaction()
    for session_id, update in updates.items():
        if session_id in isolated:
            single = Transaction()
            single.try_add(session_id, update)
            yield single
        elif not transaction.try_add(session_id, update):
            yield transaction
            transaction = Transaction()
            transaction.try_add(session_id, update)
    if transaction.updates:
        yield transaction


def _row_action(table: str, row: Row, bins: Mapping[str, int]) -> dict[str, Any]:
    numbered = list(enumerate(bins.items()))
    return {
        "Update": {
            "TableName": table,
            "Key": count_row_key(*row),
            "UpdateExpression": "ADD " + ", ".join(f"#{number} :{number}" for number, _ in numbered),
            "ExpressionAttributeNames": {f"#{number}": name for number, (name, _) in numbered},
            "ExpressionAttributeValues": {f":{number}": {"N": str(change)} for number, (_, change) in numbered},
        }
    }


def _marker_action(table: str, session_id: str, update: MarkerUpdate) -> dict[str, Any]:
    condition = {"TableName": table, **_unchanged(update.before)}
    if update.after is None:
        return {"Delete": {**condition, "Key": marker_key(session_id)}}
    return {"Put": {**condition, "Item": marker_item(session_id, update.after)}}


def _unchanged(marker: Marker) -> dict[str, Any]:
    """Return the condition that a marker is as it was read."""
    if marker is None:
        return {"ConditionExpression": f"attribute_not_exists({CREATED_AT_ID})"}
    present = {name: value for name, value in marker._asdict().items() if value is not None}
    terms = [f"{name} = :{name}" if name in present else f"attribute_not_exists({name})" for name in IndexKeys._fields]
    return {
        "ConditionExpression": " AND ".join(terms),
        "ExpressionAttributeValues": {f":{name}": {"S": value} for name, value in present.items()},
    }
