"""Counts the sessions that the stream could not count, by the messages of the failure queue.

No record is replayed: its session may have been deleted or created again since, and counted accordingly.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from time import sleep
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from sessions.client import is_transient
from sessions.schema import ID
from sessions_cli.bulk import Throttled
from sessions_cli.progress import OnProgress, silent
from sessions_cli.reconcile import Reconciler
from sessions_cli.tables import Tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient
    from mypy_boto3_sqs import SQSClient

MESSAGES: Final = 10
"""Messages in one ReceiveMessage ('Amazon SQS message quotas')."""

WAIT_SECONDS: Final = 2
"""Seconds to wait for a message before the queue counts as empty; waiting makes SQS ask all of its servers."""

HIDDEN_SECONDS: Final = 300
"""Seconds before a message that is in work, or stays in the queue, is received again."""

EMPTY_READS: Final = 100
"""Empty reads before giving up on a shard."""

EMPTY_PAUSE: Final = 0.25
"""Seconds after an empty read: a shard takes five reads a second, and Lambda makes four ('GetRecords')."""

_EXPIRED: Final = frozenset({"TrimmedDataAccessException", "ResourceNotFoundException"})
"""Codes for records that are older than 24 hours ('Change data capture for DynamoDB Streams')."""


@dataclass
class RedriveReport:
    """The result of emptying the queue."""

    done: int = 0
    """Messages that were deleted, since all of their sessions are counted."""
    sessions: int = 0
    """Sessions of those messages."""
    kept: dict[str, str] = field(default_factory=dict)
    """Messages that stay in the queue, and why."""


class NotCounted(Exception):
    """The sessions of a message could not be counted; the text says why."""


EXPIRED: Final = "Its records are no longer in the stream; `sessions counts rebuild` counts their sessions."


def redrive(
    tables: Tables, streams: DynamoDBStreamsClient, sqs: SQSClient, queue_url: str, progress: OnProgress = silent
) -> RedriveReport:
    """Count the sessions of every message in the failure queue as they are now, and delete the message.

    A message whose records have expired stays in the queue; `rebuild` counts its sessions, and all others. Safe beside
    live traffic, and harmless for a message that is processed twice.
    """
    reconciler = Reconciler(tables)
    report = RedriveReport()
    receive: dict[str, Any] = {"MaxNumberOfMessages": MESSAGES, "VisibilityTimeout": HIDDEN_SECONDS}
    while True:
        response = sqs.receive_message(QueueUrl=queue_url, WaitTimeSeconds=WAIT_SECONDS, **receive)
        messages = response.get("Messages", [])
        for message in messages:
            if message["MessageId"] in report.kept:
                return report  # only messages that were kept come back
            try:
                report.sessions += _count(streams, reconciler, message["Body"])
            except NotCounted as error:
                report.kept[message["MessageId"]] = str(error)
            else:
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
                report.done += 1
            progress("redriving messages", report.done + len(report.kept), None)
        if not messages:
            return report


def _count(streams: DynamoDBStreamsClient, reconciler: Reconciler, body: str) -> int:
    """Count the sessions that a message names, and return how many there are, or raise NotCounted."""
    try:
        batch = json.loads(body)["DDBStreamBatchInfo"]
        place = batch["streamArn"], batch["shardId"], batch["startSequenceNumber"], int(batch["endSequenceNumber"])
    except (ValueError, KeyError, TypeError):
        raise NotCounted("This is not a message of the stream's event source mapping.") from None
    try:
        session_ids = _session_ids(streams, *place)
        failed = reconciler.reconcile(session_ids).failed
    except (ClientError, BotoCoreError, Throttled) as error:
        if isinstance(error, Throttled) or is_transient(error):
            raise NotCounted(f"DynamoDB is busy or cannot be reached ({error}); run this again.") from error
        raise
    if failed:
        raise NotCounted("; ".join(f"{session_id}: {reason}" for session_id, reason in failed.items()))
    return len(session_ids)


def _session_ids(streams: DynamoDBStreamsClient, stream_arn: str, shard_id: str, start: str, end: int) -> list[str]:
    """Return the sessions of the records from one sequence number to another, each once."""
    session_ids: dict[str, None] = {}
    empty_reads = 0
    try:
        iterator: str | None = streams.get_shard_iterator(
            StreamArn=stream_arn,
            ShardId=shard_id,
            ShardIteratorType="AT_SEQUENCE_NUMBER",
            SequenceNumber=start,
        )["ShardIterator"]
        while iterator is not None and empty_reads < EMPTY_READS:
            response = streams.get_records(ShardIterator=iterator)
            for record in response["Records"]:
                sequence_number = int(record["dynamodb"]["SequenceNumber"])
                if sequence_number <= end:
                    session_ids[record["dynamodb"]["Keys"][ID]["S"]] = None
                if sequence_number >= end:
                    return list(session_ids)
            if not response["Records"]:
                empty_reads += 1
                sleep(EMPTY_PAUSE)
            iterator = response.get("NextShardIterator")
    except ClientError as error:
        if error.response["Error"]["Code"] in _EXPIRED:
            raise NotCounted(EXPIRED) from error
        raise
    raise NotCounted(EXPIRED)  # the shard ended before the last record of the batch
