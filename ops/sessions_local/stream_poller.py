"""The stream of the sessions table, brought to `count_sessions` as Lambda's event source mapping brings it."""

from __future__ import annotations

import json
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from sessions_local.sam_template import REGION, Stream

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

POLL_SECONDS: Final = 0.25
"""Between two looks at the stream of an engine that does not say when it was written to."""

RETRY_FIRST: Final = 0.1
RETRY_LONGEST: Final = 5.0
"""Seconds before another try; doubled every time."""

TRIES: Final = 3
"""Deliveries of one record after which it is set aside, so that the others do not wait for it."""

LOOK_SECONDS: Final = 0.2
"""Between two looks at how far the poller is."""

GET_RECORDS_LIMIT: Final = 1000
"""Records of one GetRecords ('Quotas in Amazon DynamoDB')."""

Record = dict[str, Any]


class StreamPoller:
    """Reads a stream from its oldest record on, and invokes a function with batches of what its filter lets through.

    A batch is delivered at once, without the mapping's batching window. What fails is delivered again, a batch that
    raises in halves. A record that keeps failing is set aside with all later ones of the same item, whose order
    matters, and tried again every few seconds: nothing is skipped, and nothing else waits.
    """

    def __init__(
        self,
        streams: DynamoDBStreamsClient,
        arn: str,
        mapping: Stream,
        invoke: Callable[[dict[str, Any]], Any],
        on_record: Callable[[Record], None],
        written: threading.Event | None,
    ) -> None:
        """Starts at once.

        Args:
            arn: the stream.
            invoke: calls the function with an event and returns its result.
            on_record: is given every record before it is delivered, filtered or not.
            written: set by the engine when there may be something to read; None to look every `POLL_SECONDS`.
        """
        self._streams = streams
        self._arn = arn
        self._mapping = mapping
        self._invoke = invoke
        self._on_record = on_record
        self._written = written
        self._shards = Shards(streams, arn, mapping.starting_position)
        self._set_aside: dict[str, list[Record]] = {}
        """By the key of their item."""
        self._retry_at = 0.0
        self._said: set[str] = set()
        self.records_read = 0
        """How many were taken from the stream and delivered or set aside."""
        self._stopped = threading.Event()
        self._caught_up = threading.Condition()
        self._questions = 0
        self._answered = 0
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self._thread.start()

    def catch_up(self, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> bool:
        """Returns when everything written before was delivered or set aside; False when that takes longer.

        Args:
            meanwhile: is called every `LOOK_SECONDS` until then.
        """
        with self._caught_up:
            self._questions += 1
            question = self._questions
        if self._written is not None:
            self._written.set()
        ends_at = time.monotonic() + seconds
        while (left := ends_at - time.monotonic()) > 0:
            with self._caught_up:
                if self._caught_up.wait_for(lambda: self._answered >= question, min(left, LOOK_SECONDS)):
                    return True
            meanwhile()
        return False

    def stop(self) -> None:
        """Delivers no further batch."""
        self._stopped.set()
        if self._written is not None:
            self._written.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            with self._caught_up:
                question = self._questions
            try:
                while (records := self._shards.read()) and not self._stopped.is_set():
                    self._accept(records)
                    self._retry()
            except Exception as error:  # whatever it is, the next records must still be counted
                failures += 1
                if failures == 1:
                    self._say(f"cannot be read, will try again: {error}")
                self._stopped.wait(min(RETRY_FIRST * 2**failures, RETRY_LONGEST))
                continue
            failures = 0
            with self._caught_up:
                self._answered = question
                self._caught_up.notify_all()
            self._wait()
            self._retry()

    def _wait(self) -> None:
        if self._written is None:
            self._stopped.wait(POLL_SECONDS)
        else:
            self._written.wait(RETRY_LONGEST if self._set_aside else None)
            self._written.clear()

    def _accept(self, records: list[Record]) -> None:
        for record in records:
            try:
                self._on_record(record)
            except Exception as error:
                self._say_once(f"a record was not looked at: {error}")
        wanted = [record for record in records if passes(record, self._mapping.patterns)]
        for start in range(0, len(wanted), self._mapping.batch_size):
            self._deliver(wanted[start : start + self._mapping.batch_size])
        self.records_read += len(records)

    def _deliver(self, batch: list[Record]) -> None:
        tries, head = 0, None
        while not self._stopped.is_set():
            waiting = [record for record in batch if _key(record) in self._set_aside]
            for record in waiting:
                self._set_aside[_key(record)].append(record)
            batch = [record for record in batch if record not in waiting] if waiting else batch
            if not batch:
                return
            failed, reason = self._first_failure(batch)
            if failed is None and len(batch) > 1:
                middle = len(batch) // 2
                self._deliver(batch[:middle])
                batch = batch[middle:]
                continue
            batch = batch[failed or 0 :]
            if not batch:
                return
            tries = tries + 1 if batch[0] is head else 1
            head = batch[0]
            if tries == TRIES:
                self._say(f"{_key(head)} cannot be counted, will try again: {reason}")
                self._set_aside[_key(head)] = []
                self._retry_at = time.monotonic() + RETRY_LONGEST
            elif not failed:
                self._stopped.wait(RETRY_FIRST * 2 ** (tries - 1))

    def _retry(self) -> None:
        """Delivers again what was set aside, each item's records alone."""
        if not self._set_aside or time.monotonic() < self._retry_at:
            return
        for key, records in list(self._set_aside.items()):
            failed, _ = self._first_failure(records)
            self._set_aside[key] = records[failed or 0 :]
            if not self._set_aside[key]:
                del self._set_aside[key]
                self._say(f"{key} is counted now")
        self._retry_at = time.monotonic() + RETRY_LONGEST

    def _first_failure(self, batch: list[Record]) -> tuple[int | None, str]:
        """The position of the first record that failed, the batch's length for none, and the reason.

        None when the function raised, so that any of them may be the one.
        """
        try:
            result = self._invoke({"Records": batch})
        except Exception as error:
            return None, str(error)
        failures = (result or {}).get("batchItemFailures") or []
        if not failures:
            return len(batch), ""
        named = {failure.get("itemIdentifier") for failure in failures}
        numbers = [record["dynamodb"].get("SequenceNumber") for record in batch]
        # A name that is not in the batch fails all of it ('Configuring partial batch response').
        first = min(numbers.index(number) if number in numbers else 0 for number in named)
        return first, "the function reported it as failed"

    def _say_once(self, what: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self._say(what)

    def _say(self, what: str) -> None:
        print(f"stream of {self._mapping.table}: {what}", file=sys.stderr, flush=True)


def _key(record: Record) -> str:
    """The key of the item that a record is about, as text."""
    return json.dumps(record["dynamodb"].get("Keys"))


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
