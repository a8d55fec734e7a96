"""The stream of the sessions table, brought to `count_sessions` as Lambda's event source mapping brings it."""

from __future__ import annotations

import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from ops.local.template import REGION, Stream

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

POLL: Final = 0.25
"""Seconds between two looks at the stream of an engine that does not say when it was written to."""

RETRY_FIRST: Final = 0.1
RETRY_LONGEST: Final = 5.0
"""Seconds before a batch is delivered again; doubled every time."""

STUCK: Final = 5
"""Deliveries of one record after which somebody should know."""

GET_RECORDS_LIMIT: Final = 1000
"""Records of one GetRecords ('Quotas in Amazon DynamoDB')."""

Record = dict[str, Any]


class Pump:
    """Reads a stream from its oldest record on, and invokes the function with batches of what its filter lets through.

    A batch is delivered again, from the first record that failed, until it has worked: nothing is skipped.
    """

    def __init__(
        self,
        streams: DynamoDBStreamsClient,
        arn: str,
        mapping: Stream,
        invoke: Callable[[dict[str, Any]], Any],
        see: Callable[[Record], None],
        written: threading.Event | None,
    ) -> None:
        """Starts at once.

        Args:
            arn: the stream.
            invoke: calls the function with an event.
            see: is given every record before it is delivered, filtered or not.
            written: set by the engine when there may be something to read; None to look every `POLL` seconds.
        """
        self._streams = streams
        self._arn = arn
        self._mapping = mapping
        self._invoke = invoke
        self._see = see
        self._written = written
        self._shards = Shards(streams, arn, mapping.starting_position)
        self._stopped = threading.Event()
        self._asked = threading.Condition()
        self._questions = 0
        self._answered = 0
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self._thread.start()

    def settle(self, seconds: float) -> bool:
        """Returns when everything that was written before has been delivered; False when that takes too long."""
        with self._asked:
            self._questions += 1
            question = self._questions
        if self._written is not None:
            self._written.set()
        with self._asked:
            return self._asked.wait_for(lambda: self._answered >= question, seconds)

    def stop(self) -> None:
        """Delivers no further batch."""
        self._stopped.set()
        if self._written is not None:
            self._written.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            with self._asked:
                question = self._questions
            try:
                while records := self._shards.read():
                    self._deliver(records)
            except (ClientError, BotoCoreError) as error:
                failures += 1
                if failures == 1:
                    self._say(f"cannot be read, and is tried again: {error}")
                self._stopped.wait(min(RETRY_FIRST * 2**failures, RETRY_LONGEST))
                continue
            failures = 0
            with self._asked:
                self._answered = question
                self._asked.notify_all()
            self._wait()

    def _wait(self) -> None:
        if self._written is None:
            self._stopped.wait(POLL)
        else:
            self._written.wait()
            self._written.clear()

    def _deliver(self, records: list[Record]) -> None:
        for record in records:
            self._see(record)
        wanted = [record for record in records if passes(record, self._mapping.patterns)]
        size = self._mapping.batch_size
        for start in range(0, len(wanted), size):
            batch, tries, head = wanted[start : start + size], 0, None
            while batch and not self._stopped.is_set():
                failed, reason = self._failed_from(batch)
                delivered, batch = batch[:failed], batch[failed:]
                if not batch:
                    break
                tries = tries + 1 if batch[0] is head else 1
                head = batch[0]
                if tries == STUCK:
                    keys = head["dynamodb"].get("Keys")
                    self._say(f"counting does not get past {keys}, and is tried again: {reason}")
                if not delivered:
                    self._stopped.wait(min(RETRY_FIRST * 2 ** (tries - 1), RETRY_LONGEST))

    def _failed_from(self, batch: list[Record]) -> tuple[int, str]:
        """How many records at the beginning of a batch were worked on, and what is wrong with the next one."""
        try:
            answer = self._invoke({"Records": batch})
        except Exception as error:
            return 0, str(error)
        failures = (answer or {}).get("batchItemFailures") or []
        if not failures:
            return len(batch), ""
        named = {failure.get("itemIdentifier") for failure in failures}
        numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
        # A name that is not in the batch fails all of it ('Configuring partial batch response').
        first = min(numbers.index(number) if number in numbers else 0 for number in named)
        return first, "the function reported it as failed"

    def _say(self, what: str) -> None:
        print(f"stream of {self._mapping.table}: {what}", file=sys.stderr, flush=True)


