"""The DynamoDB client: timeouts, retries, one deadline for a request, and its faults as our exceptions."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotocoreConnectionError
from botocore.handlers import generate_idempotent_uuid
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from sessions.errors import Unavailable
from sessions.request_sender import RequestSender
from sessions.response_checks import DamagedResponse, ResponseChecks
from sessions.response_parser import ItemParserFactory
from sessions.schema import Item
from sessions.settings import starts_from_snapshot

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CONNECT_TIMEOUT: Final = 1.0
"""Seconds for a connection."""

READ_TIMEOUT: Final = 3.0
"""Seconds between two pieces of a response."""

ATTEMPTS: Final = 2
"""Tries of one call, which so takes 8 s and a pause of at most 1 s when nothing responds."""

DEADLINE: Final = 10.0
"""Seconds after which a request starts no further call. What still runs then is ended by `TIME_LIMIT`."""

BATCH_GET_KEYS: Final = 100
"""Keys in one BatchGetItem ('Quotas in Amazon DynamoDB', BatchGetItem)."""

TIME_LIMIT: Final = 15.0
"""Seconds after which a request is given up, whatever its calls do: 5 s before Lambda would end the function, and 14 s
before API Gateway gives up on an integration ('Amazon API Gateway quotas': 29 s)."""

TOOK_TOO_LONG: Final = "The response took too long; try again shortly."

THREADS: Final = 32
"""Threads at most. A container serves one request at a time; a test or a tool that calls a handler from several threads
must not end in a deadlock."""

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
"""Codes with status 400 that another try may not meet again ('Error handling with DynamoDB')."""

CALL_FAULTS: Final = (ClientError, HTTPClientError, BotocoreConnectionError, DamagedResponse)
"""What a call through botocore raises when DynamoDB refuses it or does not answer."""

First = TypeVar("First")
Second = TypeVar("Second")


def client() -> DynamoDBClient:
    """A new client; one serves all requests of a container, from any thread."""
    # botocore registers 130 handlers for peculiarities of services. DynamoDB needs one, which gives a transaction a
    # token, so that another try of it does nothing more.
    core = botocore.session.Session(include_builtin_handlers=False)
    untyped: Any = core  # its types do not know handlers with named arguments
    untyped.register("before-parameter-build.dynamodb", generate_idempotent_uuid)
    core.register_component("response_parser_factory", ItemParserFactory())
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        tcp_keepalive=True,
        # Each of these two saves a twentieth of the CPU of a call: botocore would compose its own user agent
        # for every request, and check parameters that DynamoDB checks as well.
        user_agent="sessions",
        parameter_validation=False,
    )
    dynamodb = cast("DynamoDBClient", boto3.session.Session(botocore_session=core).client("dynamodb", config=config))
    events: Any = dynamodb.meta.events  # whose types know no handler that returns something
    events.register("needs-retry.dynamodb", ResponseChecks(ATTEMPTS))
    sender = RequestSender(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        ca_file=str(get_cert_path(core.get_config_variable("ca_bundle") or True)),
    )
    if not get_environ_proxies(dynamodb.meta.endpoint_url):  # to a proxy, botocore sends itself
        events.register("before-send.dynamodb", sender)
    if starts_from_snapshot():
        _renew_after_restore(dynamodb, sender)
    return dynamodb


def _renew_after_restore(dynamodb: DynamoDBClient, sender: RequestSender) -> None:
    """Gives every container of one snapshot connections and random numbers of its own ('Lambda SnapStart runtime
    hooks for Python'); credentials are renewed by botocore's chain, which sees that they have expired."""
    from snapshot_restore_py import register_after_restore  # which the runtime has, and nobody else

    register_after_restore(sender.close)
    register_after_restore(dynamodb.close)
    register_after_restore(random.seed)


def is_transient(error: Exception) -> bool:
    """Whether a fault that botocore raised may be gone at the next try."""
    if isinstance(error, ClientError):
        status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return status >= 500 or error.response["Error"]["Code"] in _TRANSIENT
    return isinstance(error, CALL_FAULTS)


def call(operation: Callable[..., Any], **parameters: Any) -> dict[str, Any]:
    """The response of one operation of the client.

    Raises:
        Unavailable: DynamoDB throttled, failed or did not respond; any other fault is raised as it is.
    """
    try:
        response: dict[str, Any] = operation(**parameters)
    except CALL_FAULTS as error:
        if is_transient(error):
            raise Unavailable from error
        raise
    return response


def batch_get(
    dynamodb: DynamoDBClient, table: str, keys: Sequence[Item], attributes: Sequence[str] = ()
) -> tuple[list[Item], list[Item]]:
    """The items of at most 100 keys as they are now, and the keys that DynamoDB left unprocessed.

    Args:
        attributes: those to return; none given means all.
    """
    names = {f"#{name}": name for name in attributes}  # `scope` and others are reserved words
    wanted: Any = {"Keys": list(keys), "ConsistentRead": True}
    if names:
        wanted |= {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}
    response: Any = dynamodb.batch_get_item(RequestItems={table: wanted})
    unprocessed = response.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
    return response["Responses"].get(table, []), unprocessed


class TimeLimit:
    """Stops waiting for work that does not end.

    botocore bounds the time between two bytes of a response, and not the whole of it: a network that lets a byte
    trickle through now and then would hold a request until Lambda ends it. So work runs in threads, and what is late is
    left behind there with its connections.
    """

    def __init__(self, seconds: float = TIME_LIMIT) -> None:
        self._seconds = seconds
        self._requests, self.reads = self._new_threads()

    def run(self, work: Callable[[], First]) -> First:
        """The result of the work.

        Raises:
            Unavailable: it took too long; any other exception is raised as it is.
        """
        pending = self._requests.submit(work)
        done, _ = wait([pending], self._seconds)
        if not done:
            self._requests, self.reads = self._new_threads()
            raise Unavailable(TOOK_TOO_LONG)
        return pending.result()

    @staticmethod
    def _new_threads() -> tuple[Executor, Executor]:
        """Threads for requests, and threads for those of their reads that are made at the same time."""
        return ThreadPoolExecutor(THREADS, "request"), ThreadPoolExecutor(THREADS, "read")


class Cost(NamedTuple):
    """What the reads of a request took."""

    requests: int
    """Requests sent to DynamoDB; botocore's own retries are not counted."""
    round_trips: int
    """Requests that had to wait for one another."""
    read_units: float
    items_read: int
    """Items that DynamoDB read, skipped ones included."""


class Reader:
    """The reads of one request: under one deadline, and counted."""

    def __init__(self, dynamodb: DynamoDBClient, executor: Executor, deadline: float = DEADLINE) -> None:
        """
        Args:
            executor: runs the first of two reads that are made at the same time.
            deadline: seconds from now after which no further read begins.
        """
        self._dynamodb = dynamodb
        self._executor = executor
        self._ends_at = time.monotonic() + deadline
        self._cost = Cost(0, 0, 0.0, 0)
        self._lock = threading.Lock()
        self._thread = threading.local()

    @property
    def cost(self) -> Cost:
        """What the reads have taken so far, for the thread that makes them."""
        return self._cost._replace(round_trips=self._round_trips)

    def query(self, **parameters: Any) -> dict[str, Any]:
        """One Query, which is one cursor page of at most 1 MB.

        Raises:
            Unavailable: DynamoDB throttled, failed or did not respond, or the deadline has passed.
        """
        if time.monotonic() > self._ends_at:
            raise Unavailable(TOOK_TOO_LONG)
        response = call(self._dynamodb.query, ReturnConsumedCapacity="TOTAL", **parameters)
        self._round_trips += 1
        read_units = response.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)
        with self._lock:
            cost = self._cost
            self._cost = Cost(
                cost.requests + 1, 0, cost.read_units + read_units, cost.items_read + response["ScannedCount"]
            )
        return response

    def run_in_parallel(self, first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
        """The results of two independent reads, made at the same time."""
        before = self._round_trips
        pending = self._executor.submit(self._in_thread, first)
        try:
            result = second()
        finally:
            wait([pending])  # no read outlives its request: Lambda freezes the container after the response
        beside, round_trips = pending.result()
        self._round_trips = max(self._round_trips, before + round_trips)
        return beside, result

    def _in_thread(self, read: Callable[[], First]) -> tuple[First, int]:
        self._round_trips = 0
        return read(), self._round_trips

    @property
    def _round_trips(self) -> int:
        """Requests of this thread, and of those that it waited for."""
        return getattr(self._thread, "round_trips", 0)

    @_round_trips.setter
    def _round_trips(self, round_trips: int) -> None:
        self._thread.round_trips = round_trips
