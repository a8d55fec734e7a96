"""The stream of the sessions table, delivered to `count_sessions` as Lambda's event source mapping delivers it."""

from __future__ import annotations

import json
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sessions_local.sam_template import REGION, EventSource

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

POLL_SECONDS: Final = 0.25
"""Between two reads of the stream, as Lambda does it ('Using Lambda to process records from DynamoDB streams')."""

RETRY_FIRST: Final = 0.1
RETRY_LONGEST: Final = 1.0
"""Seconds before a batch is delivered again; doubled every time."""

GET_RECORDS_LIMIT: Final = 1000
"""Records of one GetRecords ('Quotas in Amazon DynamoDB')."""

Record = dict[str, Any]


class StreamPoller:
    """The event source mapping of the template.

    It waits for no batching window, filters nothing and halves no batch. A record that fails in all retries is named on
    standard error and given up, where AWS sends it to the failure queue.
    """

    def __init__(
        self,
        streams: DynamoDBStreamsClient,
        arn: str,
        mapping: EventSource,
        invoke: Callable[[dict[str, Any]], Any],
        on_read: Callable[[list[Record]], None],
    ) -> None:
        self._mapping = mapping
        self._invoke = invoke
        self._on_read = on_read  # given all records, before they are delivered
        self._shards = Shards(streams, arn, mapping.starting_position)
        self.caught_up = threading.Event()
        """Set when the stream has been read to its end for the first time."""

    def start(self) -> None:
        threading.Thread(target=self._run, name="stream", daemon=True).start()

    def poll(self) -> None:
        """Read the stream to its end, and deliver what was read."""
        while records := self._shards.read():
            try:
                self._on_read(records)
            except Exception as error:  # counting does not depend on it
                self._say(f"demo keys of new organizations may be missing: {error}")
            for start in range(0, len(records), self._mapping.batch_size):
                self._deliver(records[start : start + self._mapping.batch_size])
        self.caught_up.set()

    def _run(self) -> None:
        said = ""
        while True:
            try:
                self.poll()
            except Exception as error:  # of any kind: the next records must still be counted
                if said != str(error):
                    self._say(f"reading failed and will be retried: {error}")
                said = str(error)
            time.sleep(POLL_SECONDS)

    def _deliver(self, batch: list[Record]) -> None:
        """Invoke the function until it accepts the batch; records that it reports as failed are delivered again."""
        retries = 0
        while batch:
            try:
                failed, reason = first_failure(batch, self._invoke({"Records": batch})), "reported as failed"
            except Exception as error:
                failed, reason = 0, str(error)
            batch, retries = batch[failed:], 0 if failed else retries + 1
            if batch and retries > self._mapping.retries:
                key = json.dumps(batch[0]["dynamodb"].get("Keys"))
                self._say(f"{key} is not counted: {reason}. `sessions counts rebuild` counts it.")
                batch, retries = batch[1:], 0
            elif batch:
                time.sleep(min(RETRY_FIRST * 2**retries, RETRY_LONGEST))

    def _say(self, text: str) -> None:
        print(f"stream of {self._mapping.table}: {text}", file=sys.stderr, flush=True)


def first_failure(batch: list[Record], result: Any) -> int:
    """Return the position of the first record that the result reports, or the length of the batch for none.

    An identifier that is not in the batch fails all of it ('Configuring partial batch response').
    """
    failures = (result or {}).get("batchItemFailures") or []
    numbers = [record["dynamodb"].get("SequenceNumber") for record in batch]
    failed = [failure.get("itemIdentifier") for failure in failures]
    return min((numbers.index(each) if each in numbers else 0 for each in failed), default=len(batch))


class Shards:
    """The shards of a stream, with the position up to which each was read."""

    def __init__(self, streams: DynamoDBStreamsClient, arn: str, starting_position: str) -> None:
        self._streams = streams
        self._arn = arn
        self._starting_position = starting_position
        self._iterators: dict[str, str] = {}
        self._last_read: dict[str, str] = {}
        self._finished: set[str] = set()

    def read(self) -> list[Record]:
        """Return the next records of any shard, in the order of the writes; none when all are read to their end."""
        self._open_shards()
        for shard_id, iterator in list(self._iterators.items()):
            del self._iterators[shard_id]  # when reading fails, the shard is opened again after its last record
            page: Any = self._streams.get_records(ShardIterator=iterator, Limit=GET_RECORDS_LIMIT)
            if "NextShardIterator" in page:
                self._iterators[shard_id] = page["NextShardIterator"]
            else:
                self._finished.add(shard_id)
            if page["Records"]:
                self._last_read[shard_id] = page["Records"][-1]["dynamodb"]["SequenceNumber"]
                return [lambda_record(record, self._arn) for record in page["Records"]]
            if shard_id in self._finished:
                return self.read()  # where one shard ends, others begin
        return []

    def _open_shards(self) -> None:
        description = self._streams.describe_stream(StreamArn=self._arn)["StreamDescription"]
        shards = {shard["ShardId"]: shard.get("ParentShardId") for shard in description.get("Shards", [])}
        for shard_id, parent in shards.items():
            # A child goes on where its parent ended, and must not be read before.
            waits = parent in shards and parent not in self._finished
            if shard_id in self._iterators or shard_id in self._finished or waits:
                continue
            position: dict[str, Any] = {"ShardIteratorType": self._starting_position}
            if shard_id in self._last_read:
                position = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": self._last_read[shard_id]}
            opened = self._streams.get_shard_iterator(StreamArn=self._arn, ShardId=shard_id, **position)
            self._iterators[shard_id] = opened["ShardIterator"]


def lambda_record(record: Any, arn: str) -> Record:
    """Return a record in Lambda's form, from the streams client's."""
    change = {name: _json_value(value) for name, value in record["dynamodb"].items()}
    made = {"eventID": record["eventID"], "eventName": record["eventName"], "eventVersion": "1.1"}
    return made | {"eventSource": "aws:dynamodb", "awsRegion": REGION, "dynamodb": change, "eventSourceARN": arn}


def _json_value(value: Any) -> Any:
    match value:
        case datetime():
            return float(int(value.timestamp()))
        case bytes():
            return b64encode(value).decode()
        case dict():
            return {name: _json_value(each) for name, each in value.items()}
        case list():
            return [_json_value(each) for each in value]
    return value
