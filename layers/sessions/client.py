"""The DynamoDB client: timeouts, retries, its faults as our exceptions, and the reads of one request."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotocoreConnectionError
from botocore.parsers import ResponseParserError

from sessions.errors import Unavailable
from sessions.response_parser import ItemParserFactory

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CONNECT_TIMEOUT: Final = 1.0
"""Seconds to open a connection."""

READ_TIMEOUT: Final = 3.0
"""Seconds between two pieces of a response."""

ATTEMPTS: Final = 2
"""Attempts of one call, which takes at most 8 s and a pause of 1 s when nothing responds."""

DEADLINE: Final = 10.0
"""Seconds after which a request starts no further call. With a last call of 9 s it ends before the function's timeout
of 20 s, and that before the gateway's of 29 s ('Amazon API Gateway quotas', integration timeout)."""

BATCH_GET_KEYS: Final = 100
"""Keys in one BatchGetItem ('Quotas in Amazon DynamoDB', BatchGetItem)."""

CALL_FAULTS: Final = (ClientError, HTTPClientError, BotocoreConnectionError, ResponseParserError)
"""Exceptions of a call that DynamoDB refused, did not answer, or answered with something other than JSON."""

_TRANSIENT: Final = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
"""Error codes of status 400 that a retry may clear ('Error handling with DynamoDB')."""

T = TypeVar("T")
U = TypeVar("U")

_executor: Final = ThreadPoolExecutor(thread_name_prefix="read")


def create_client() -> DynamoDBClient:
    """Return a new client; one client serves all requests of a container, from any thread."""
    core = botocore.session.get_session()
    core.register_component("response_parser_factory", ItemParserFactory())
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        tcp_keepalive=True,
    )
    client = cast("DynamoDBClient", boto3.session.Session(botocore_session=core).client("dynamodb", config=config))
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        # Every container restored from a snapshot needs its own connections and random numbers.
        from snapshot_restore_py import register_after_restore  # part of Lambda's runtime

        register_after_restore(client.close)
        register_after_restore(random.seed)
    return client


def is_transient(error: Exception) -> bool:
    """Return whether a retry of the failed call may succeed."""
    if isinstance(error, ClientError):
        status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return status >= 500 or error.response["Error"]["Code"] in _TRANSIENT
    return isinstance(error, CALL_FAULTS)


def call(operation: Callable[..., Any], **parameters: Any) -> dict[str, Any]:
    """Return the response of one operation of the client.

    Raises:
        Unavailable: DynamoDB throttled, failed or did not respond; any other fault is raised unchanged.
    """
    try:
        response: dict[str, Any] = operation(**parameters)
    except CALL_FAULTS as error:
        if is_transient(error):
            raise Unavailable from error
        raise
    return response


@dataclass
class Cost:
    """The cost of a request's reads."""

    requests: int = 0
    """Requests sent to DynamoDB, without botocore's retries."""
    round_trips: int = 0
    """Requests in sequence."""
    read_units: float = 0.0
    items_read: int = 0
    """Items that DynamoDB read, skipped ones included."""


class Reader:
    """The reads of one request, under one deadline, and their cost."""

    def __init__(self, client: DynamoDBClient, ends_at: float | None = None) -> None:
        """Start the deadline.

        Args:
            client: sends the queries.
            ends_at: reading of the monotonic clock after which no query is sent; None: `DEADLINE` seconds from now.
        """
        self._client = client
        self._ends_at = time.monotonic() + DEADLINE if ends_at is None else ends_at
        self.cost = Cost()

    def query(self, **parameters: Any) -> dict[str, Any]:
        """Return one Query response, which holds at most 1 MB of items ('Query' in the API reference).

        Raises:
            Unavailable: DynamoDB throttled, failed or did not respond, or the deadline has passed.
        """
        if time.monotonic() > self._ends_at:
            raise Unavailable("The response took too long; try again shortly.")
        response = call(self._client.query, ReturnConsumedCapacity="TOTAL", **parameters)
        self.cost.requests += 1
        self.cost.round_trips += 1
        self.cost.read_units += response.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)
        self.cost.items_read += response["ScannedCount"]
        return response

    def read_both(self, first: Callable[[Reader], T], second: Callable[[Reader], U]) -> tuple[T, U]:
        """Return the results of two independent reads, made at the same time."""
        readers = Reader(self._client, self._ends_at), Reader(self._client, self._ends_at)
        pending = _executor.submit(first, readers[0])
        try:
            result = second(readers[1])
        finally:
            wait([pending])  # Lambda freezes the container after the response: no read may outlive its request
        costs = [reader.cost for reader in readers]
        self.cost.requests += sum(cost.requests for cost in costs)
        self.cost.round_trips += max(cost.round_trips for cost in costs)
        self.cost.read_units += sum(cost.read_units for cost in costs)
        self.cost.items_read += sum(cost.items_read for cost in costs)
        return pending.result(), result
