"""The stream poller of the local API: records as Lambda hands them over, in batches, again from the first failure."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import botocore.exceptions
import pytest

from sessions_local import stream_poller
from sessions_local.sam_template import Stream
from sessions_local.stream_poller import TRIES, StreamPoller, lambda_record, passes
from tests.service import ROOT

ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/sessions/stream/2026-11-23T16:41:46.463"
MAPPING = Stream("sessions", "count_sessions", "TRIM_HORIZON", 3, [{"eventName": ["INSERT", "REMOVE"]}])


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


def fault(code: str) -> botocore.exceptions.ClientError:
    response: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return botocore.exceptions.ClientError(response, "GetRecords")


class Streams:
    """The streams client of an engine: shards of records, some of them closed, and faults when told so."""

    def __init__(self, shards: dict[str, list[dict[str, Any]]], parents: dict[str, str] | None = None) -> None:
        self.shards = shards
        self.parents = parents or {}
        self.faults: list[Exception] = []

    def describe_stream(self, StreamArn: str) -> Any:  # noqa: N803
        shards = [
            {"ShardId": shard_id} | ({"ParentShardId": self.parents[shard_id]} if shard_id in self.parents else {})
            for shard_id in self.shards
        ]
        return {"StreamDescription": {"Shards": shards}}

    def get_shard_iterator(self, ShardId: str, ShardIteratorType: str, SequenceNumber: str = "", **_: Any) -> Any:  # noqa: N803
        start = 0
        if ShardIteratorType == "AFTER_SEQUENCE_NUMBER":
            numbers = [each["dynamodb"]["SequenceNumber"] for each in self.shards[ShardId]]
            start = numbers.index(SequenceNumber) + 1
        return {"ShardIterator": f"{ShardId}:{start}"}

    def get_records(self, ShardIterator: str, Limit: int) -> Any:  # noqa: N803
        if self.faults:
            raise self.faults.pop(0)
        shard_id, _, start = ShardIterator.partition(":")
        records = self.shards[shard_id][int(start) : int(start) + min(Limit, 4)]
        end = int(start) + len(records)
        closed = shard_id in self.parents.values() and end == len(self.shards[shard_id])
        return {"Records": records} | ({} if closed else {"NextShardIterator": f"{shard_id}:{end}"})


Respond = Callable[[list[str]], Any]
Start = Callable[..., tuple[StreamPoller, list[list[str]]]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a poller; returns it with the numbers of the records of every batch that it delivered."""
    monkeypatch.setattr(stream_poller, "RETRY_FIRST", 0.001)
    monkeypatch.setattr(stream_poller, "RETRY_LONGEST", 0.02)
    pollers = []

    def begin(streams: Streams, respond: Respond, on_record: Callable[[Any], None] = lambda _: None) -> Any:
        batches: list[list[str]] = []

        def invoke(event: dict[str, Any]) -> Any:
            json.dumps(event)
            numbers = [each["dynamodb"]["SequenceNumber"] for each in event["Records"]]
            batches.append(numbers)
            return respond(numbers)

        client: Any = streams
        poller = StreamPoller(client, ARN, MAPPING, invoke, on_record, threading.Event())
        pollers.append(poller)
        assert poller.catch_up(10)
        return poller, batches

    yield begin
    for poller in pollers:
        poller.stop()


def fine(_: list[str]) -> Any:
    return {"batchItemFailures": []}


def failing(*first: str) -> Respond:
    """Reports the first record of these that is in the batch, once each."""
    waiting = list(first)

    def respond(numbers: list[str]) -> Any:
        failed = [each for each in waiting if each in numbers][:1]
        for each in failed:
            waiting.remove(each)
        return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}

    return respond


