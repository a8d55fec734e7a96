"""The DynamoDB client: timeouts, retries, one deadline for a request, and its faults as our exceptions."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotocoreConnectionError

from sessions.errors import Unavailable
from sessions.settings import starts_from_snapshot
from sessions.wire import FromJson, WireParserFactory

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CONNECT_TIMEOUT: Final = 1.0
READ_TIMEOUT: Final = 3.0
ATTEMPTS: Final = 2
"""Seconds, seconds and tries of one call: 8 s and a pause of at most 1 s when nothing answers."""

DEADLINE: Final = 10.0
"""Seconds after which a request starts no further call. With a last call of 9 s it ends 10 s before the
29 s after which API Gateway gives up on an integration ('Amazon API Gateway quotas')."""

_TRANSIENT: Final = frozenset(
    {
        "InternalServerError",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingException",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
"""Codes that another try may not meet again ('Error handling with DynamoDB')."""

Item = dict[str, Any]
"""An item as it travels: `{"title": {"S": "..."}, ...}`."""

One = TypeVar("One")
Other = TypeVar("Other")


def client(from_json: FromJson = json.loads) -> DynamoDBClient:
    """A new client; one serves all requests of a container, from any thread.

    Args:
        from_json: reads DynamoDB's answers.
    """
    session = botocore.session.get_session()
    session.register_component("response_parser_factory", WireParserFactory(from_json))
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        tcp_keepalive=True,
        # Each of these two saves a twentieth of the CPU of a call: botocore would compose its own user agent anew
        # every time, and check parameters that DynamoDB checks as well.
        user_agent="sessions",
        parameter_validation=False,
    )
    dynamodb = cast("DynamoDBClient", session.create_client("dynamodb", config=config))
    if starts_from_snapshot():
        _renew_after_restore(dynamodb)
    return dynamodb


def _renew_after_restore(dynamodb: DynamoDBClient) -> None:
    """Gives every container of one snapshot connections and random numbers of its own ('Lambda SnapStart runtime
    hooks for Python'); credentials are renewed by botocore's chain, which sees that they have expired."""
    from snapshot_restore_py import register_after_restore  # which the runtime has, and nobody else

    register_after_restore(dynamodb.close)
    register_after_restore(random.seed)


def is_transient(error: Exception) -> bool:
    """Whether a fault that botocore raised may be gone at the next try."""
    if isinstance(error, ClientError):
        status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return status >= 500 or error.response["Error"]["Code"] in _TRANSIENT
    return isinstance(error, HTTPClientError | BotocoreConnectionError)


def call(operation: Callable[..., Any], **parameters: Any) -> dict[str, Any]:
    """The answer of one operation of the client.

    Raises:
        Unavailable: DynamoDB throttled, failed or did not answer; any other fault is raised as it is.
    """
    try:
        answer: dict[str, Any] = operation(**parameters)
    except (ClientError, HTTPClientError, BotocoreConnectionError) as error:
        if is_transient(error):
            raise Unavailable("The service is busy or cannot be reached; try again shortly.") from error
        raise
    return answer


_beside = ThreadPoolExecutor(max_workers=4, thread_name_prefix="reader")


class Reader:
    """The reads of one request: under one deadline, and counted."""

    def __init__(self, dynamodb: DynamoDBClient, ends_at: float | None = None) -> None:
        self._dynamodb = dynamodb
        self._ends_at = time.monotonic() + DEADLINE if ends_at is None else ends_at
        self.requests = 0
        """Requests sent to DynamoDB; botocore's own retries are not counted."""
        self.round_trips = 0
        """Requests that had to wait for one another."""
        self.read_units = 0.0
        self.entries = 0
        """Items that DynamoDB read, skipped ones included."""

    def query(self, **parameters: Any) -> dict[str, Any]:
        """One Query, which is one cursor page of at most 1 MB.

        Raises:
            Unavailable: DynamoDB throttled, failed or did not answer, or the deadline has passed.
        """
        if time.monotonic() > self._ends_at:
            raise Unavailable("The answer took too long; try again shortly.")
        answer = call(self._dynamodb.query, ReturnConsumedCapacity="TOTAL", **parameters)
        self.requests += 1
        self.round_trips += 1
        self.read_units += answer.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)
        self.entries += answer["ScannedCount"]
        return answer

    def together(self, one: Callable[[Reader], One], other: Callable[[Reader], Other]) -> tuple[One, Other]:
        """The results of two independent reads, made at the same time with a reader each."""
        readers = Reader(self._dynamodb, self._ends_at), Reader(self._dynamodb, self._ends_at)
        pending = _beside.submit(one, readers[0])
        try:
            result = other(readers[1])
        finally:
            wait([pending])  # no read outlives its request: Lambda freezes the container after the answer
            self.requests += readers[0].requests + readers[1].requests
            self.round_trips += max(readers[0].round_trips, readers[1].round_trips)
            self.read_units += readers[0].read_units + readers[1].read_units
            self.entries += readers[0].entries + readers[1].entries
        return pending.result(), result
