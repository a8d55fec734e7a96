"""Finds and removes what an earlier layout left in the counts table.

Earlier versions also kept rows for days, hours and minutes, or one number in the attribute `count` of a row. Nothing
writes or reads those any more, so they can be removed beside live traffic.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sessions.histograms import LEVELS
from sessions.schema import BUCKET, SCOPE, Item
from sessions_cli.bulk import BATCH_WRITES, chunks, write_batch
from sessions_cli.tables import Tables

LETTERS: Final = frozenset("DHN")
"""First characters of the buckets of days, hours and minutes."""

NUMBER: Final = "count"
"""The attribute that held the number of a row before rows had bins."""

BIN_NAMES: Final = {level.letter: frozenset(level.bins) for level in LEVELS}
"""The names of the bins of each level, by the letter of its buckets."""


def is_earlier_row(row: Item) -> bool:
    """Return whether a whole row is of an earlier layout."""
    return row[BUCKET]["S"][:1] in LETTERS


def has_earlier_number(row: Item) -> bool:
    """Return whether a row that is still in use also has the number of an earlier layout."""
    return row[BUCKET]["S"][:1] in BIN_NAMES and NUMBER in row


def remove(tables: Tables, rows: Iterable[Item]) -> int:
    """Remove what an earlier layout left in these rows, and return how many rows had any."""
    rows = list(rows)
    keys = [{SCOPE: row[SCOPE], BUCKET: row[BUCKET]} for row in rows if is_earlier_row(row)]
    for chunk in chunks(keys, BATCH_WRITES):
        write_batch(tables.dynamodb, tables.counts, [{"DeleteRequest": {"Key": key}} for key in chunk])
    numbered = [{SCOPE: row[SCOPE], BUCKET: row[BUCKET]} for row in rows if has_earlier_number(row)]
    for key in numbered:
        tables.dynamodb.update_item(
            TableName=tables.counts,
            Key=key,
            UpdateExpression="REMOVE #number",
            ExpressionAttributeNames={"#number": NUMBER},
        )
    return len(keys) + len(numbered)
