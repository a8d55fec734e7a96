"""Makes moto's DynamoDB fast enough to serve people; everything works without this file, only slower.

moto is built for tests with a few items: a query looks at every row of the table, a transaction copies every
table it touches, and writing a response takes longer than finding it. The classes below replace those three
by what a database does. They reach into moto's insides, so that a new version of moto may ask for changes
here; until then PLAIN_MOTO=1, or deleting this file, leaves moto as it is.

What each buys, in CPU of this process with 4,000 sessions: the query 17 ms for a page instead of 284; the addition
9 s for loading and counting instead of 14, the serializer 9 instead of 15. Without the transactions even the 565
sessions of the sample take a minute, since moto copies the table for every action of every transaction.
"""

from __future__ import annotations

import base64
import copy
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final, NamedTuple, cast

from moto.core.model import StructureShape
from moto.core.serialize import SERVICE_SPECIFIC_SERIALIZERS, JSONSerializer
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table as MotoTable

_ADDITIONS: Final = re.compile(r"ADD (#?\w+ :\w+(?:\s*,\s*#?\w+ :\w+)*)")
"""The update of a count row. Nearly all of the counting consists of these, and moto takes four times as long to
parse, validate and copy for such an expression as for all the rest."""

_CONDITIONS: Final = {"consistent_read", "filter_expression", "hash_key_conditions", "range_key_conditions"}
"""What a query may have beside its partition without counting towards its limit; filters in older forms do."""


def install(account: str, region: str) -> None:
    """Replaces moto's DynamoDB of an account and region, which must not have been used yet."""
    dynamodb_backends[account][region] = _Backend(region, account)
    for service in ("dynamodb", "dynamodbstreams"):
        SERVICE_SPECIFIC_SERIALIZERS[service] = {"json": _Serializer}


class _Serializer(JSONSerializer):
    """Writes attribute values as they are.

    They have DynamoDB's form already; moto tries some thirty names for the members of each, which is most of
    what a page costs.
    """

    def _serialize_type_structure(
        self, serialized: MutableMapping[str, Any], value: Any, shape: StructureShape, key: str
    ) -> None:
        if shape.name == "AttributeValue" and isinstance(value, dict):
            self._default_serialize(serialized, value, shape, key)
        else:
            super()._serialize_type_structure(serialized, value, shape, key)

    def _serialize_body(self, body: Mapping[str, Any]) -> str:
        return json.dumps(body, default=lambda binary: base64.b64encode(binary).decode())


Interval = tuple[str | None, str | None]
"""The lowest and the highest sort key that a query asks for; None for no bound."""


class _Partition(NamedTuple):
    """What a table or an index holds under one partition key, in the order of the sort keys."""

    sort_keys: list[str]
    items: list[Item]

    def near(self, interval: Interval, start: str | None, limit: int | None, *, is_forward: bool) -> list[Item]:
        """The rows from where a query begins to one more than it may return, or to its end.

        Which of those with the very sort keys of the bounds and the start are wanted is left to moto.
        """
        low, high = interval
        edges = [each for each in (low if is_forward else high, start) if each is not None]
        first, last = 0, len(self.items)
        if not limit:
            first = 0 if low is None else bisect_left(self.sort_keys, low)
            last = last if high is None else bisect_right(self.sort_keys, high)
        if edges:
            edge = max(edges) if is_forward else min(edges)
            before, behind = bisect_left(self.sort_keys, edge), bisect_right(self.sort_keys, edge)
            first, last = (max(first, before), last) if is_forward else (first, min(last, behind))
            limit = limit and limit + behind - before
        if limit:
            first, last = (first, first + limit + 1) if is_forward else (max(first, last - limit - 1), last)
        return self.items[first:last]


def _interval(comparison: str | None, values: list[DynamoType]) -> Interval | None:
    """What a condition on the sort key leaves; None for one that is left to moto, such as `begins_with`."""
    match comparison, [each.value for each in values]:
        case None, _:
            return None, None
        case ">" | ">=", [low]:
            return low, None
        case "<" | "<=", [high]:
            return None, high
        case "=", [value]:
            return value, value
        case "BETWEEN", [low, high]:
            return low, high
    return None