class Shards:
    """Where reading has come to in each shard of a stream."""

    def __init__(self, streams: DynamoDBStreamsClient, arn: str, starting_position: str) -> None:
        self._streams = streams
        self._arn = arn
        self._starting_position = starting_position
        self._iterators: dict[str, str] = {}
        self._last_read: dict[str, str] = {}
        self._finished: set[str] = set()
        self._is_known = False
        """Whether no shard can have come since the last look for them: only where one ends, others begin."""

    def read(self) -> list[Record]:
        """The next records, or none when there are none now; within a shard in the order of the writes."""
        if not self._is_known:
            self._find()
        for shard_id, iterator in list(self._iterators.items()):
            try:
                page: Any = self._streams.get_records(ShardIterator=iterator, Limit=GET_RECORDS_LIMIT)
            except ClientError as error:
                if error.response["Error"]["Code"] in ("ExpiredIteratorException", "TrimmedDataAccessException"):
                    del self._iterators[shard_id]
                    self._is_known = False  # to go on behind the last record that was read
                raise
            following = page.get("NextShardIterator")
            records = [lambda_record(record, self._arn) for record in page["Records"]]
            if records:
                self._last_read[shard_id] = records[-1]["dynamodb"]["SequenceNumber"]
            if not following:
                del self._iterators[shard_id]
                self._finished.add(shard_id)
                self._is_known = False
            elif records:
                # An iterator that found nothing is as good as the next one, and moto keeps all it gave out.
                self._iterators[shard_id] = following
            if records:
                return records
        return []

    def _find(self) -> None:
        description = self._streams.describe_stream(StreamArn=self._arn)["StreamDescription"]
        shards = description.get("Shards", [])
        there = {shard["ShardId"] for shard in shards}
        for shard in shards:
            shard_id, parent = shard["ShardId"], shard.get("ParentShardId")
            # A child goes on where its parent ended: never before the parent is read.
            waits = parent in there and parent not in self._finished
            if shard_id in self._iterators or shard_id in self._finished or waits:
                continue
            position: dict[str, Any] = {"ShardIteratorType": self._starting_position}
            if shard_id in self._last_read:
                position = {
                    "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                    "SequenceNumber": self._last_read[shard_id],
                }
            found = self._streams.get_shard_iterator(StreamArn=self._arn, ShardId=shard_id, **position)
            self._iterators[shard_id] = found["ShardIterator"]
        self._is_known = bool(self._iterators)


def lambda_record(record: Any, arn: str) -> Record:
    """A record as Lambda hands it to a function, from what the streams client made of it."""
    change = {name: _as_json(value) for name, value in record["dynamodb"].items()}
    return {
        "eventID": record["eventID"],
        "eventName": record["eventName"],
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": REGION,
        "dynamodb": change,
        "eventSourceARN": arn,
    }


def _as_json(value: Any) -> Any:
    match value:
        case datetime():
            return float(int(value.timestamp()))
        case bytes():
            return b64encode(value).decode()
        case dict():
            return {name: _as_json(each) for name, each in value.items()}
        case list():
            return [_as_json(each) for each in value]
    return value


def passes(record: Record, patterns: Iterable[dict[str, Any]]) -> bool:
    """Whether a record is let through by any of the patterns ('Lambda event filtering'); no patterns let all through.

    Raises:
        ValueError: a pattern asks for more than equality, prefixes and existence.
    """
    alternatives = list(patterns)
    return not alternatives or any(_matches(record, pattern) for pattern in alternatives)


def _matches(value: Any, pattern: dict[str, Any]) -> bool:
    for name, wanted in pattern.items():
        inner = value.get(name) if isinstance(value, dict) else None
        if isinstance(wanted, dict):
            if not _matches(inner, wanted):
                return False
        elif not any(_is_one(inner, each) for each in wanted):
            return False
    return True


def _is_one(value: Any, wanted: Any) -> bool:
    if not isinstance(wanted, dict):
        return bool(value == wanted)
    match wanted:
        case {"prefix": str(prefix)}:
            return isinstance(value, str) and value.startswith(prefix)
        case {"exists": bool(exists)}:
            return (value is not None) == exists
        case {"anything-but": list(others)}:
            return value is not None and value not in others
    raise ValueError(f"the local API does not know this filter: {wanted}")
