"""`sessions counts` as commands: what they print, and how they end; the counting itself has tests of its own."""

import json
from typing import Any

import boto3
import pytest

from sessions_cli import audit, redrive
from tests.cli.command import fault, refusing, replace, sessions
from tests.service import ORGANIZATION, Service, item_of, session

MONTH = ("M2026-11", "01")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit looks a second time at once, and a redrive does not wait for messages."""
    monkeypatch.setattr(audit, "PAUSE", 0.0)
    monkeypatch.setattr(redrive, "WAIT_SECONDS", 0)


def drift(service: Service, bucket: str, name: str, count: int) -> None:
    """Makes a bin wrong."""
    service.dynamodb.update_item(
        TableName="counts",
        Key={"scope": {"S": ORGANIZATION}, "bucket": {"S": bucket}},
        UpdateExpression="SET #bin = :count",
        ExpressionAttributeNames={"#bin": name},
        ExpressionAttributeValues={":count": {"N": str(count)}},
    )


def test_a_rebuild_counts_everything_once_and_says_what_it_did(service: Service) -> None:
    service.put(*map(session, range(3)))
    ran = sessions("counts", "rebuild", "--rate", "100000", "--workers", "2")
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout.startswith("3 sessions: 0 were correct, 3 added, 0 moved, 0 removed, in 1 transactions, ")
    assert service.get().body["total"] == 3

    service.delete(session(1)["id"])
    again = sessions("counts", "rebuild")
    assert again.stdout.startswith("2 sessions: 2 were correct, 0 added, 0 moved, 1 removed, in 1 transactions")
    assert service.get().body["total"] == 2


def test_a_rebuild_names_what_it_could_not_count_and_fails(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.put(session(1))
    replace(monkeypatch, service.dynamodb, transact_write_items=refusing("AccessDeniedException"))
    ran = sessions("counts", "rebuild")
    assert ran.exit_code == 1
    assert ran.stderr.splitlines() == [f"{session(1)['id']}: AccessDeniedException: no", "1 could not be counted."]


def test_rows_of_days_are_named_and_removed(service: Service) -> None:
    service.put(session(1))
    service.drain()
    before = service.dynamodb.scan(TableName="counts")["Items"]
    row = {"scope": {"S": ORGANIZATION}, "bucket": {"S": "D2026-11-01"}, "000": {"N": "1"}}
    service.dynamodb.put_item(TableName="counts", Item=row)
    ran = sessions("counts", "audit")
    assert (ran.exit_code, ran.stderr) == (
        1,
        "Rows of an earlier version: 1; `sessions counts rebuild` removes them.\n",
    )
    assert sessions("counts", "rebuild").exit_code == 0
    after = service.dynamodb.scan(TableName="counts")["Items"]
    assert sorted(map(str, after)) == sorted(map(str, before))
    assert sessions("counts", "audit").exit_code == 0


@pytest.mark.parametrize(
    ("bucket", "bins", "reason"),
    [
        ("M2026-11", {"01": {"S": "two"}}, "01 is not a bin"),
        ("M2026-11", {"01": {"N": "0.5"}}, "01 is not a bin"),
        ("M2026-11", {"32": {"N": "1"}}, "32 is not a bin"),
        ("X", {"01": {"N": "1"}}, "01 is not a bin"),
        ("S", {}, "not a row of this table"),
    ],
)
def test_a_foreign_row_is_named_and_kept(service: Service, bucket: str, bins: dict[str, Any], reason: str) -> None:
    row = {"scope": {"S": "org_1"}, "bucket": {"S": bucket}} | bins
    service.dynamodb.put_item(TableName="counts", Item=row)
    assert sessions("counts", "rebuild").exit_code == 0
    ran = sessions("counts", "audit")
    assert (ran.exit_code, ran.stdout.splitlines()[1:]) == (1, [f"row org_1 {bucket}: {reason}"])
    assert service.dynamodb.scan(TableName="counts")["Items"] == [row]


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("organization_agent", "missing from its agent's list: no usable organization_agent"),
        ("organization_id", "missing from its organization's list: no usable organization_id"),
        ("created_at_id", "in no list and not counted: no usable created_at_id"),
    ],
)
def test_an_item_that_is_missing_from_a_list_is_named(service: Service, missing: str, reason: str) -> None:
    service.put_items({name: value for name, value in item_of(session(1)).items() if name != missing})
    service.drain()
    ran = sessions("counts", "audit")
    assert (ran.exit_code, ran.stdout.splitlines()[1:]) == (1, [f"{session(1)['id']}: {reason}"])
    assert ran.stderr.startswith("Items that are missing from a list: 1; correct them and their writer")


@pytest.mark.parametrize("use", [("rebuild",), ("rebuild", "--empty-first", "--yes"), ("audit",)], ids=" ".join)
@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--table", "counts"), "counts is the wrong table: its key is scope, bucket and not id."),
        (("--counts-table", "sessions"), "sessions is the wrong table: its key is id and not scope, bucket."),
    ],
)
def test_a_table_of_another_kind_is_refused(
    service: Service, use: tuple[str, ...], option: tuple[str, str], said: str
) -> None:
    service.put(session(1))
    service.drain()
    assert fault("counts", *use, *option) == said
    assert service.dynamodb.scan(TableName="sessions")["Count"] == 1


@pytest.mark.parametrize(("reply", "exit_code", "rows"), [("n\n", 1, 5), ("", 1, 5), ("y\n", 0, 0)])
def test_nothing_is_emptied_before_somebody_has_said_yes(
    service: Service, reply: str, exit_code: int, rows: int
) -> None:
    service.put(session(1))
    service.drain()
    service.dynamodb.delete_item(TableName="sessions", Key={"id": {"S": session(1)["id"]}})
    ran = sessions("counts", "rebuild", "--empty-first", given=reply)
    assert ran.exit_code == exit_code
    assert "The stream must be disabled. Delete every row of counts? [y/N]: " in ran.stderr
    assert service.dynamodb.scan(TableName="counts")["Count"] == rows


def test_somebody_who_counts_while_it_is_emptied_is_noticed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_meanwhile(real: Any, **arguments: Any) -> Any:
        response = real(**arguments)
        drift(service, *MONTH, 1)
        return response

    service.put(session(1))
    service.drain()
    replace(monkeypatch, service.dynamodb, batch_write_item=write_meanwhile)
    ran = sessions("counts", "rebuild", "--empty-first", "--yes")
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr == (
        "Error: The counts table was written to while it was being emptied. Disable the event source mapping, wait a "
        "minute for its last batch, and run this again.\n"
    )


@pytest.mark.parametrize("option", [("--rate", "0"), ("--rate", "fast"), ("--workers", "0"), ("--workers", "33")])
def test_a_rebuild_at_no_rate_or_by_nobody_is_refused(option: tuple[str, str]) -> None:
    ran = sessions("counts", "rebuild", *option)
    assert ran.exit_code == 2
    assert f"Invalid value for '{option[0]}'" in ran.stderr


def test_an_audit_without_a_difference_says_so(service: Service) -> None:
    service.put(*map(session, range(3)))
    service.drain()
    ran = sessions("counts", "audit")
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout == "3 sessions, 3 markers, 4 bins compared\nno difference\n"


def test_an_audit_names_every_wrong_bin_and_fails(service: Service) -> None:
    service.put(session(1))
    service.drain()
    drift(service, *MONTH, 5)
    drift(service, "T2026-11-01T00:0", "0:00", 0)
    ran = sessions("counts", "audit")
    assert ran.exit_code == 1
    assert ran.stderr == "`sessions counts rebuild --empty-first` corrects bins (docs/operations.md).\n"
    assert ran.stdout.splitlines() == [
        "1 sessions, 1 markers, 4 bins compared",
        f"bin {ORGANIZATION} M2026-11 01: 4 too many",
        f"bin {ORGANIZATION} T2026-11-01T00:0 0:00: 1 too few",
    ]
    assert sessions("counts", "rebuild", "--empty-first", "--yes").exit_code == 0
    assert sessions("counts", "audit").exit_code == 0


def test_an_audit_right_after_a_load_tells_of_lag(service: Service) -> None:
    service.put(*map(session, range(3)))
    ran = sessions("counts", "audit")
    assert ran.exit_code == 3
    assert ran.stdout == "3 sessions, 0 markers, 0 bins compared\n"
    assert ran.stderr == "Not counted yet: 3; --wait waits for the stream.\n"


def test_an_audit_that_waits_names_what_stays_uncounted(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(audit, "PATIENCE", 0.05)
    service.put(session(1))
    ran = sessions("counts", "audit", "--wait")
    assert (ran.exit_code, ran.stdout.splitlines()[1]) == (1, f"{session(1)['id']}: not counted")
    assert "`sessions counts rebuild` counts them." in ran.stderr


def test_an_audit_shows_the_first_differences_or_all(service: Service) -> None:
    for number in range(60):
        row = {"scope": {"S": f"org_{number:02}"}, "bucket": {"S": "M2026-11"}, "01": {"N": "1"}}
        service.dynamodb.put_item(TableName="counts", Item=row)
    some = sessions("counts", "audit").stdout.splitlines()
    assert (len(some), some[-1]) == (52, "... and 10 more (--all shows them)")
    every = sessions("counts", "audit", "--all").stdout.splitlines()
    assert (len(every), every[-1]) == (61, "bin org_59 M2026-11 01: 1 too many")


@pytest.fixture
def queue(service: Service) -> str:
    """The failure queue."""
    return str(boto3.client("sqs").create_queue(QueueName="failures")["QueueUrl"])


def pointer(session_id: str) -> str:
    """Return the message of the event source mapping for the last records of the stream, from a session's on."""
    streams: Any = boto3.client("dynamodbstreams")
    arn = boto3.client("dynamodb").describe_table(TableName="sessions")["Table"]["LatestStreamArn"]
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
    records = streams.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    ids = [record["dynamodb"]["Keys"]["id"]["S"] for record in records]
    batch = {
        "streamArn": arn,
        "shardId": shard["ShardId"],
        "startSequenceNumber": records[ids.index(session_id)]["dynamodb"]["SequenceNumber"],
        "endSequenceNumber": records[-1]["dynamodb"]["SequenceNumber"],
    }
    return json.dumps({"DDBStreamBatchInfo": batch})


