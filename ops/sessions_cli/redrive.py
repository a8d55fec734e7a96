"""Counts what the stream set aside: takes pointers off the failure queue and looks at their sessions as they are now.

A record is never replayed: since it was set aside, its session may have been deleted or created again, and
counted accordingly.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from sessions.client import is_transient
from sessions.schema import ID
from sessions_cli.dynamodb import Sleep, Throttled
from sessions_cli.progress import OnProgress, silent
from sessions_cli.reconcile import Reconciler
from sessions_cli.tables import Tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient
    from mypy_boto3_sqs import SQSClient

MESSAGES: Final = 10
"""Messages in one ReceiveMessage ('Amazon SQS message quotas')."""

WAIT: Final = 2
"""Seconds that the queue is asked to wait for a message; a long poll asks all of its servers."""

HIDDEN: Final = 300
"""Seconds for which a message that is being worked on, or was kept, is not received again."""

EMPTY_READS: Final = 100
"""Responses without a record after which a shard is taken to hold none of those looked for."""

EMPTY_PAUSE: Final = 0.25
"""Seconds after an empty response: a shard takes five reads a second, and Lambda makes four ('GetRecords')."""

_GONE: Final = frozenset({"TrimmedDataAccessException", "ResourceNotFoundException"})
"""The stream keeps its records for 24 hours ('Change data capture for DynamoDB Streams')."""


@dataclass
class RedriveReport:
    """What became of the queue's messages."""

    done: int = 0
    """Messages whose sessions were all counted; they are deleted."""
    sessions: int = 0
    """Sessions that were looked at for them."""
    kept: dict[str, str] = field(default_factory=dict)
    """Messages that stay in the queue, and why."""


class Batch(NamedTuple):
    """Where a batch of records lies in the stream."""

    stream_arn: str
    shard_id: str
    start: str
    end: int

    @classmethod
    def read(cls, body: str) -> Batch:
        """The batch that a message points to ('Capturing discarded batches for a DynamoDB event source').

        Raises:
            ValueError, KeyError, TypeError: it is another kind of message.
        """
        info = json.loads(body)["DDBStreamBatchInfo"]
        return cls(info["streamArn"], info["shardId"], info["startSequenceNumber"], int(info["endSequenceNumber"]))


class Gone(Exception):
    """The records are no longer in the stream."""


def redrive(
    tables: Tables,
    streams: DynamoDBStreamsClient,
    sqs: SQSClient,
    queue_url: str,
    *,
    wait: int = WAIT,
    progress: OnProgress = silent,
) -> RedriveReport:
    """Counts the sessions of every message in the failure queue as they are now, and deletes the message.

    A message whose records are no longer in the stream is kept: `rebuild` finds its sessions, and all others.
    Safe beside live traffic; a message that was worked on twice does no harm.

    Args:
        wait: seconds to wait for a message before the queue counts as empty, 0 to 20.
    """
    reconciler = Reconciler(tables)
    report = RedriveReport()
    while True:
        response = sqs.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=MESSAGES, WaitTimeSeconds=wait, VisibilityTimeout=HIDDEN
        )
        messages = response.get("Messages", [])
        if not messages:
            return report
        for message in messages:
            if message["MessageId"] in report.kept:
                return report  # what is kept comes back after a while: there is nothing new
            reason = _count(streams, reconciler, message["Body"], report, tables.sleep)
            if reason is None:
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
                report.done += 1
            else:
                report.kept[message["MessageId"]] = reason
            progress("counting what was set aside", report.done + len(report.kept), None)


def _count(
    streams: DynamoDBStreamsClient,
    reconciler: Reconciler,
    body: str,
    report: RedriveReport,
    sleep: Sleep,
) -> str | None:
    """Counts the sessions that a message points to; returns why they could not be counted, or None."""
    try:
        batch = Batch.read(body)
    except (ValueError, KeyError, TypeError):
        return "This is not a message of the stream's event source mapping."
    try:
        session_ids = _session_ids(streams, batch, sleep)
        reconciled = reconciler.reconcile(session_ids)
    except Gone:
        return "Its records are no longer in the stream; `sessions counts rebuild` counts their sessions."
    except (ClientError, BotoCoreError, Throttled) as error:
        if isinstance(error, Throttled) or is_transient(error):
            return f"DynamoDB is busy or cannot be reached ({error}); run this again."
        raise
    report.sessions += len(session_ids)
    if reconciled.failed:
        return "; ".join(f"{session_id}: {reason}" for session_id, reason in reconciled.failed.items())
    return None


def _session_ids(streams: DynamoDBStreamsClient, batch: Batch, sleep: Sleep) -> list[str]:
    """The sessions whose records lie between the two ends of a batch, each once.

    Raises:
        Gone: the stream does not hold all of them any more.
    """
    session_ids: dict[str, None] = {}
    empty_reads = 0
    try:
        iterator: str | None = streams.get_shard_iterator(
            StreamArn=batch.stream_arn,
            ShardId=batch.shard_id,
            ShardIteratorType="AT_SEQUENCE_NUMBER",
            SequenceNumber=batch.start,
        )["ShardIterator"]
        while iterator is not None and empty_reads < EMPTY_READS:
            response = streams.get_records(ShardIterator=iterator)
            for record in response["Records"]:
                sequence_number = int(record["dynamodb"]["SequenceNumber"])
                if sequence_number <= batch.end:
                    session_ids[record["dynamodb"]["Keys"][ID]["S"]] = None
                if sequence_number >= batch.end:
                    return list(session_ids)
            if not response["Records"]:
                empty_reads += 1
                sleep(EMPTY_PAUSE)
            iterator = response.get("NextShardIterator")
    except ClientError as error:
        if error.response["Error"]["Code"] in _GONE:
            raise Gone from error
        raise
    raise Gone  # the shard ended before the last record of the batch