def test_a_record_looks_as_lambda_hands_it_over() -> None:
    made = lambda_record(record(7), ARN)
    recorded = json.loads((ROOT / "events" / "count_insert.json").read_text())["Records"][0]
    assert made.keys() == recorded.keys()
    assert made["dynamodb"].keys() == recorded["dynamodb"].keys()
    assert {name: type(value) for name, value in made["dynamodb"].items()} == {
        name: type(value) for name, value in recorded["dynamodb"].items()
    }
    assert (made["eventVersion"], made["awsRegion"], made["eventSourceARN"]) == ("1.1", "eu-west-1", ARN)
    assert made["dynamodb"]["NewImage"]["raw"] == {"B": "AA=="}
    assert made["dynamodb"]["NewImage"]["list"] == {"L": [{"BS": ["AQ=="]}]}


def test_batches_follow_size_and_filter_of_the_mapping(start: Start) -> None:
    seen = []
    records = [record(number, "MODIFY" if number == 2 else "INSERT") for number in range(1, 7)]
    _, batches = start(Streams({"a": records}), fine, lambda each: seen.append(each["eventID"]))
    assert batches == [["1", "3", "4"], ["5", "6"]]
    assert seen == [f"event{number}" for number in range(1, 7)]


def test_what_is_written_later_is_delivered_later(start: Start) -> None:
    streams = Streams({"a": [record(1)]})
    poller, batches = start(streams, fine)
    streams.shards["a"].append(record(2))
    assert poller.catch_up(10)
    assert batches == [["1"], ["2"]]


def test_delivery_goes_on_from_the_first_record_that_failed(start: Start) -> None:
    _, batches = start(Streams({"a": [record(number) for number in (1, 2, 3)]}), failing("2", "3"))
    assert batches == [["1", "2", "3"], ["2", "3"], ["3"]]


def test_of_several_failures_the_earliest_counts(start: Start) -> None:
    results = [{"batchItemFailures": [{"itemIdentifier": "3"}, {"itemIdentifier": "2"}]}, None]
    _, batches = start(Streams({"a": [record(number) for number in (1, 2, 3)]}), lambda _: results.pop(0))
    assert batches == [["1", "2", "3"], ["2", "3"]]


@pytest.mark.parametrize("name", ["", None, "99"])
def test_a_failure_that_names_no_record_of_the_batch_fails_all_of_it(start: Start, name: str | None) -> None:
    results = [{"batchItemFailures": [{"itemIdentifier": name}]}, {}]
    _, batches = start(Streams({"a": [record(1), record(2)]}), lambda _: results.pop(0))
    assert batches == [["1", "2"], ["1", "2"]]


