"""The DynamoDB of the local API: moto's, embedded in this process, or one that runs elsewhere.

moto is built to be called by tests. To serve people it lacks three things, which are added here: one set
of tables whatever region and credentials a client has, one request at a time (it has no locks of its
own), and reads and transactions whose cost is near to that of what they read and write.
"""

from __future__ import annotations

import copy
import io
import json
import os
import re
import socket
import sys
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ops.local.template import ACCOUNT, REGION, Table

# moto's default lets any web page write to the tables of whoever looks at it. Read when moto is imported.
os.environ.setdefault("MOTO_DISABLE_GLOBAL_CORS", "true")

from moto.core.model import StructureShape
from moto.core.serialize import SERVICE_SPECIFIC_SERIALIZERS, JSONSerializer
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table as MotoTable
from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

HOST: Final = "127.0.0.1"

_TABLES: Final = "DynamoDB_20120810."
_STREAMS: Final = "DynamoDBStreams_20120810."
"""How `X-Amz-Target` begins ('DynamoDB low-level API')."""

_READS: Final = ("Get", "BatchGet", "Query", "Scan", "Describe", "List", "TransactGet")

_SIGNATURE: Final = (
    f"AWS4-HMAC-SHA256 Credential=local/20260101/{REGION}/dynamodb/aws4_request, SignedHeaders=host, Signature=0"
)
"""moto keeps tables by the region and the account that it reads here."""

_ADDITION: Final = re.compile(r"ADD (#\w+) (:\w+)")
"""The update of a counter. It makes up nearly all of the counting, and moto takes four times as long to
parse, validate and copy such an expression as to do all the rest."""

_CONDITIONS: Final = {"consistent_read", "filter_expression", "hash_key_conditions", "range_key_conditions"}
"""What a query has beside its partition that does not count towards its limit; older forms of filters do."""


class Embedded:
    """moto's DynamoDB behind a port of this process."""

    def __init__(self, listener: socket.socket) -> None:
        """Answers from now on, with no tables; `listener` is bound, and taken over."""
        self.written = threading.Event()
        """Set after every request that may have changed something."""
        self.url = f"http://{HOST}:{listener.getsockname()[1]}"
        self.streams_url = self.url
        dynamodb_backends[ACCOUNT][REGION] = _Backend(REGION, ACCOUNT)
        for service in ("dynamodb", "dynamodbstreams"):
            SERVICE_SPECIFIC_SERIALIZERS[service] = {"json": _Serializer}
        application = _Application(self.written)
        self._server = make_server(
            HOST, 0, application, threaded=True, request_handler=_RequestHandler, fd=listener.fileno()
        )
        listener.close()  # the server has a copy of its own
        threading.Thread(target=self._server.serve_forever, name="dynamodb", daemon=True).start()

    def stop(self) -> None:
        """Answers no more; the tables are gone with the process."""
        self._server.shutdown()
        self._server.server_close()


class Elsewhere:
    """A DynamoDB-compatible engine that somebody else started."""

    written = None

    def __init__(self, url: str) -> None:
        self.url = url
        self.streams_url = os.environ.get("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", url)

    def stop(self) -> None:
        """It runs on."""


Engine = Embedded | Elsewhere


