"""Bulk reads and writes of a DynamoDB table: patient retries, pages, and a limited rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from botocore.exceptions import ClientError
from tenacity import (
    Retrying,
    retry_if_exception,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_random_exponential,
)

from sessions.client import is_transient
from sessions.schema import Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")

BATCH_WRITES: Final = 25
"""Requests in one BatchWriteItem ('Quotas in Amazon DynamoDB')."""

TRIES: Final = 20
BACKOFF_BASE: Final = 0.1
BACKOFF_MAX: Final = 5.0
"""Tries of a call. The wait before the second try is at most `BACKOFF_BASE` seconds and doubles up to `BACKOFF_MAX`,
about 40 s in all: a new on-demand table takes 4,000 write units a second and grows within minutes."""


class Throttled(click.ClickException):
    """DynamoDB still left a part of a batch undone on the last try.

    Args:
        left: keys that were not read, or write requests that were not carried out.
    """

    def __init__(self, left: list[Any]) -> None:
        super().__init__(f"DynamoDB kept throttling; {len(left)} requests were not carried out.")
        self.left = left


class WrongTable(click.ClickException):
    """A table is of another kind, as its key shows."""


def chunks(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the values in lists of at most `size`."""
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk


# ------------------------------------------------------------------------------------------- retries


def is_throttling(error: BaseException) -> bool:
    """Return whether DynamoDB responded that it is busy."""
    return isinstance(error, ClientError) and is_transient(error)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Throttled) or (isinstance(error, Exception) and is_transient(error))


def _retrying(
    is_retryable: Callable[[BaseException], bool] = _may_pass, stopped: threading.Event | None = None
) -> Retrying:
    stopped = stopped or threading.Event()
    return Retrying(
        retry=retry_if_exception(is_retryable),
        wait=wait_random_exponential(multiplier=BACKOFF_BASE, max=BACKOFF_MAX),
        stop=stop_after_attempt(TRIES) | stop_when_event_set(stopped),
        sleep=sleep_using_event(stopped),
        reraise=True,
    )


def read_batch(
    dynamodb: DynamoDBClient,
    table: str,
    keys: Sequence[Item],
    attributes: Sequence[str] = (),
    stopped: threading.Event | None = None,
) -> list[Item]:
    """Return the items of at most 100 keys, by strongly consistent reads, or raise Throttled.

    Args:
        attributes: those to return; all unless given.
        stopped: no further try is made once it is set.
    """
    found: list[Item] = []
    wanted: dict[str, Any] = {"ConsistentRead": True}
    if attributes:
        names = {f"#{name}": name for name in attributes}  # some are reserved words
        wanted |= {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}

    def read(left: Sequence[Any]) -> Sequence[Any]:
        request: Any = {table: wanted | {"Keys": left}}
        response: Any = dynamodb.batch_get_item(RequestItems=request)
        found.extend(response["Responses"].get(table, []))
        return list(response.get("UnprocessedKeys", {}).get(table, {}).get("Keys", []))

    _until_nothing_is_left(read, keys, stopped)
    return found


def write_batch(
    dynamodb: DynamoDBClient, table: str, requests: Sequence[Any], stopped: threading.Event | None = None
) -> None:
    """Make at most 25 writes, or raise Throttled."""

    def write(left: Sequence[Any]) -> Sequence[Any]:
        response: Any = dynamodb.batch_write_item(RequestItems={table: left})
        return list(response.get("UnprocessedItems", {}).get(table, []))

    _until_nothing_is_left(write, requests, stopped)


def _until_nothing_is_left(
    work: Callable[[Sequence[Any]], Sequence[Any]], left: Sequence[Any], stopped: threading.Event | None
) -> None:
    """Retry a batch until DynamoDB has done all of it."""
    for attempt in _retrying(stopped=stopped):
        with attempt:
            try:
                left = work(left)
            except ClientError as error:
                raise (Throttled(list(left)) if is_transient(error) else error) from error
            if left:
                raise Throttled(list(left))


# --------------------------------------------------------------------------------------------- reads


def describe(dynamodb: DynamoDBClient, table: str, key: Sequence[str]) -> dict[str, Any]:
    """Return DynamoDB's description of a table; its `ItemCount` is up to six hours old.

    Args:
        key: names of the attributes that the table's key must have.
    """
    response: Any = _retrying(is_throttling)(dynamodb.describe_table, TableName=table)
    names = [each["AttributeName"] for each in response["Table"]["KeySchema"]]
    if names != list(key):
        raise WrongTable(f"{table} is the wrong table: its key is {', '.join(names)} and not {', '.join(key)}.")
    return dict(response["Table"])


def pages(operation: Callable[..., Any], **parameters: Any) -> Iterator[list[Item]]:
    """Yield the items of a Scan or Query, page by page, waiting out throttling.

    Connection errors are waited out from the second page on: before it, they mean that the engine is not there.
    """
    is_retryable = is_throttling
    while True:
        response = _retrying(is_retryable)(operation, **parameters)
        yield response["Items"]
        if "LastEvaluatedKey" not in response:
            return
        parameters["ExclusiveStartKey"] = response["LastEvaluatedKey"]
        is_retryable = _may_pass


def scan(
    dynamodb: DynamoDBClient, table: str, attributes: Iterable[str] = (), **parameters: Any
) -> Iterator[list[Item]]:
    """Yield all items of a table, page by page, by strongly consistent reads.

    Args:
        attributes: those to return; all unless given.
        parameters: further parameters of Scan.
    """
    names = {f"#{name}": name for name in attributes}  # `scope` and others are reserved words
    if names:
        parameters |= {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}
    return pages(dynamodb.scan, TableName=table, ConsistentRead=True, **parameters)


class RateLimiter:
    """A limit on how much work starts each second, in all threads together.

    Args:
        rate: pieces of work a second.
    """

    def __init__(self, rate: float) -> None:
        self._seconds_each = 1 / rate
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._stopped = threading.Event()

    @property
    def is_stopped(self) -> bool:
        """Whether no further work may start."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """End all waits, now and later."""
        self._stopped.set()

    def wait(self, amount: int) -> None:
        """Wait until this many pieces of work may start."""
        with self._lock:
            now = time.monotonic()
            starts_at = max(now, self._free_at)
            self._free_at = starts_at + amount * self._seconds_each
        self._stopped.wait(starts_at - now)
