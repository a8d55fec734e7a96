"""The one change to moto: a transaction copies the rows of its tables once, and no item.

So that it can undo a transaction, moto copies the tables with all items for every action: 4 seconds to count one
session beside 4,000. Here a copy shares the items, and an update replaces its item instead of changing it.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import Item
from moto.dynamodb.models.table import Table

_update_item = DynamoDBBackend.update_item
_transact_write_items = DynamoDBBackend.transact_write_items
_copies: dict[str, Table] = {}  # of the transaction that is under way, by name


def apply() -> None:
    """Change moto for this process."""
    Table.__deepcopy__ = _copy_rows  # type: ignore[attr-defined]
    DynamoDBBackend.update_item = _replace_item  # type: ignore[method-assign]
    DynamoDBBackend.transact_write_items = _transact  # type: ignore[method-assign]


def _copy_rows(table: Table, _memo: dict[int, Any]) -> Table:
    if table.name in _copies:
        return _copies[table.name]
    twin = copy.copy(table)
    rows = table.items.items()
    twin.items = defaultdict(dict, {key: dict(row) for key, row in rows} if table.has_range_key else rows)
    return twin


def _replace_item(self: DynamoDBBackend, table_name: str, key: dict[str, Any], *args: Any, **kwargs: Any) -> Item:
    table = self.get_table(table_name)
    hash_key, range_key = self.get_keys_value(table, key)
    item = table.get_item(hash_key, range_key)
    if item is not None:
        rows: Any = table.items[hash_key] if range_key else table.items
        rows[range_key or hash_key] = copy.deepcopy(item)
    return _update_item(self, table_name, key, *args, **kwargs)


def _transact(self: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
    names = {action.get("TableName") for item in transact_items for action in item.values()}
    tables = [self.tables[name] for name in names & self.tables.keys()]
    records = [(table.stream_shard, len(table.stream_shard.items)) for table in tables if table.stream_shard]
    _copies.update({table.name: copy.deepcopy(table) for table in tables})
    try:
        _transact_write_items(self, transact_items)
    except Exception:
        for shard, count in records:  # moto would keep the records of what it undoes
            del shard.items[count:]
        raise
    finally:
        _copies.clear()
