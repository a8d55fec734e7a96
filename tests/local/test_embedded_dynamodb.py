"""The embedded DynamoDB: the same tables for every client, whole transactions, no crashes, no growth."""

import copy
import json
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
import pytest
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.table import Table

from sessions_local import moto_patch
from tests.local.calls import call, client
from tests.running import Running


@pytest.fixture
def table(running: Running) -> Iterator[str]:
    """A table with a sort key and a stream, of this test alone."""
    name = f"test-{uuid.uuid4()}"
    create(client(running), name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"})
    yield name
    client(running).delete_table(TableName=name)


def create(dynamodb: Any, name: str, **more: Any) -> None:
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in ("scope", "bucket")],
        KeySchema=[{"AttributeName": "scope", "KeyType": "HASH"}, {"AttributeName": "bucket", "KeyType": "RANGE"}],
        BillingMode="PAY_PER_REQUEST",
        **more,
    )


def row(scope: str, bucket: str, **attributes: str) -> dict[str, Any]:
    return {"scope": {"S": scope}, "bucket": {"S": bucket}} | {name: {"N": value} for name, value in attributes.items()}


def addition(table: str, scope: str, bucket: str, change: str) -> dict[str, Any]:
    return {
        "TableName": table,
        "Key": row(scope, bucket),
        "UpdateExpression": "ADD #count :change",
        "ExpressionAttributeNames": {"#count": "count"},
        "ExpressionAttributeValues": {":change": {"N": change}},
    }


def rows(dynamodb: Any, table: str) -> list[Any]:
    return sorted(dynamodb.scan(TableName=table)["Items"], key=str)


def streamed(running: Running, table: str) -> list[str]:
    streams = client(running, "dynamodbstreams")
    (stream,) = streams.list_streams(TableName=table)["Streams"]
    (shard,) = streams.describe_stream(StreamArn=stream["StreamArn"])["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(
        StreamArn=stream["StreamArn"], ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    return [record["eventName"] for record in streams.get_records(ShardIterator=iterator)["Records"]]


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "local"])
def test_every_region_has_the_same_tables(running: Running, region: str) -> None:
    names = client(running, region=region).list_tables()["TableNames"]
    assert {"sessions", "counts", "api_keys"} <= set(names)


def test_a_request_needs_no_signature(running: Running) -> None:
    answer = call(running.dynamodb_url, "POST", b"{}", X_Amz_Target="DynamoDB_20120810.ListTables")
    assert "sessions" in answer.body["TableNames"]


@pytest.mark.parametrize(
    ("body", "target"),
    [
        (b"", ""),
        (b"a=b", "Kinesis_20131202.ListStreams"),
        (b"{}", "DynamoDB_20120810.Nothing"),
        (b"nonsense", "DynamoDB_20120810.PutItem"),
        (b'{"Statement": "SELECT * FROM sessions"}', "DynamoDB_20120810.ExecuteStatement"),
        (b'{"ShardIterator": "x"}', "DynamoDBStreams_20120810.GetRecords"),
    ],
)
def test_nonsense_is_refused_in_json(running: Running, body: bytes, target: str) -> None:
    answer = call(running.dynamodb_url, "POST", body, X_Amz_Target=target)
    assert answer.status in (400, 500, 501)
    assert isinstance(answer.body, dict)
    assert client(running).list_tables()["TableNames"]


def test_a_chunked_request_is_a_request(running: Running) -> None:
    address = urlsplit(running.dynamodb_url)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: DynamoDB_20120810.ListTables\r\nTransfer-Encoding: chunked\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(head + b"Connection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert "sessions" in json.loads(answer.partition(b"\r\n\r\n")[2])["TableNames"]


def test_a_browser_sees_that_it_is_there(running: Running) -> None:
    assert call(running.dynamodb_url).text.startswith("healthy: dynamodb")


def test_a_failed_transaction_leaves_nothing_behind(running: Running, table: str) -> None:
    dynamodb = client(running)
    for item in (row("a", "1", count="5"), row("a", "2", count="6")):
        dynamodb.put_item(TableName=table, Item=item)
    denied = {"TableName": table, "Item": row("b", "1"), "ConditionExpression": "attribute_exists(nowhere)"}
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        dynamodb.transact_write_items(
            TransactItems=[
                {"Update": addition(table, "a", "1", "1")},
                {"Delete": {"TableName": table, "Key": row("a", "2")}},
                {"Put": {"TableName": table, "Item": row("a", "3")}},
                {"Put": denied},
            ]
        )
    reasons: Any = raised.value.response
    assert [each["Code"] for each in reasons["CancellationReasons"]] == ["None"] * 3 + ["ConditionalCheckFailed"]
    assert rows(dynamodb, table) == [row("a", "1", count="5"), row("a", "2", count="6")]
    assert streamed(running, table) == ["INSERT", "INSERT"]


def test_a_transaction_is_in_rows_and_stream(running: Running, table: str) -> None:
    dynamodb = client(running)
    dynamodb.put_item(TableName=table, Item=row("a", "1", count="5"))
    actions = [{"Update": addition(table, "a", "1", "-7")}, {"Put": {"TableName": table, "Item": row("a", "0")}}]
    dynamodb.transact_write_items(TransactItems=actions)
    assert rows(dynamodb, table) == [row("a", "0"), row("a", "1", count="-2")]
    assert streamed(running, table) == ["INSERT", "MODIFY", "INSERT"]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's figures")
def test_memory_stays_flat_while_items_are_replaced(running: Running) -> None:
    def megabytes() -> int:
        return int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[1]) * 4096 // 2**20

    dynamodb, table = client(running), f"test-{uuid.uuid4()}"
    create(dynamodb, table)
    items = [{"PutRequest": {"Item": row("a", str(each)) | {"text": {"S": "x" * 40_000}}}} for each in range(25)]
    grown = []
    for _ in range(3):  # 60 MB each
        before = megabytes()
        for _ in range(60):
            dynamodb.batch_write_item(RequestItems={table: items})
        grown.append(megabytes() - before)
    assert min(grown[1:]) < 20


def test_moto_still_copies_whole_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """If this fails, moto needs `moto_patch` no longer."""
    copied = []
    monkeypatch.setattr(Table, "__deepcopy__", lambda table, _: copied.append(table.name) or table, raising=False)
    with mock_aws():
        dynamodb = boto3.client("dynamodb")
        create(dynamodb, "rows")
        dynamodb.transact_write_items(TransactItems=[{"Update": addition("rows", "a", "1", "1")}])
    assert copied == ["rows"]


def test_a_copy_of_a_table_does_not_follow_its_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Table, "__deepcopy__", moto_patch._copy_rows, raising=False)
    monkeypatch.setattr(DynamoDBBackend, "update_item", moto_patch._replace_item)
    with mock_aws():
        dynamodb = boto3.client("dynamodb")
        create(dynamodb, "rows")
        dynamodb.update_item(**addition("rows", "a", "1", "1"))
        before = copy.deepcopy(dynamodb_backends[ACCOUNT]["eu-west-1"].tables["rows"])
        dynamodb.update_item(**addition("rows", "a", "1", "1"))
        (item,) = before.all_items()
    assert item.to_json()["Attributes"]["count"] == {"N": "1"}
