"""The DynamoDB client: timeouts, retries, one deadline for a request, and its faults as our exceptions."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotocoreConnectionError

from sessions.errors import Unavailable

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


def client() -> DynamoDBClient:
    """A new client; one serves all requests of a container, from any thread."""
    session = botocore.session.get_session()
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        tcp_keepalive=True,
    )
    return cast("DynamoDBClient", session.create_client("dynamodb", config=config))


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