class _Table(MotoTable):
    """A table whose queries look only at the rows that they ask for."""

    is_in_transaction = False
    _partitions: dict[tuple[str | None, str], _Partition]
    """What was queried since something was written, by index, or None for the table itself, and partition key."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Table:
        if self.is_in_transaction:
            return self
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__ = copy.deepcopy(self.__dict__, memo)
        return twin

    def forget(self) -> None:
        """Something may have been written."""
        self._partitions = {}

    def query(
        self,
        hash_key: DynamoType | None,
        range_comparison: str | None,
        range_objs: list[DynamoType],
        limit: int | None,
        exclusive_start_key: dict[str, Any] | None,
        scan_index_forward: bool,
        projection_expressions: list[list[str]] | None,
        index_name: str | None = None,
        *arguments: Any,
        **named: Any,
    ) -> Any:
        everything, interval = self.items, _interval(range_comparison, range_objs)
        keys = self._keys(index_name)
        if hash_key is not None and interval is not None and keys is not None and named.keys() <= _CONDITIONS:
            partition = self._partition(index_name, keys, hash_key)
            start = (exclusive_start_key or {}).get(keys[1], {}).get("S")
            self.items = self._rows(partition.near(interval, start, limit, is_forward=scan_index_forward))
        try:
            return super().query(
                hash_key,
                range_comparison,
                range_objs,
                limit,  # type: ignore[arg-type]
                exclusive_start_key,  # type: ignore[arg-type]
                scan_index_forward,
                projection_expressions,
                index_name,
                *arguments,
                **named,
            )
        finally:
            self.items = everything

    def _keys(self, index_name: str | None) -> tuple[str, str] | None:
        """The partition and the sort key of an index, or of the table itself, where both are one text."""
        index = next((each for each in self.global_indexes if each.name == index_name), None)
        schema = index.schema if index is not None else self.schema if index_name is None else []
        types = {each["AttributeName"]: each["AttributeType"] for each in self.attr}
        names = [key["AttributeName"] for key in schema]
        is_known = [key["KeyType"] for key in schema] == ["HASH", "RANGE"] and all(types[each] == "S" for each in names)
        return (names[0], names[1]) if is_known else None

    def _partition(self, index_name: str | None, keys: tuple[str, str], hash_key: DynamoType) -> _Partition:
        name = (index_name, hash_key.value)
        if name not in self._partitions:
            # A table without a sort key holds its items themselves where others hold partitions.
            inner: Iterable[Any] = self.items.values()
            if self.has_range_key:
                partitions = inner if index_name is not None else [self.items.get(hash_key, {})]
                inner = (item for rows in partitions for item in rows.values())
            found = [item for item in inner if self._is_in(item, keys, hash_key)]
            found.sort(key=lambda item: (item.attrs[keys[1]].value, item.hash_key.value))
            self._partitions[name] = _Partition([item.attrs[keys[1]].value for item in found], found)
        return self._partitions[name]

    @staticmethod
    def _is_in(item: Item, keys: tuple[str, str], hash_key: DynamoType) -> bool:
        partition_key, sort_key = (item.attrs.get(each) for each in keys)
        if partition_key is None or sort_key is None:
            return False
        return bool(partition_key.type == sort_key.type == "S" and partition_key.value == hash_key.value)

    def _rows(self, items: list[Item]) -> Any:
        """Items as moto's tables hold them."""
        if not self.has_range_key:
            return {item.hash_key: item for item in items}
        rows: dict[DynamoType, dict[DynamoType, Item]] = {}
        for item in items:
            rows.setdefault(item.hash_key, {})[item.range_key] = item  # type: ignore[index]
        return rows