def within_two_seconds(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 2
    while not condition():
        assert time.monotonic() < end, "still not so after two seconds"
        time.sleep(0.01)


def test_a_record_that_keeps_failing_is_set_aside_and_tried_again(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    tries = iter(range(TRIES + 2))

    def respond(_: list[str]) -> Any:
        if next(tries) <= TRIES:
            raise RuntimeError("no DynamoDB")

    _, batches = start(Streams({"a": [record(1)]}), respond)
    printed: list[str] = []

    def is_counted() -> bool:
        printed.extend(capsys.readouterr().err.splitlines())
        return len(printed) == 2

    within_two_seconds(is_counted)
    assert batches == [["1"]] * (TRIES + 2)
    key = '{"id": {"S": "session_1"}}'
    assert printed == [
        f"stream of sessions: {key} cannot be counted, will try again: no DynamoDB",
        f"stream of sessions: {key} is counted now",
    ]


def poisoned(numbers: list[str]) -> Any:
    """Raises for every batch that holds record 2."""
    if "2" in numbers:
        raise RuntimeError("poison")


def test_a_poisoned_record_does_not_stop_the_others(start: Start) -> None:
    streams = Streams({"a": [record(number) for number in (1, 2, 3)]})
    poller, batches = start(streams, poisoned)
    streams.shards["a"].append(record(4))
    assert poller.catch_up(10)
    assert [each for batch in batches for each in batch if "2" not in batch] == ["1", "3", "4"]


def test_later_records_of_an_item_wait_behind_its_poisoned_one(start: Start) -> None:
    later = record(2) | {"eventID": "event3"}
    later["dynamodb"] = later["dynamodb"] | {"SequenceNumber": "3"}
    is_mended = threading.Event()

    def respond(numbers: list[str]) -> Any:
        return None if is_mended.is_set() else poisoned(numbers)

    _, batches = start(Streams({"a": [record(2), later, record(4)]}), respond)
    assert [batch for batch in batches if "3" in batch and "2" not in batch and "4" not in batch] == []
    is_mended.set()
    within_two_seconds(lambda: batches[-1] == ["2", "3"])


def test_a_record_that_cannot_be_looked_at_is_delivered_all_the_same(start: Start) -> None:
    def on_record(_: Any) -> None:
        raise KeyError("no key")

    _, batches = start(Streams({"a": [record(1)]}), fine, on_record)
    assert batches == [["1"]]


def test_an_engine_whose_reads_take_longer_than_a_look_is_caught_up_with(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_poller, "LOOK_SECONDS", 0.01)
    streams = Streams({"a": [record(1)]})
    poller, _ = start(streams, fine)
    looks: list[int] = []
    looked_twice = threading.Event()
    read = streams.get_records

    def slow(**arguments: Any) -> Any:
        looked_twice.wait(5)
        return read(**arguments)

    def look() -> None:
        looks.append(poller.records_read)
        if len(looks) == 2:
            looked_twice.set()

    monkeypatch.setattr(streams, "get_records", slow)
    assert poller.catch_up(10, look)
    assert len(looks) >= 2


def test_what_takes_too_long_is_not_waited_for(start: Start) -> None:
    goes_on = threading.Event()

    def respond(numbers: list[str]) -> Any:
        goes_on.wait(10)
        return fine(numbers)

    streams = Streams({"a": []})
    poller, _ = start(streams, respond)
    streams.shards["a"].append(record(1))
    assert not poller.catch_up(0.05)
    goes_on.set()
    assert poller.catch_up(10)


def test_an_expired_iterator_is_followed_by_one_behind_the_last_record(start: Start) -> None:
    streams = Streams({"a": [record(1)]})
    poller, batches = start(streams, fine)
    streams.shards["a"].append(record(2))
    streams.faults.append(fault("ExpiredIteratorException"))
    assert poller.catch_up(10)
    assert batches == [["1"], ["2"]]


def test_an_engine_that_fails_is_asked_again(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    streams = Streams({"a": [record(1)]})
    streams.faults += [fault("InternalServerError"), fault("InternalServerError")]
    _, batches = start(streams, fine)
    assert batches == [["1"]]
    assert capsys.readouterr().err.count("\n") == 1


def test_the_children_of_a_shard_are_read_after_it(start: Start) -> None:
    streams = Streams({"b": [record(3)], "a": [record(1), record(2)]}, parents={"b": "a"})
    _, batches = start(streams, fine)
    assert batches == [["1", "2"], ["3"]]


@pytest.mark.parametrize(
    ("patterns", "passed"),
    [
        ([], True),
        ([{"eventName": ["INSERT", "REMOVE"]}], True),
        ([{"eventName": ["MODIFY"]}], False),
        ([{"eventName": ["MODIFY"]}, {"eventName": ["INSERT"]}], True),
        ([{"eventName": ["INSERT"], "eventID": ["other"]}], False),
        ([{"dynamodb": {"Keys": {"id": {"S": [{"prefix": "session_"}]}}}}], True),
        ([{"dynamodb": {"Keys": {"id": {"S": [{"prefix": "org_"}]}}}}], False),
        ([{"dynamodb": {"OldImage": [{"exists": False}]}}], True),
        ([{"dynamodb": {"OldImage": {"id": {"S": ["session_1"]}}}}], False),
        ([{"eventName": [{"anything-but": ["MODIFY"]}]}], True),
    ],
)
def test_a_filter_is_read_as_lambda_reads_it(patterns: list[dict[str, Any]], passed: bool) -> None:
    assert passes(lambda_record(record(1), ARN), patterns) is passed


def test_a_filter_that_is_not_imitated_is_refused() -> None:
    with pytest.raises(ValueError, match="numeric"):
        passes(lambda_record(record(1), ARN), [{"eventName": [{"numeric": ["=", 1]}]}])
