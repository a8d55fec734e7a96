"""DynamoDB for bulk work: scans, batches that are retried until nothing is left, and a limited rate."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotocoreConnectionError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from sessions.client import batch_get, is_transient
from sessions.schema import Item
from sessions_cli.errors import CommandError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BATCH_WRITES: Final = 25
"""Requests in one BatchWriteItem ('Quotas in Amazon DynamoDB')."""

TRIES: Final = 20
BACKOFF_BASE: Final = 0.1
BACKOFF_MAX: Final = 5.0
"""Tries of a batch; seconds to wait at most before the second one, twice that before the third, and so on up to the
last figure: about 40 s of waiting in all. A table on demand that is new takes 4,000 write units a second, and twice its
former peak only after minutes."""

PAGES_AHEAD: Final = 4
"""Cursor pages that a segment of a parallel scan reads before somebody takes them, 1 MB each."""


class Throttled(CommandError):
    """DynamoDB kept leaving a part of a batch undone."""

    def __init__(self, left: list[Any]) -> None:
        super().__init__(f"DynamoDB kept throttling; {len(left)} requests were not carried out.")
        self.left = left
        """Keys that were not read, or writes that were not made."""


Sleep = Callable[[float], None]


def retrying(sleep: Sleep) -> Retrying:
    """Tries, as an iterator, of a block that is throttled or finds DynamoDB out of reach."""
    return Retrying(
        retry=retry_if_exception_type((Throttled, HTTPClientError, BotocoreConnectionError)),
        wait=wait_random_exponential(multiplier=BACKOFF_BASE, max=BACKOFF_MAX),
        stop=stop_after_attempt(TRIES),
        sleep=sleep,
        reraise=True,
    )


def read_batch(
    dynamodb: DynamoDBClient,
    table: str,
    keys: Sequence[Item],
    attributes: Sequence[str] = (),
    sleep: Sleep = time.sleep,
) -> list[Item]:
    """The items of at most 100 keys as they are now.

    Raises:
        Throttled: DynamoDB kept leaving keys unread.
    """
    found: list[Item] = []
    left = list(keys)
    for attempt in retrying(sleep):
        with attempt:
            try:
                items, left = batch_get(dynamodb, table, left, attributes)
            except ClientError as error:
                raise _throttled(error, left) from error
            found += items
            if left:
                raise Throttled(left)
    return found


def write_batch(dynamodb: DynamoDBClient, table: str, requests: Sequence[Any], sleep: Sleep = time.sleep) -> None:
    """Makes at most 25 writes.

    Raises:
        Throttled: DynamoDB kept leaving writes undone.
    """
    left = list(requests)
    for attempt in retrying(sleep):
        with attempt:
            try:
                response: Any = dynamodb.batch_write_item(RequestItems={table: left})
            except ClientError as error:
                raise _throttled(error, left) from error
            left = response.get("UnprocessedItems", {}).get(table, [])
            if left:
                raise Throttled(left)


def _throttled(error: ClientError, left: list[Any]) -> Exception:
    return Throttled(left) if is_transient(error) else error


def scan(
    dynamodb: DynamoDBClient, table: str, attributes: Iterable[str] = (), **parameters: Any
) -> Iterator[list[Item]]:
    """Every item of a table as it is now, by cursor page.

    Args:
        attributes: those to return; none given means all.
        parameters: more of Scan's own.
    """
    names = {f"#{name}": name for name in attributes}  # `scope` and others are reserved words
    if names:
        parameters |= {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True, **parameters):
        yield page["Items"]


def parallel_scan(dynamodb: DynamoDBClient, table: str, segments: int) -> Iterator[list[Item]]:
    """Every item of a table as it is now, by cursor page of any segment, read by a thread for each segment."""
    arrived: queue.Queue[list[Item] | Exception | None] = queue.Queue(PAGES_AHEAD * segments)
    stopped = threading.Event()

    def hand_over(what: list[Item] | Exception | None) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                arrived.put(what, timeout=0.1)
                return

    def read(segment: int) -> None:
        try:
            for page in scan(dynamodb, table, Segment=segment, TotalSegments=segments):
                hand_over(page)
                if stopped.is_set():
                    return
        except Exception as error:
            hand_over(error)
        else:
            hand_over(None)

    with ThreadPoolExecutor(segments, thread_name_prefix="scan") as pool:
        for segment in range(segments):
            pool.submit(read, segment)
        try:
            at_end = 0
            while at_end < segments:
                match arrived.get():
                    case None:
                        at_end += 1
                    case Exception() as error:
                        raise error
                    case page:
                        yield page
        finally:
            stopped.set()


def approximate_count(dynamodb: DynamoDBClient, table: str) -> int:
    """How many items a table has, which DynamoDB counts about every six hours ('DescribeTable')."""
    return dynamodb.describe_table(TableName=table)["Table"]["ItemCount"]


class RateLimiter:
    """Lets work begin at a limited rate, from any thread."""

    def __init__(self, rate: float, sleep: Callable[[float], object] = time.sleep) -> None:
        """
        Args:
            rate: pieces of work a second.
        """
        self._seconds_each = 1 / rate
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = 0.0

    def wait(self, amount: int) -> None:
        """Returns when so many pieces may begin."""
        with self._lock:
            now = time.monotonic()
            begins_at = max(now, self._free_at)
            self._free_at = begins_at + amount * self._seconds_each
        self._sleep(begins_at - now)
