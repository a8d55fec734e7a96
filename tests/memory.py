"""A DynamoDB in memory for the calls that counting and paging make: moto's responses, some hundred times faster."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from botocore.exceptions import ClientError

Item = dict[str, Any]

KEYS = {"sessions": ("id",), "counts": ("scope", "bucket"), "api_keys": ("key_hash",)}
INDEXES = {
    "by_organization": ("organization_id", "created_at_id"),
    "by_organization_agent": ("organization_agent", "created_at_id"),
}

Around = Callable[[str, dict[str, Any], Callable[[], Any]], Any]
"""Called with an operation, its parameters and a function that makes the call."""


def client_error(code: str, operation: str, reasons: Iterable[str] = (), status: int = 400) -> ClientError:
    """Return an error as botocore raises it."""
    response: Any = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    if code == "TransactionCanceledException":
        response["CancellationReasons"] = [{"Code": reason} for reason in reasons]
    return ClientError(response, operation)


class Memory:
    """The tables, and the methods of a client that are used on them."""

    def __init__(self, page: int = 1000) -> None:
        self.tables: dict[str, dict[tuple[str, ...], Item]] = {name: {} for name in KEYS}
        self.page = page
        """Items in one cursor page, which DynamoDB bounds in bytes."""

    def describe_table(self, TableName: str) -> dict[str, Any]:  # noqa: N803
        keys = [{"AttributeName": name} for name in KEYS[TableName]]
        return {"Table": {"ItemCount": len(self.tables[TableName]), "KeySchema": keys}}

    def put_item(self, TableName: str, Item: Item) -> dict[str, Any]:  # noqa: N803
        self.tables[TableName][_key(TableName, Item)] = dict(Item)
        return {}

    def delete_item(self, TableName: str, Key: Item) -> dict[str, Any]:  # noqa: N803
        self.tables[TableName].pop(_key(TableName, Key), None)
        return {}

    def get_item(self, TableName: str, Key: Item, **_: Any) -> dict[str, Any]:  # noqa: N803
        item = self.tables[TableName].get(_key(TableName, Key))
        return {} if item is None else {"Item": item}

    def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        ((table, request),) = RequestItems.items()
        keys = [_key(table, key) for key in request["Keys"]]
        if len(keys) > 100 or len(set(keys)) < len(keys):
            raise client_error("ValidationException", "BatchGetItem")
        found = [self.tables[table][key] for key in keys if key in self.tables[table]]
        return {"Responses": {table: [_projected(item, request) for item in found]}, "UnprocessedKeys": {}}

    def batch_write_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        ((table, requests),) = RequestItems.items()
        if len(requests) > 25:
            raise client_error("ValidationException", "BatchWriteItem")
        for request in requests:
            self.delete_item(table, request["DeleteRequest"]["Key"])
        return {"UnprocessedItems": {}}

    def scan(self, TableName: str, **parameters: Any) -> dict[str, Any]:  # noqa: N803
        keys = sorted(self.tables[TableName])
        if "ExclusiveStartKey" in parameters:
            after = _key(TableName, parameters["ExclusiveStartKey"])
            keys = [key for key in keys if key > after]
        page: dict[str, Any] = {
            "Items": [_projected(self.tables[TableName][key], parameters) for key in keys[: self.page]]
        }
        if len(keys) > self.page:
            last = self.tables[TableName][keys[self.page - 1]]
            page["LastEvaluatedKey"] = {name: last[name] for name in KEYS[TableName]}
        return page

    def query(self, TableName: str, KeyConditionExpression: str, **parameters: Any) -> dict[str, Any]:  # noqa: N803
        partition, sort = INDEXES[parameters["IndexName"]] if "IndexName" in parameters else KEYS[TableName]
        names = [partition, sort, *(name for name in KEYS[TableName] if name not in (partition, sort))]

        def order(item: Item) -> tuple[str, ...]:
            return tuple(item[name]["S"] for name in names[1:])

        matches = _condition(KeyConditionExpression, parameters)
        items = [item for item in self.tables[TableName].values() if partition in item and sort in item]
        descending = not parameters.get("ScanIndexForward", True)
        items = sorted((item for item in items if matches(item)), key=order, reverse=descending)
        if "ExclusiveStartKey" in parameters:
            start = order(parameters["ExclusiveStartKey"])
            items = [item for item in items if (order(item) < start if descending else order(item) > start)]
        size = min(self.page, parameters.get("Limit", self.page))
        page: dict[str, Any] = {"Count": len(items[:size]), "ScannedCount": len(items[:size])}
        if parameters.get("Select") != "COUNT":
            page["Items"] = [dict(item) for item in items[:size]]
        if len(items) > size or len(items) == size == parameters.get("Limit"):  # as DynamoDB, unlike moto
            page["LastEvaluatedKey"] = {name: items[size - 1][name] for name in names}
        return page

    def transact_write_items(self, TransactItems: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        actions = [next(iter(action.items())) for action in TransactItems]
        targets = [(action["TableName"], _key(action["TableName"], _target(action))) for _, action in actions]
        if len(actions) > 100 or len(set(targets)) < len(targets) or not actions:
            raise client_error("ValidationException", "TransactWriteItems")
        reasons = [
            self._reason(kind, action, self.tables[table].get(key))
            for (kind, action), (table, key) in zip(actions, targets, strict=True)
        ]
        if set(reasons) != {"None"}:
            raise client_error("TransactionCanceledException", "TransactWriteItems", reasons)
        for (kind, action), (table, key) in zip(actions, targets, strict=True):
            match kind:
                case "Put":
                    self.tables[table][key] = dict(action["Item"])
                case "Delete":
                    self.tables[table].pop(key, None)
                case "Update":
                    item = self.tables[table].setdefault(key, dict(action["Key"]))
                    for name, change in _additions(action):
                        item[name] = {"N": str(int(item.get(name, {"N": "0"})["N"]) + change)}
        return {}

    def _reason(self, kind: str, action: dict[str, Any], item: Item | None) -> str:
        if "ConditionExpression" in action and not _condition(action["ConditionExpression"], action)(item or {}):
            return "ConditionalCheckFailed"
        if kind == "Update" and any("N" not in (item or {}).get(name, {"N": "0"}) for name, _ in _additions(action)):
            return "ValidationError"
        return "None"


class Hooked:
    """The client of one process: each call passes through a function that may fail it, or do something first."""

    def __init__(self, memory: Memory | None = None, around: Around | None = None) -> None:
        self.memory = memory or Memory()
        self.around: Around = around or (lambda _operation, _parameters, proceed: proceed())
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def called(self, operation: str) -> list[dict[str, Any]]:
        """Return the parameters of every call of an operation."""
        return [parameters for name, parameters in self.calls if name == operation]

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**parameters: Any) -> Any:
            self.calls.append((operation, parameters))
            return self.around(operation, parameters, lambda: getattr(self.memory, operation)(**parameters))

        return call


def _key(table: str, item: Item) -> tuple[str, ...]:
    return tuple(item[name]["S"] for name in KEYS[table])


def _target(action: dict[str, Any]) -> Item:
    key: Item = action["Key"] if "Key" in action else action["Item"]
    return key


def _projected(item: Item, request: dict[str, Any]) -> Item:
    if "ProjectionExpression" not in request:
        return dict(item)
    names = request["ExpressionAttributeNames"]
    wanted = [names[name] for name in request["ProjectionExpression"].split(", ")]
    return {name: item[name] for name in wanted if name in item}


def _additions(action: dict[str, Any]) -> list[tuple[str, int]]:
    """Return what an update adds to each attribute."""
    added = action["UpdateExpression"].removeprefix("ADD ").split(", ")
    names, values = action["ExpressionAttributeNames"], action["ExpressionAttributeValues"]
    return [(names[name], int(values[value]["N"])) for name, value in (each.split(" ") for each in added)]


_TERMS: list[tuple[str, Callable[[str | None, str, str], bool]]] = [
    (r"attribute_not_exists\((?P<name>\S+)\)", lambda value, *_: value is None),
    (r"(?P<name>\S+) = (?P<low>\S+)", lambda value, low, _: value == low),
    (r"(?P<name>\S+) < (?P<low>\S+)", lambda value, low, _: value is not None and value < low),
    (r"(?P<name>\S+) >= (?P<low>\S+)", lambda value, low, _: value is not None and value >= low),
    (
        r"(?P<name>\S+) BETWEEN (?P<low>\S+) AND (?P<high>\S+)",
        lambda value, low, high: value is not None and low <= value <= high,
    ),
]


def _condition(expression: str, parameters: dict[str, Any]) -> Callable[[Item], bool]:
    """Return a test of terms joined by AND, each about one attribute of type S."""
    tests = []
    for term in re.split(r" AND (?!:)", expression):  # BETWEEN has an AND of its own, before a value
        match, holds = next((match, holds) for form, holds in _TERMS if (match := re.fullmatch(form, term)))
        groups = match.groupdict()
        name = parameters.get("ExpressionAttributeNames", {}).get(groups.pop("name"), match["name"])
        values = [parameters["ExpressionAttributeValues"][value]["S"] for value in groups.values()]
        low, high = (*values, "", "")[:2]
        tests.append((name, holds, low, high))
    return lambda item: all(holds(item.get(name, {}).get("S"), low, high) for name, holds, low, high in tests)