def clients(engine: Engine) -> tuple[DynamoDBClient, DynamoDBStreamsClient]:
    """Clients of its tables and of its streams."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=2, read_timeout=60)
    session = botocore.session.get_session()
    return (
        cast("DynamoDBClient", session.create_client("dynamodb", endpoint_url=engine.url, config=config)),
        cast(
            "DynamoDBStreamsClient",
            session.create_client("dynamodbstreams", endpoint_url=engine.streams_url, config=config),
        ),
    )


def create_missing(dynamodb: DynamoDBClient, tables: Iterable[Table]) -> None:
    """Creates the tables that are not there, and waits until all can be used."""
    for table in tables:
        try:
            dynamodb.create_table(**table.arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceInUseException":
                raise
    for table in tables:
        dynamodb.get_waiter("table_exists").wait(TableName=table.name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def stream_arn(dynamodb: DynamoDBClient, streams: DynamoDBStreamsClient, table: str) -> str | None:
    """The stream of a table, or None when the engine has none that can be read."""
    try:
        arn = dynamodb.describe_table(TableName=table)["Table"].get("LatestStreamArn")
        if not arn:
            return None
        shards = streams.describe_stream(StreamArn=arn)["StreamDescription"].get("Shards", [])
        for shard in shards[:1]:
            iterator = streams.get_shard_iterator(
                StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )
            streams.get_records(ShardIterator=iterator["ShardIterator"], Limit=1)
    except (ClientError, BotoCoreError, KeyError):
        return None
    return arn


class _RequestHandler(MotoRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body go out as two packets; without this the second waits 40 ms for an acknowledgement.
    disable_nagle_algorithm = True

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        """Nothing: these are not requests to the API."""


class _Application:
    """WSGI in front of moto's two services."""

    def __init__(self, written: threading.Event) -> None:
        self._written = written
        self._lock = threading.Lock()
        self._tables = create_backend_app("dynamodb")
        self._streams = create_backend_app("dynamodbstreams")

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        # All of it before the lock, so that a slow client holds up nobody.
        length = None if environ.get("wsgi.input_terminated") else int(environ.get("CONTENT_LENGTH") or 0)
        sent = environ["wsgi.input"].read(length)
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        application = {_TABLES: self._tables, _STREAMS: self._streams}.get(target[: target.find(".") + 1])
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return _answer(start_response, "200 OK", f"healthy: dynamodb.{REGION}.amazonaws.com ".encode())
        if environ["REQUEST_METHOD"] != "POST" or application is None:
            return _answer(start_response, "400 Bad Request", _fault("UnknownOperationException", "not DynamoDB"))
        environ |= {
            "wsgi.input": io.BytesIO(sent),
            "CONTENT_LENGTH": str(len(sent)),
            "CONTENT_TYPE": "application/x-amz-json-1.0",
            "HTTP_AUTHORIZATION": _SIGNATURE,
        }
        head: list[Any] = []

        def note(status: str, headers: list[tuple[str, str]], _failure: object = None) -> None:
            head[:] = [status, headers]

        operation = target.partition(".")[2]
        try:
            with self._lock:
                try:
                    body = b"".join(application(environ, note))  # type: ignore[arg-type]
                finally:
                    if not operation.startswith(_READS):
                        for table in dynamodb_backends[ACCOUNT][REGION].tables.values():
                            cast(_Table, table).forget()
        except Exception as error:
            print(f"dynamodb: {operation}: {type(error).__name__}: {error}", file=sys.stderr)
            return _answer(start_response, "500 Internal Server Error", _fault("InternalServerError", str(error)))
        if not operation.startswith(_READS):
            self._written.set()
        start_response(*head)
        return [body]


def _fault(name: str, message: str) -> bytes:
    return json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{name}", "message": message}).encode()


def _answer(start_response: Callable[..., Any], status: str, body: bytes) -> list[bytes]:
    start_response(status, [("Content-Type", "application/x-amz-json-1.0"), ("Content-Length", str(len(body)))])
    return [body]


class _Serializer(JSONSerializer):
    """moto's writer of answers, which takes attribute values as they are.

    They are in DynamoDB's form already; moto tries some thirty names for the members of each, which is
    most of what a page costs.
    """

    def _serialize_type_structure(
        self, serialized: MutableMapping[str, Any], value: Any, shape: StructureShape, key: str
    ) -> None:
        if shape.name == "AttributeValue" and isinstance(value, dict):
            self._default_serialize(serialized, value, shape, key)
        else:
            super()._serialize_type_structure(serialized, value, shape, key)


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
    """moto's table, which looks at the rows that a query asks for, and not at all that there are."""

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
    """moto's DynamoDB, which takes back the rows of a transaction that fails, and copies no table for it."""

    def create_table(self, *arguments: Any, **named: Any) -> MotoTable:
        table = super().create_table(*arguments, **named)
        table.__class__ = _Table  # type: ignore[type-abstract]
        cast(_Table, table).forget()
        return table

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
        table = self.tables.get(table_name)
        addition = _ADDITION.fullmatch(update_expression or "")
        if table is not None and table.stream_shard is None and addition and not any([*arguments, *named.values()]):
            attribute = expression_attribute_names.get(addition[1])
            change = expression_attribute_values.get(addition[2], {})
            item = table.get_item(*self.get_keys_value(table, key))
            if attribute and attribute not in table.table_key_attrs and change.keys() == {"N"}:
                if item is None:
                    return table.put_item(key | {attribute: change})
                before = item.attrs.get(attribute, DynamoType({"N": "0"}))
                if before.is_number():
                    item.attrs[attribute] = before + DynamoType(change)
                    return item
        return super().update_item(
            table_name,
            key,
            update_expression,
            expression_attribute_names,
            expression_attribute_values,
            *arguments,
            **named,
        )

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
