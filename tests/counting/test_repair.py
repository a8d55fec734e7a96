"""Rebuild, audit and redrive: what was not counted, or counted wrong, ends right."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError

from sessions_cli.audit import AuditReport, audit
from sessions_cli.dynamodb import RateLimiter
from sessions_cli.items import item_of
from sessions_cli.reconcile import ReconcileReport, StillCounting, rebuild
from sessions_cli.redrive import RedriveReport, redrive
from sessions_cli.tables import Bin, Tables
from tests.conftest import Lines
from tests.counting.rows import expected, markers, numbers, rows
from tests.service import AGENT, ORGANIZATION, OTHER_AGENT, OTHER_ORGANIZATION, Service, session


def at_once(_: float) -> None:
    """Sleeps no time."""


def tables(service: Service, client: Any = None, sleep: Callable[[float], None] = at_once) -> Tables:
    return Tables(client or service.dynamodb, "sessions", "counts", sleep)


def repair(service: Service, **options: Any) -> ReconcileReport:
    # One worker, because moto has no locks.
    return rebuild(tables(service), **({"rate": 1e9, "workers": 1} | options))


def differences(service: Service, sleep: Callable[[float], None] = at_once, **options: Any) -> AuditReport:
    return audit(tables(service, sleep=sleep), **options)


def put_unseen(service: Service, *entries: dict[str, Any]) -> None:
    """Writes sessions that the stream loses."""
    for entry in entries:
        service.dynamodb.put_item(TableName="sessions", Item=item_of(entry))


def delete_unseen(service: Service, *entries: dict[str, Any]) -> None:
    for entry in entries:
        service.dynamodb.delete_item(TableName="sessions", Key={"id": {"S": entry["id"]}})


def drift(service: Service, bucket: str, name: str, change: int) -> None:
    """Somebody writes to a bin by hand."""
    service.dynamodb.update_item(
        TableName="counts",
        Key={"scope": {"S": ORGANIZATION}, "bucket": {"S": bucket}},
        UpdateExpression="ADD #bin :change",
        ExpressionAttributeNames={"#bin": name},
        ExpressionAttributeValues={":change": {"N": str(change)}},
    )


def refuse_to_count(service: Service, session_id: str) -> None:
    """DynamoDB refuses every transaction that has to do with a session."""
    error = {"Code": "TransactionCanceledException", "Message": ""}
    cancelled = {
        "Error": error,
        "ResponseMetadata": {"HTTPStatusCode": 400},
        "CancellationReasons": [{"Code": "ValidationError"}],
    }

    def refuse(params: dict[str, Any], **_: Any) -> Any:
        return (SimpleNamespace(status_code=400), cancelled) if session_id in params["body"].decode() else None

    service.dynamodb.meta.events.register("before-call.dynamodb.TransactWriteItems", refuse)


def once_before(service: Service, operation: str, work: Callable[[], None], call: int = 1) -> None:
    """Does something just before the so manyth call of an operation."""
    calls = iter(range(1, call + 1))

    def hook(**_: Any) -> None:
        if next(calls, None) == call:
            work()

    service.dynamodb.meta.events.register(f"before-call.dynamodb.{operation}", hook)


# ------------------------------------------------------------------------------------- rebuild


def test_a_backfill_counts_a_table_that_was_never_counted(service: Service) -> None:
    entries = [
        session(
            number,
            organization_id=organization,
            agent_id=agent,
            created_at=f"2026-{1 + number % 9:02d}-01T00:00:00.000000Z",
        )
        for number, (organization, agent) in enumerate([(ORGANIZATION, AGENT), (OTHER_ORGANIZATION, OTHER_AGENT)] * 70)
    ]
    put_unseen(service, *entries)
    report = repair(service)
    assert numbers(service) == expected(entries)
    assert markers(service) == {entry["id"] for entry in entries}
    assert (report.sessions, report.added, report.moved, report.removed, report.unchanged) == (140, 140, 0, 0, 0)
    assert differences(service).is_clean


def test_a_rebuild_merges_counters_so_that_it_takes_few_transactions(service: Service) -> None:
    put_unseen(service, *(session(number) for number in range(90)))
    assert repair(service).transactions == 1


def test_a_second_rebuild_changes_nothing(service: Service) -> None:
    put_unseen(service, session(1), session(2))
    repair(service)
    before = rows(service)
    assert repair(service) == ReconcileReport(sessions=2, unchanged=2)
    assert rows(service) == before


def test_missing_stale_and_orphaned_markers_are_found_and_mended(service: Service) -> None:
    kept, stale, orphaned = session(1), session(2), session(3)
    service.put(kept, stale, orphaned)
    service.drain()
    moved, missing = session(2, agent_id=OTHER_AGENT), session(4)
    delete_unseen(service, stale, orphaned)
    put_unseen(service, moved, missing)

    assert differences(service).uncounted == {
        missing["id"]: "not counted",
        stale["id"]: "counted under other keys",
        orphaned["id"]: "counted, and not in the table",
    }

    report = repair(service)
    assert (report.added, report.moved, report.removed, report.unchanged) == (1, 1, 1, 1)
    assert numbers(service) == expected([kept, moved, missing])
    assert differences(service).is_clean


def test_sessions_without_the_keys_of_an_index_are_no_difference(service: Service) -> None:
    whole = item_of(session(1))
    service.put_items({"id": {"S": "session_0"}, "title": {"S": "a fragment"}})
    service.put_items({name: value for name, value in whole.items() if name != "organization_agent"})
    repair(service)
    assert {scope for scope, _, _ in numbers(service)} == {ORGANIZATION}
    assert differences(service).is_clean


@pytest.mark.parametrize("is_delivered", [True, False], ids=["delivered at once", "delivered later"])
@pytest.mark.parametrize(
    ("operation", "call"),
    [("BatchGetItem", 1), ("TransactWriteItems", 1), ("BatchGetItem", 2)],
    ids=["before it reads markers", "before it writes", "before it looks again"],
)
@pytest.mark.parametrize("becomes", ["deleted", "created again", "created again elsewhere"])
def test_a_session_that_changes_while_it_is_rebuilt_ends_right(
    service: Service, becomes: str, operation: str, call: int, is_delivered: bool
) -> None:
    first, other = session(1), session(2)
    last = {
        "deleted": [],
        "created again": [session(1)],
        "created again elsewhere": [session(1, organization_id=OTHER_ORGANIZATION, agent_id=OTHER_AGENT)],
    }[becomes]
    put_unseen(service, first, other)

    def change() -> None:
        service.delete(first["id"])
        service.put(*last)
        if is_delivered:
            service.drain()

    once_before(service, operation, change, call)
    repair(service)
    service.drain()
    assert numbers(service) == expected([other, *last])
    assert differences(service).is_clean


def test_a_session_that_was_deleted_ends_right_though_the_answer_to_its_counting_was_lost(service: Service) -> None:
    put_unseen(service, session(1), session(2))

    class Losing:
        """Deletes a session just before it is counted, and loses the answer; the second try finds it counted."""

        has_lost = False

        def __getattr__(self, name: str) -> Any:
            return getattr(service.dynamodb, name)

        def transact_write_items(self, **parameters: Any) -> Any:
            if self.has_lost:
                return service.dynamodb.transact_write_items(**parameters)
            self.has_lost = True
            service.delete(session(1)["id"])
            service.drain()
            service.dynamodb.transact_write_items(**parameters)
            raise ReadTimeoutError(endpoint_url="")

    rebuild(tables(service, Losing()), rate=1e9, workers=1)
    assert numbers(service) == expected([session(2)])


def test_an_orphan_that_is_created_again_before_it_is_removed_stays(service: Service) -> None:
    service.put(session(1))
    service.drain()
    delete_unseen(service, session(1))
    once_before(service, "TransactWriteItems", lambda: put_unseen(service, session(1)))
    repair(service)
    assert numbers(service) == expected([session(1)])


def test_a_session_that_cannot_be_counted_is_reported_and_all_others_are_counted(service: Service) -> None:
    put_unseen(service, *(session(number) for number in range(4)))

    refuse_to_count(service, session(2)["id"])
    report = repair(service)
    assert report.failed == {session(2)["id"]: "TransactionCanceledException: ValidationError"}
    assert numbers(service) == expected(session(number) for number in (0, 1, 3))


def test_counters_that_drifted_are_mended_by_emptying_first_alone(service: Service) -> None:
    service.put(session(1), session(2))
    service.drain()
    drift(service, "M2026-11", "01", 5)
    wrong = {Bin(ORGANIZATION, "M2026-11", "01"): 5}
    assert differences(service).wrong_bins == wrong

    repair(service)
    assert differences(service).wrong_bins == wrong

    report = repair(service, empty_first=True)
    assert report.added == 2
    assert differences(service).is_clean
    assert numbers(service) == expected([session(1), session(2)])


def test_what_the_engine_leaves_undone_while_emptying_is_done_again(service: Service) -> None:
    service.put(session(1))
    service.drain()
    answers = iter(range(2))

    def leave(params: dict[str, Any], **_: Any) -> Any:
        if next(answers, None) is None:
            return None
        undone = json.loads(params["body"])["RequestItems"]
        return SimpleNamespace(status_code=200), {"UnprocessedItems": undone}

    service.dynamodb.meta.events.register("before-call.dynamodb.BatchWriteItem", leave)
    repair(service, empty_first=True)
    assert numbers(service) == expected([session(1)])


def test_emptying_stops_when_somebody_counts_meanwhile(service: Service) -> None:
    service.put(session(1))
    service.drain()

    def count_meanwhile(what: str, _done: int, _of: int | None) -> None:
        if what == "emptying the counts":
            service.put(session(2))
            service.drain()

    with pytest.raises(StillCounting, match="Turn the event source mapping off"):
        repair(service, empty_first=True, progress=count_meanwhile)


@pytest.mark.parametrize(
    ("bucket", "attributes"),
    [
        ("M2026-11", {"count": {"N": "2"}}),
        ("H2026-11-01T00", {"count": {"N": "2"}}),
        ("N2026-11-01T00:00", {"count": {"N": "2"}}),
    ],
)
def test_rows_of_an_earlier_version_are_removed_by_emptying_first(
    service: Service, bucket: str, attributes: dict[str, Any]
) -> None:
    earlier = {"scope": {"S": ORGANIZATION}, "bucket": {"S": bucket}, **attributes}
    service.dynamodb.put_item(TableName="counts", Item=earlier)
    put_unseen(service, session(1))
    repair(service)
    report = differences(service)
    assert (report.earlier_rows, report.is_wrong, report.wrong_bins, report.unknown) == (1, True, {}, [])
    assert list(report.verdicts()) == [
        "Rows of an earlier version: 1; `sessions counts rebuild --empty-first` removes them (docs/operations.md)."
    ]
    repair(service, empty_first=True)
    assert differences(service).is_clean


def test_an_organization_is_counted_in_the_order_of_time(service: Service) -> None:
    later, earlier = session(1, created_at="2026-11-02T00:00:00Z"), session(2, created_at="2026-11-01T00:00:00Z")
    put_unseen(service, later, earlier)
    put = []

    def note(params: dict[str, Any], **_: Any) -> None:
        actions = json.loads(params["body"])["TransactItems"]
        put.extend(each["Put"]["Item"]["scope"]["S"] for each in actions if "Put" in each)

    service.dynamodb.meta.events.register("before-call.dynamodb.TransactWriteItems", note)
    repair(service)
    assert put == [f"session#{earlier['id']}", f"session#{later['id']}"]


def test_work_begins_at_the_rate_that_was_asked_for() -> None:
    slept: list[float] = []
    limiter = RateLimiter(rate=100, sleep=slept.append)
    for amount in (50, 100, 1):
        limiter.wait(amount)
    assert slept == pytest.approx([0, 0.5, 1.5], abs=0.2)


# ------------------------------------------------------------------------------------- audit


def test_an_audit_changes_nothing(service: Service) -> None:
    put_unseen(service, session(1))
    service.put(session(2))
    service.drain()
    drift(service, "M2026-11", "01", 1)
    before = rows(service)
    report = differences(service)
    assert (report.sessions, report.markers, report.bins) == (2, 1, 6)
    assert rows(service) == before


def test_what_the_stream_counts_between_two_looks_is_no_difference(service: Service) -> None:
    service.put(session(1))
    assert differences(service, sleep=lambda _: service.drain()).is_clean


def test_what_is_not_counted_yet_is_not_wrong_and_needs_no_rebuild(service: Service) -> None:
    service.put(*map(session, range(3)))
    report = differences(service)
    assert (len(report.uncounted), report.is_wrong, report.is_clean, report.differences()) == (3, False, False, [])
    assert list(report.verdicts()) == ["Not counted yet: 3; --wait waits for the stream."]


def test_an_audit_that_waits_ends_when_the_stream_is_through(service: Service) -> None:
    service.put(*map(session, range(3)))
    pauses = iter(range(5))

    def deliver_late(_: float) -> None:
        if next(pauses) == 3:
            service.drain()

    assert differences(service, sleep=deliver_late, wait=True).is_clean
    assert next(pauses) == 4


def test_what_is_not_counted_while_the_stream_delivers_nothing_is_wrong(service: Service) -> None:
    put_unseen(service, session(1))
    slept: list[float] = []
    report = differences(service, sleep=slept.append, wait=True)
    assert (report.is_stalled, report.is_wrong) == (True, True)
    assert report.differences() == [f"{session(1)['id']}: not counted"]
    assert [verdict for verdict in report.verdicts() if "`sessions counts rebuild` counts them." in verdict]
    assert sum(slept) == 65


def test_a_bin_that_is_being_counted_is_not_called_wrong(service: Service) -> None:
    service.put(session(1))
    service.drain()
    drift(service, "M2026-11", "01", 1)
    report = differences(service, sleep=lambda _: drift(service, "M2026-11", "01", 1))
    assert (report.wrong_bins, report.changing_bins) == ({}, {Bin(ORGANIZATION, "M2026-11", "01")})
    assert (report.is_wrong, report.is_clean) == (False, False)


def test_a_bin_that_is_off_by_the_same_number_and_still_counted_is_not_called_wrong(service: Service) -> None:
    service.put(session(1))
    service.drain()
    drift(service, "M2026-11", "01", 1)
    pauses = iter(range(9))
    report = differences(service, sleep=lambda _: drift(service, "M2026-11", "01", next(pauses)))
    assert (report.wrong_bins, report.changing_bins) == ({}, {Bin(ORGANIZATION, "M2026-11", "01")})


def test_the_markers_that_were_written_meanwhile_are_among_those_compared(service: Service) -> None:
    service.put(*map(session, range(3)))
    assert differences(service, sleep=lambda _: service.drain()).markers == 3


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"bucket": "M2026-11", "01": {"S": "two"}}, f"row {ORGANIZATION} M2026-11: 01 is not a bin"),
        (
            {"bucket": "M2026-11", "count": {"N": "0"}, "32": {"N": "1"}},
            f"row {ORGANIZATION} M2026-11: 32 is not a bin",
        ),
        ({"bucket": "X", "01": {"N": "1"}}, f"row {ORGANIZATION} X: 01 is not a bin"),
        ({"bucket": "S"}, f"row {ORGANIZATION} S: not a row of this table"),
    ],
)
def test_what_does_not_belong_into_the_counts_is_named(service: Service, row: dict[str, Any], said: str) -> None:
    item = {"scope": {"S": ORGANIZATION}, **row, "bucket": {"S": row["bucket"]}}
    service.dynamodb.put_item(TableName="counts", Item=item)
    report = differences(service)
    assert (report.is_wrong, report.differences()) == (True, [said])


# ------------------------------------------------------------------------------------- negative bins


def test_a_negative_bin_counts_as_none_and_is_reported(service: Service, lines: Lines) -> None:
    older = session(1, created_at="2026-10-01T00:00:00.000000Z")
    service.put(older, *(session(number) for number in range(2, 5)))
    service.drain()
    drift(service, "M2026-10", "01", -3)
    lines()
    response = service.get("limit=2")
    assert response.body["total"] == 3
    assert [line["negative_buckets"] for line in lines() if line.get("negative_buckets")] == [["M2026-10"]]
    assert differences(service).differences() == [f"bin {ORGANIZATION} M2026-10 01: 3 too few"]


# ------------------------------------------------------------------------------------- redrive


class Queue:
    """The failure queue and the stream that its messages point into."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.sqs = boto3.client("sqs")
        # By itself botocore calls an address made from the stream's ARN, which moto does not know.
        self.streams = boto3.client("dynamodbstreams", endpoint_url="https://streams.dynamodb.eu-west-1.amazonaws.com")
        self.url = self.sqs.create_queue(QueueName="failures")["QueueUrl"]
        self.arn = self.streams.list_streams(TableName="sessions")["Streams"][0]["StreamArn"]
        (shard,) = self.streams.describe_stream(StreamArn=self.arn)["StreamDescription"]["Shards"]
        self.shard_id = shard["ShardId"]

    @property
    def sequence_numbers(self) -> list[str]:
        iterator = self.streams.get_shard_iterator(
            StreamArn=self.arn, ShardId=self.shard_id, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records = self.streams.get_records(ShardIterator=iterator)["Records"]
        return [record["dynamodb"]["SequenceNumber"] for record in records]

    def send(self, first: str, last: str) -> None:
        """Lambda gives up on a batch."""
        info = {
            "shardId": self.shard_id,
            "startSequenceNumber": first,
            "endSequenceNumber": last,
            "batchSize": 1,
            "streamArn": self.arn,
        }
        self.sqs.send_message(QueueUrl=self.url, MessageBody=json.dumps({"DDBStreamBatchInfo": info}))

    @property
    def length(self) -> int:
        names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(map(int, attributes.values()))

    def redrive(self) -> RedriveReport:
        return redrive(tables(self.service), self.streams, self.sqs, self.url, wait=0)


@pytest.fixture
def queue(service: Service) -> Queue:
    return Queue(service)


def test_a_redrive_counts_the_sessions_of_a_batch_and_no_others(service: Service, queue: Queue) -> None:
    put_unseen(service, *(session(number) for number in range(4)))
    sent = queue.sequence_numbers
    queue.send(sent[1], sent[2])
    report = queue.redrive()
    assert (report.done, report.sessions, report.kept) == (1, 2, {})
    assert numbers(service) == expected([session(1), session(2)])
    assert queue.length == 0


def test_a_redrive_looks_at_a_session_as_it_is_now(service: Service, queue: Queue) -> None:
    gone, moved = session(1), session(2, agent_id=OTHER_AGENT)
    put_unseen(service, gone, session(2))
    sent = queue.sequence_numbers
    service.delete(gone["id"])
    service.delete(session(2)["id"])
    service.put(moved)
    service.drain()
    queue.send(sent[0], sent[1])
    assert queue.redrive().kept == {}
    assert numbers(service) == expected([moved])


@pytest.mark.parametrize("code", ["TrimmedDataAccessException", "ResourceNotFoundException"])
def test_a_message_whose_records_the_stream_has_forgotten_is_kept(service: Service, queue: Queue, code: str) -> None:
    put_unseen(service, session(1))
    queue.send(*queue.sequence_numbers * 2)
    answer = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    events = queue.streams.meta.events
    events.register(
        "before-call.dynamodb-streams.GetShardIterator", lambda **_: (SimpleNamespace(status_code=400), answer)
    )
    report = queue.redrive()
    assert list(report.kept.values()) == [
        "Its records are no longer in the stream; `sessions counts rebuild` counts their sessions."
    ]
    assert (report.done, queue.length, numbers(service)) == (0, 1, {})


def test_a_message_of_another_kind_is_kept(queue: Queue) -> None:
    for body in ("{}", "no json", '{"DDBStreamBatchInfo": {"shardId": "x"}}'):
        queue.sqs.send_message(QueueUrl=queue.url, MessageBody=body)
    report = queue.redrive()
    assert set(report.kept.values()) == {"This is not a message of the stream's event source mapping."}
    assert queue.length == 3


def test_a_message_whose_session_cannot_be_counted_is_kept(service: Service, queue: Queue) -> None:
    put_unseen(service, session(1))
    queue.send(*queue.sequence_numbers * 2)
    refuse_to_count(service, session(1)["id"])
    report = queue.redrive()
    assert list(report.kept.values()) == [f"{session(1)['id']}: TransactionCanceledException: ValidationError"]
    assert queue.length == 1


def test_a_message_is_kept_while_the_stream_is_throttled(service: Service, queue: Queue) -> None:
    put_unseen(service, session(1))
    queue.send(*queue.sequence_numbers * 2)
    answer = {
        "Error": {"Code": "ProvisionedThroughputExceededException", "Message": "slow down"},
        "ResponseMetadata": {"HTTPStatusCode": 400},
    }
    queue.streams.meta.events.register(
        "before-call.dynamodb-streams.GetRecords", lambda **_: (SimpleNamespace(status_code=400), answer)
    )
    report = queue.redrive()
    (reason,) = report.kept.values()
    assert reason.startswith("DynamoDB is busy or cannot be reached")
    assert (report.done, queue.length) == (0, 1)


def test_a_redrive_ends_when_it_meets_a_message_that_it_has_kept(
    service: Service, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions_cli.redrive.HIDDEN", 0)  # it comes back at once
    queue.sqs.send_message(QueueUrl=queue.url, MessageBody="no json")
    report = queue.redrive()
    assert len(report.kept) == 1


def test_emptying_goes_on_when_all_of_a_batch_was_throttled(service: Service) -> None:
    service.put(*(session(number) for number in range(3)))
    service.drain()
    codes = iter(["ProvisionedThroughputExceededException", "InternalServerError"])

    def refuse(**_: Any) -> Any:
        code = next(codes, None)
        if code is None:
            return None
        return SimpleNamespace(status_code=400), {
            "Error": {"Code": code, "Message": ""},
            "ResponseMetadata": {"HTTPStatusCode": 400 if code.startswith("P") else 500},
        }

    service.dynamodb.meta.events.register("before-call.dynamodb.BatchWriteItem", refuse)
    repair(service, empty_first=True)
    assert numbers(service) == expected([session(number) for number in range(3)])