def waiting(queue: str) -> int:
    """Messages in the queue, those that are being worked on included."""
    names: list[Any] = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = boto3.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return sum(map(int, attributes.values()))


def test_a_redrive_follows_a_message_into_the_stream(
    service: Service, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCOUNT_ID_ENDPOINT_MODE", "disabled")  # moto does not know these addresses of streams
    service.put(*map(session, range(3)))
    boto3.client("sqs").send_message(QueueUrl=queue, MessageBody=pointer(session(1)["id"]))
    ran = sessions("counts", "redrive", "--queue-url", queue)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout == "1 messages done, 2 sessions recounted\n"
    assert waiting(queue) == 0
    rows = service.dynamodb.scan(TableName="counts")["Items"]
    markers = {row["scope"]["S"] for row in rows if row["bucket"]["S"] == "S"}
    assert markers == {f"session#{session(number)['id']}" for number in (1, 2)}


def test_a_message_that_cannot_be_followed_stays_in_the_queue(queue: str) -> None:
    message = boto3.client("sqs").send_message(QueueUrl=queue, MessageBody="hello")["MessageId"]
    ran = sessions("counts", "redrive", "--queue-url", queue)
    assert (ran.exit_code, ran.stdout) == (1, "0 messages done, 0 sessions recounted\n")
    assert ran.stderr.splitlines() == [
        f"{message}: This is not a message of the stream's event source mapping.",
        "1 stay in the queue.",
    ]
    assert waiting(queue) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "Which queue? Use --stack NAME or --queue-url URL."),
        (("--endpoint-url", "http://127.0.0.1:1"), "Only a stack has a failure queue; use --stack or --queue-url."),
        (
            ("--endpoint-url", "http://127.0.0.1:1", "--queue-url", "https://sqs.eu-west-1.amazonaws.com/1/q"),
            "The failure queue is in AWS, and DynamoDB at http://127.0.0.1:1. Set no endpoint for AWS, or "
            "AWS_ENDPOINT_URL for an emulator of all services.",
        ),
        (
            ("--endpoint-url", "http://127.0.0.1:1", "--stack", "production"),
            "The stack production is in AWS, and DynamoDB at http://127.0.0.1:1. Set no endpoint for AWS, or "
            "AWS_ENDPOINT_URL for an emulator of all services.",
        ),
    ],
)
def test_a_redrive_without_a_queue_beside_its_table_is_refused(
    service: Service, options: tuple[str, ...], said: str
) -> None:
    assert fault("counts", "redrive", *options) == said


def test_a_queue_that_is_not_there_is_one_line(service: Service) -> None:
    said = fault("counts", "redrive", "--queue-url", "https://sqs.eu-west-1.amazonaws.com/123456789012/nothing")
    assert said.startswith("ReceiveMessage: AWS.SimpleQueueService.NonExistentQueue: ")
