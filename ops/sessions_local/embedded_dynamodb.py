"""The DynamoDB of the local API: moto's, embedded in this process, or another engine that already runs."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sessions_local.http_server import QuietRequestHandler, url_of
from sessions_local.sam_template import ACCOUNT, REGION, Table

# moto's default lets any web page that a person visits write to the tables. Read when moto is imported.
os.environ.setdefault("MOTO_DISABLE_GLOBAL_CORS", "true")

from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import make_server

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

_TABLES: Final = "DynamoDB_20120810."
_STREAMS: Final = "DynamoDBStreams_20120810."
"""How `X-Amz-Target` begins ('DynamoDB low-level API')."""

_READS: Final = ("Get", "BatchGet", "Query", "Scan", "Describe", "List", "TransactGet")

_PARTIQL: Final = {"ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction"}
"""moto understands some of PartiQL and gets some of that wrong, which is worse than none."""

_SIGNATURE: Final = (
    f"AWS4-HMAC-SHA256 Credential=local/20260101/{REGION}/dynamodb/aws4_request, SignedHeaders=host, Signature=0"
)
"""moto keeps tables by the region and the account that it reads here."""


class EmbeddedDynamoDB:
    """moto's DynamoDB behind a port of this process: the same tables for every region and all credentials."""

    def __init__(self, listener: socket.socket) -> None:
        """Serves from now on, without tables; `listener` is bound, and taken over."""
        self.written = threading.Event()
        """Set after every request that may have changed something."""
        self.url = self.streams_url = url_of(listener)
        if not os.environ.get("PLAIN_MOTO") and importlib.util.find_spec("sessions_local.moto_speedups"):
            from sessions_local import moto_speedups

            moto_speedups.install(ACCOUNT, REGION)
        listener.listen(128)
        host, port = listener.getsockname()[:2]
        application = _Application(self.written)
        server = make_server(
            host, port, application, threaded=True, request_handler=QuietRequestHandler, fd=listener.fileno()
        )
        listener.close()  # the server has a copy of its own
        threading.Thread(target=server.serve_forever, name="dynamodb", daemon=True).start()


class ExternalDynamoDB:
    """A DynamoDB-compatible engine that already runs."""

    written = None

    def __init__(self, url: str) -> None:
        self.url = url
        self.streams_url = os.environ.get("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", url)


DynamoDB = EmbeddedDynamoDB | ExternalDynamoDB


def clients(dynamodb: DynamoDB) -> tuple[DynamoDBClient, DynamoDBStreamsClient]:
    """Clients of its tables and of its streams."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=2, read_timeout=60)
    return (
        cast("DynamoDBClient", boto3.client("dynamodb", endpoint_url=dynamodb.url, config=config)),
        cast(
            "DynamoDBStreamsClient",
            boto3.client("dynamodbstreams", endpoint_url=dynamodb.streams_url, config=config),
        ),
    )


def create_missing_tables(client: DynamoDBClient, tables: Iterable[Table]) -> None:
    """Creates the tables that do not exist, and waits until all can be used."""
    for table in tables:
        try:
            client.create_table(**table.arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceInUseException":
                raise
    for table in tables:
        client.get_waiter("table_exists").wait(TableName=table.name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def stream_arn(client: DynamoDBClient, streams: DynamoDBStreamsClient, table: str) -> str | None:
    """The stream of a table, or None when the engine has none that can be read."""
    try:
        arn = client.describe_table(TableName=table)["Table"].get("LatestStreamArn")
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


class _Application:
    """WSGI in front of moto's two services, one request at a time: moto has no locks of its own."""

    def __init__(self, written: threading.Event) -> None:
        self._written = written
        self._lock = threading.Lock()
        self._services = {
            _TABLES: create_backend_app("dynamodb"),
            _STREAMS: create_backend_app("dynamodbstreams"),
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # All of it before the lock, so that a slow client holds up nobody.
        length = None if environ.get("wsgi.input_terminated") else int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        service, dot, operation = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")
        application = self._services.get(service + dot)
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return _respond(start_response, "200 OK", f"healthy: dynamodb.{REGION}.amazonaws.com ".encode())
        if environ["REQUEST_METHOD"] != "POST" or application is None:
            return _refuse(start_response, "UnknownOperationException", "This port serves DynamoDB only.")
        if operation in _PARTIQL:
            message = (
                "PartiQL is not supported by the embedded DynamoDB. Use GetItem, Query, PutItem and the like, or "
                "start the local API with AWS_ENDPOINT_URL_DYNAMODB=... for an engine that supports it."
            )
            return _refuse(start_response, "ValidationException", message)
        environ |= {
            "wsgi.input": io.BytesIO(body),
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": "application/x-amz-json-1.0",
            "HTTP_AUTHORIZATION": _SIGNATURE,
        }
        try:
            with self._lock:
                response = list(application(environ, start_response))
        except Exception as error:
            print(f"dynamodb: {operation}: {type(error).__name__}: {error}", file=sys.stderr)
            return _respond(
                start_response, "500 Internal Server Error", _fault("InternalServerError", str(error)), sys.exc_info()
            )
        if not operation.startswith(_READS):
            self._written.set()
        return response


def _refuse(start_response: Callable[..., Any], code: str, message: str) -> list[bytes]:
    return _respond(start_response, "400 Bad Request", _fault(code, message))


def _fault(code: str, message: str) -> bytes:
    return json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message}).encode()


def _respond(start_response: Callable[..., Any], status: str, body: bytes, failure: Any = None) -> list[bytes]:
    headers = [("Content-Type", "application/x-amz-json-1.0"), ("Content-Length", str(len(body)))]
    start_response(status, headers, failure)
    return [body]
