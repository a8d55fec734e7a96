"""The embedded DynamoDB: moto behind a port of this process, the same tables for every region and all credentials."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from typing import Any, Final

from werkzeug import Request, Response

from sessions_local import moto_patch
from sessions_local.http_server import serve, url_of
from sessions_local.sam_template import ACCOUNT, REGION

# moto's default lets any web page that a person visits write to the tables. Read when moto is imported.
os.environ.setdefault("MOTO_DISABLE_GLOBAL_CORS", "true")

from moto.core.model_instances import reset_model_data
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodbstreams.models import dynamodbstreams_backends
from moto.moto_server.werkzeug_app import create_backend_app

PARTIQL: Final = {"ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction"}
"""moto supports a part of PartiQL and gets some of that part wrong."""

SIGNATURE: Final = (
    f"AWS4-HMAC-SHA256 Credential=local/20260101/{REGION}/dynamodb/aws4_request, SignedHeaders=host, Signature=0"
)
"""moto keeps tables by the region and the account that it reads here."""

STREAM_RECORDS_KEPT: Final = 1000
"""Records that stay in a stream after the poller has read them, for other readers; moto itself keeps all."""


class EmbeddedDynamoDB:
    """moto's DynamoDB, served from the moment it is made."""

    def __init__(self, listener: socket.socket) -> None:
        self.url = self.streams_url = url_of(listener)
        self._lock = threading.Lock()  # moto has no locks of its own
        self._services = {
            "DynamoDB_20120810": create_backend_app("dynamodb"),
            "DynamoDBStreams_20120810": create_backend_app("dynamodbstreams"),
        }
        """moto's services by how `X-Amz-Target` begins ('DynamoDB low-level API')."""
        moto_patch.apply()
        serve(listener, Request.application(self._respond), "dynamodb")

    def trim_stream(self, table: str, last_read: str | None = None) -> None:
        """Drop all records of a table's stream, or those up to one that the poller has read; moto would keep them."""
        with self._lock:
            shard: Any = dynamodb_backends[ACCOUNT][REGION].tables[table].stream_shard
            dropped = len(shard.items)
            if last_read is not None:
                read = int(last_read) - shard.starting_sequence_number + 1
                dropped = max(0, min(read, dropped - STREAM_RECORDS_KEPT))
            del shard.items[:dropped]
            shard.starting_sequence_number += dropped
            iterators = dynamodbstreams_backends[ACCOUNT][REGION].shard_iterators
            for arn in list(iterators)[:-STREAM_RECORDS_KEPT]:
                del iterators[arn]

    def _respond(self, request: Request) -> Response:
        body = request.get_data()  # before the lock, so that a slow client blocks nobody else
        target, _, operation = request.headers.get("X-Amz-Target", "").partition(".")
        if request.method in ("GET", "HEAD"):
            return Response(f"healthy: dynamodb.{REGION}.amazonaws.com ")
        if request.method != "POST" or target not in self._services:
            return _error(400, "UnknownOperationException", "This port serves DynamoDB only.")
        if operation in PARTIQL:
            message = (
                "PartiQL is not supported by the embedded DynamoDB. Use GetItem, Query, PutItem and the like, or "
                "start the local API with AWS_ENDPOINT_URL_DYNAMODB=... for an engine that supports it."
            )
            return _error(400, "ValidationException", message)
        headers = [("X-Amz-Target", f"{target}.{operation}"), ("Authorization", SIGNATURE)]
        asked = Request.from_values(
            "/", method="POST", data=body, content_type="application/x-amz-json-1.0", headers=headers
        )
        try:
            with self._lock:
                reset_model_data()  # moto remembers every item that it made
                return Response.from_app(self._services[target], asked.environ, buffered=True)
        except Exception as error:
            print(f"dynamodb: {operation}: {type(error).__name__}: {error}", file=sys.stderr)
            return _error(500, "InternalServerError", str(error))


def _error(status: int, code: str, message: str) -> Response:
    body: Any = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message}
    return Response(json.dumps(body), status, content_type="application/x-amz-json-1.0")
