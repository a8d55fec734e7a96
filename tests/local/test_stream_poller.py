"""The stream poller: records as Lambda hands them over, in batches, again from the first failure."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import botocore.exceptions
import pytest

from sessions_local import stream_poller
from sessions_local.sam_template import EventSource
from sessions_local.stream_poller import StreamPoller, lambda_record
from tests.service import ROOT

ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/sessions/stream/2026-11-23T16:41:46.463"
MAPPING = EventSource("sessions", "count_sessions", "TRIM_HORIZON", 3, 2)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_poller, "RETRY_FIRST", 0.0)


def record(number: int, kind: str = "INSERT") -> dict[str, Any]:
    """A record as the streams client returns it."""
    return {
        "eventID": f"event{number}",
        "eventName": kind,
        "eventVersion": "1.0",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": datetime(2026, 11, 23, tzinfo=UTC),
            "Keys": {"id": {"S": f"session_{number}"}},
            "NewImage": {"id": {"S": f"session_{number}"}, "raw": {"B": b"\0"}, "list": {"L": [{"BS": [b"\1"]}]}},
            "SequenceNumber": str(number),
            "SizeBytes": 1,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
    }


class Streams:
    """The streams client of an engine: shards of records, a parent closed after its last record."""

    def __init__(self, shards: dict[str, list[dict[str, Any]]], parents: dict[str, str] | None = None) -> None:
        self.shards = shards
        self.parents = parents or {}
        self.faults: list[str] = []

    def describe_stream(self, StreamArn: str) -> Any:  # noqa: N803
        shards = [{"ShardId": each, "ParentShardId": self.parents.get(each, "gone")} for each in self.shards]
        return {"StreamDescription": {"Shards": shards}}

    def get_shard_iterator(self, ShardId: str, SequenceNumber: str | None = None, **_: Any) -> Any:  # noqa: N803
        numbers = [each["dynamodb"]["SequenceNumber"] for each in self.shards[ShardId]]
        return {"ShardIterator": f"{ShardId}:{numbers.index(SequenceNumber) + 1 if SequenceNumber else 0}"}

    def get_records(self, ShardIterator: str, Limit: int) -> Any:  # noqa: N803
        if self.faults:
            response: Any = {"Error": {"Code": self.faults.pop(0)}}
            raise botocore.exceptions.ClientError(response, "GetRecords")
        shard_id, _, start = ShardIterator.partition(":")
        records = self.shards[shard_id][int(start) : int(start) + min(Limit, 4)]
        end = int(start) + len(records)
        is_closed = shard_id in self.parents.values() and end == len(self.shards[shard_id])
        return {"Records": records} | ({} if is_closed else {"NextShardIterator": f"{shard_id}:{end}"})


class Deliveries:
    """A poller of some streams, and the numbers of the records in every batch that it delivered."""

    def __init__(self, streams: Streams, respond: Callable[[list[str]], Any] = lambda _: {"batchItemFailures": []}):
        self.batches: list[list[str]] = []
        self.read: list[str] = []
        self._respond = respond
        client: Any = streams
        self.poller = StreamPoller(client, ARN, MAPPING, self._invoke, self._on_read)

    def _invoke(self, event: dict[str, Any]) -> Any:
        json.dumps(event)
        numbers = [each["dynamodb"]["SequenceNumber"] for each in event["Records"]]
        self.batches.append(numbers)
        return self._respond(numbers)

    def _on_read(self, records: list[dict[str, Any]]) -> None:
        self.read += [each["dynamodb"]["SequenceNumber"] for each in records]
        raise KeyError("delivery does not depend on this")


def delivered(streams: Streams, respond: Callable[[list[str]], Any]) -> list[list[str]]:
    deliveries = Deliveries(streams, respond)
    deliveries.poller.poll()
    return deliveries.batches


def one_shard(*numbers: int) -> Streams:
    return Streams({"a": [record(number) for number in numbers]})


def failures(*names: Any) -> Any:
    return {"batchItemFailures": [{"itemIdentifier": each} for each in names]}


def test_a_record_has_the_form_that_lambda_gives_it() -> None:
    made = lambda_record(record(7), ARN)
    recorded = json.loads((ROOT / "events" / "count_insert.json").read_text())["Records"][0]
    assert made.keys() == recorded.keys()
    assert {name: type(value) for name, value in made["dynamodb"].items()} == {
        name: type(value) for name, value in recorded["dynamodb"].items()
    }
    assert (made["eventVersion"], made["awsRegion"], made["eventSourceARN"]) == ("1.1", "eu-west-1", ARN)
    assert made["dynamodb"]["NewImage"]["raw"] == {"B": "AA=="}
    assert made["dynamodb"]["NewImage"]["list"] == {"L": [{"BS": ["AQ=="]}]}


def test_batches_follow_the_size_of_the_mapping() -> None:
    streams = one_shard(1, 2, 3, 4)
    deliveries = Deliveries(streams)
    deliveries.poller.poll()
    streams.shards["a"].append(record(5))
    deliveries.poller.poll()
    assert deliveries.batches == [["1", "2", "3"], ["4"], ["5"]]
    assert deliveries.read == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("results", "batches"),
    [
        ([failures("2"), failures("3"), None], [["1", "2", "3"], ["2", "3"], ["3"]]),
        ([failures("3", "2"), None], [["1", "2", "3"], ["2", "3"]]),
        ([failures(""), {}], [["1", "2", "3"], ["1", "2", "3"]]),
        ([failures(None), {}], [["1", "2", "3"], ["1", "2", "3"]]),
        ([failures("99"), {}], [["1", "2", "3"], ["1", "2", "3"]]),
    ],
    ids=["one after the other", "the earliest", "empty", "none", "unknown"],
)
def test_delivery_goes_on_from_the_first_failure(results: list[Any], batches: list[list[str]]) -> None:
    assert delivered(one_shard(1, 2, 3), lambda _: results.pop(0)) == batches


def test_a_bad_record_is_given_up_in_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    def respond(numbers: list[str]) -> Any:
        if "1" in numbers:
            raise RuntimeError("poison")

    batches = delivered(one_shard(1, 2), respond)
    assert batches == [*[["1", "2"]] * 3, ["2"]]
    reason = '{"id": {"S": "session_1"}} is not counted: poison. `sessions counts rebuild` counts it.'
    assert f"stream of sessions: {reason}" in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("code", ["ExpiredIteratorException", "TrimmedDataAccessException", "InternalServerError"])
def test_reading_goes_on_after_the_last_record(code: str) -> None:
    streams = one_shard(1)
    deliveries = Deliveries(streams)
    deliveries.poller.poll()
    streams.shards["a"].append(record(2))
    streams.faults.append(code)
    with pytest.raises(botocore.exceptions.ClientError):
        deliveries.poller.poll()
    deliveries.poller.poll()
    assert deliveries.batches == [["1"], ["2"]]


def test_the_children_of_a_shard_are_read_after_it() -> None:
    streams = Streams({"b": [record(3)], "a": [record(1), record(2)]}, parents={"b": "a"})
    assert delivered(streams, lambda _: None) == [["1", "2"], ["3"]]