class _Backend(DynamoDBBackend):
    """A DynamoDB that undoes a failed transaction row by row, and copies no table for it."""

    def create_table(self, *arguments: Any, **named: Any) -> MotoTable:
        table = super().create_table(*arguments, **named)
        table.__class__ = _Table  # type: ignore[type-abstract]
        cast("_Table", table).forget()
        return table

    def put_item(self, table_name: str, *arguments: Any, **named: Any) -> Item:
        try:
            return super().put_item(table_name, *arguments, **named)
        finally:
            self._forget(table_name)

    def delete_item(self, table_name: str, *arguments: Any, **named: Any) -> Item | None:
        try:
            return super().delete_item(table_name, *arguments, **named)
        finally:
            self._forget(table_name)

    def update_table(self, name: str, *arguments: Any, **named: Any) -> MotoTable:
        self._forget(name)
        return super().update_table(name, *arguments, **named)

    def update_item(
        self,
        table_name: str,
        key: dict[str, dict[str, Any]],
        update_expression: str,
        expression_attribute_names: dict[str, Any],
        expression_attribute_values: dict[str, Any],
        *arguments: Any,
        **named: Any,
    ) -> Item:
        update = (update_expression, expression_attribute_names, expression_attribute_values)
        try:
            item = None if any([*arguments, *named.values()]) else self._add(table_name, key, *update)
            return super().update_item(table_name, key, *update, *arguments, **named) if item is None else item
        finally:
            self._forget(table_name)

    def _forget(self, table_name: str) -> None:
        table = self.tables.get(table_name)
        if isinstance(table, _Table):
            table.forget()

    def _add(
        self,
        table_name: str,
        key: dict[str, dict[str, Any]],
        update_expression: str,
        names: dict[str, Any] | None,
        values: dict[str, Any] | None,
    ) -> Item | None:
        """The item after an update that only adds numbers; None when it is another one, which is left to moto."""
        table = self.tables.get(table_name)
        additions = _ADDITIONS.fullmatch(update_expression or "")
        if table is None or table.stream_shard is not None or additions is None:
            return None
        changes = {}
        for name, value in (each.split() for each in additions[1].split(",")):
            changes[(names or {}).get(name, name)] = (values or {}).get(value, {})
        item = table.get_item(*self.get_keys_value(table, key))
        zero = DynamoType({"N": "0"})
        before = {name: item.attrs.get(name, zero) if item is not None else zero for name in changes}
        if changes.keys() & set(table.table_key_attrs) or not all(
            change.keys() == {"N"} and before[name].is_number() for name, change in changes.items()
        ):
            return None
        if item is None:
            return table.put_item(key | changes)
        for name, change in changes.items():
            item.attrs[name] = before[name] + DynamoType(change)
        return item

    def transact_write_items(self, transact_items: list[dict[str, Any]]) -> None:
        rows = self._rows(transact_items)
        tables = {id(table): table for table, *_ in rows}.values()
        streamed = [(shard, len(shard.items)) for table in tables if (shard := table.stream_shard) is not None]
        for table in tables:
            table.is_in_transaction = True
        try:
            super().transact_write_items(transact_items)
        except Exception:
            for table, hash_key, range_key, item in rows:
                _restore(table, hash_key, range_key, item)
            for shard, length in streamed:
                del shard.items[length:]
            raise
        finally:
            for table in tables:
                table.is_in_transaction = False
                table.forget()

    def _rows(
        self, transact_items: list[dict[str, Any]]
    ) -> list[tuple[_Table, DynamoType, DynamoType | None, Item | None]]:
        """The rows that the actions name, as they are now; malformed actions are left to moto to refuse."""
        rows = []
        for operation in (each for action in transact_items for each in action.values()):
            table = self.tables.get(operation.get("TableName"))
            key = operation.get("Key") or operation.get("Item") or {}
            if isinstance(table, _Table) and key.keys() >= set(table.table_key_attrs):
                hash_key, range_key = self.get_keys_value(table, key)
                rows.append((table, hash_key, range_key, copy.deepcopy(table.get_item(hash_key, range_key))))
        return rows


def _restore(table: MotoTable, hash_key: DynamoType, range_key: DynamoType | None, item: Item | None) -> None:
    rows: Any = table.items if range_key is None else table.items[hash_key]
    key = hash_key if range_key is None else range_key
    if item is None:
        rows.pop(key, None)
    else:
        rows[key] = item
