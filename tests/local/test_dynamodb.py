"""The embedded DynamoDB: one set of tables for every client, transactions that leave nothing behind, no crashes."""

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import botocore.exceptions
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.local.test_http import client
from tests.running import Running


@pytest.fixture
def table(running: Running) -> Iterator[str]:
    """A table with a sort key and a stream, of this test alone."""
    name = f"test-{uuid.uuid4()}"
    dynamodb = client(running)
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in ("scope", "bucket")],
        KeySchema=[{"AttributeName": "scope", "KeyType": "HASH"}, {"AttributeName": "bucket", "KeyType": "RANGE"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    yield name
    dynamodb.delete_table(TableName=name)


@pytest.fixture
def counters(running: Running) -> Iterator[str]:
    """A table like the counts table, without a stream."""
    name = f"test-{uuid.uuid4()}"
    dynamodb = client(running)
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "scope", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "scope", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield name
    dynamodb.delete_table(TableName=name)


def row(scope: str, bucket: str, **attributes: str) -> dict[str, Any]:
    return {"scope": {"S": scope}, "bucket": {"S": bucket}} | {name: {"N": value} for name, value in attributes.items()}


def rows(running: Running, table: str, scope: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client(running).query(
        TableName=table,
        KeyConditionExpression="#s = :s",
        ExpressionAttributeNames={"#s": "scope"},
        ExpressionAttributeValues={":s": {"S": scope}},
    )["Items"]
    return found


def addition(table: str, scope: str, change: str) -> dict[str, Any]:
    return {
        "TableName": table,
        "Key": {"scope": {"S": scope}},
        "UpdateExpression": "ADD #count :change",
        "ExpressionAttributeNames": {"#count": "count"},
        "ExpressionAttributeValues": {":change": {"N": change}},
    }


def streamed(running: Running, table: str) -> list[str]:
    """What happened to the table, by its stream."""
    streams = client(running, "dynamodbstreams")
    (stream,) = streams.list_streams(TableName=table)["Streams"]
    (shard,) = streams.describe_stream(StreamArn=stream["StreamArn"])["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(
        StreamArn=stream["StreamArn"], ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    return [record["eventName"] for record in streams.get_records(ShardIterator=iterator)["Records"]]


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "sa-east-1", "local"])
def test_every_region_has_the_same_tables(running: Running, region: str) -> None:
    names = client(running, region=region).list_tables()["TableNames"]
    assert {"sessions", "counts", "api_keys"} <= set(names)


def post(running: Running, body: bytes, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(
        running.dynamodb_url, body, {name.replace("_", "-"): each for name, each in headers.items()}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_a_request_needs_no_signature(running: Running) -> None:
    status, body = post(running, b"{}", X_Amz_Target="DynamoDB_20120810.ListTables")
    assert status == 200
    assert "sessions" in body["TableNames"]


@pytest.mark.parametrize(
    ("body", "headers", "statuses"),
    [
        (b"", {}, {400}),
        (b"a=b", {"X_Amz_Target": "Kinesis_20131202.ListStreams"}, {400}),
        (b"{}", {"X_Amz_Target": "DynamoDB_20120810.Nothing"}, {400, 500, 501}),
        (b"nonsense", {"X_Amz_Target": "DynamoDB_20120810.PutItem"}, {400, 500}),
        (b"{}", {"X_Amz_Target": "DynamoDB_20120810.PutItem", "Authorization": "nonsense"}, {400, 500}),
        (b'{"ShardIterator": "x"}', {"X_Amz_Target": "DynamoDBStreams_20120810.GetRecords"}, {400, 500}),
    ],
)
def test_nonsense_is_refused_in_json_and_the_engine_lives_on(
    running: Running,
    body: bytes,
    headers: dict[str, str],
    statuses: set[int],
) -> None:
    status, response = post(running, body, **headers)
    assert status in statuses
    assert isinstance(response, dict)
    assert client(running).list_tables()["TableNames"]


def test_a_look_with_a_browser_says_that_it_is_there(running: Running) -> None:
    with urllib.request.urlopen(running.dynamodb_url, timeout=30) as response:
        assert response.read().startswith(b"healthy: dynamodb")


def test_a_transaction_that_fails_leaves_rows_and_stream_as_they_were(running: Running, table: str) -> None:
    dynamodb = client(running)
    dynamodb.put_item(TableName=table, Item=row("a", "1", count="5"))
    dynamodb.put_item(TableName=table, Item=row("a", "2", count="6"))
    key = {"scope": {"S": "a"}, "bucket": {"S": "1"}}
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        dynamodb.transact_write_items(
            TransactItems=[
                {"Update": addition(table, "a", "1") | {"Key": key}},
                {"Delete": {"TableName": table, "Key": {"scope": {"S": "a"}, "bucket": {"S": "2"}}}},
                {"Put": {"TableName": table, "Item": row("a", "3")}},
                {
                    "Put": {
                        "TableName": table,
                        "Item": row("b", "1"),
                        "ConditionExpression": "attribute_exists(nowhere)",
                    }
                },
            ]
        )
    assert [each["Code"] for each in raised.value.response["CancellationReasons"]] == [  # type: ignore[typeddict-item]
        "None",
        "None",
        "None",
        "ConditionalCheckFailed",
    ]
    assert rows(running, table, "a") == [row("a", "1", count="5"), row("a", "2", count="6")]
    assert rows(running, table, "b") == []
    assert streamed(running, table) == ["INSERT", "INSERT"]


def test_a_transaction_that_works_is_in_rows_and_stream(running: Running, table: str) -> None:
    dynamodb = client(running)
    dynamodb.put_item(TableName=table, Item=row("a", "1", count="5"))
    dynamodb.transact_write_items(
        TransactItems=[
            {"Update": addition(table, "a", "-7") | {"Key": {"scope": {"S": "a"}, "bucket": {"S": "1"}}}},
            {"Put": {"TableName": table, "Item": row("a", "0")}},
        ]
    )
    assert rows(running, table, "a") == [row("a", "0"), row("a", "1", count="-2")]
    assert streamed(running, table) == ["INSERT", "MODIFY", "INSERT"]


def test_counters_add_up_and_begin_at_nothing(running: Running, counters: str) -> None:
    dynamodb = client(running)
    for change in ("3", "-5", "0", "40"):
        dynamodb.update_item(**addition(counters, "a", change))
    response = dynamodb.update_item(**addition(counters, "a", "1"), ReturnValues="ALL_NEW")
    assert response["Attributes"] == {"scope": {"S": "a"}, "count": {"N": "39"}}


def test_only_a_number_can_be_added_to_a_number(running: Running, counters: str) -> None:
    dynamodb = client(running)
    dynamodb.put_item(TableName=counters, Item={"scope": {"S": "a"}, "count": {"S": "text"}})
    for update in (
        addition(counters, "a", "1"),
        addition(counters, "b", "1") | {"ExpressionAttributeValues": {":change": {"S": "1"}}},
    ):
        with pytest.raises(botocore.exceptions.ClientError, match="ValidationException"):
            dynamodb.update_item(**update)
    item = dynamodb.get_item(TableName=counters, Key={"scope": {"S": "a"}})["Item"]
    assert item == {"scope": {"S": "a"}, "count": {"S": "text"}}


def test_a_condition_on_a_counter_holds(running: Running, counters: str) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match="ConditionalCheckFailedException"):
        client(running).update_item(**addition(counters, "a", "1"), ConditionExpression="attribute_exists(#count)")


ROWS = [
    {"scope": {"S": scope}, "bucket": {"S": f"{number:02}"}, "agent": {"S": agent}, "time": {"S": f"t{number // 4}"}}
    for scope in ("a", "b")
    for number, agent in enumerate(["x", "x", "x", "y"] * 10)
]
"""Forty rows of two partitions each; in the index four of them, or three and one, have one sort key."""


@pytest.fixture(scope="module")
def rows_of_two_partitions(running: Running) -> Iterator[str]:
    """A table that holds them, with an index."""
    name = f"test-{uuid.uuid4()}"
    dynamodb = client(running)
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[
            {"AttributeName": each, "AttributeType": "S"} for each in ("scope", "bucket", "agent", "time")
        ],
        KeySchema=[{"AttributeName": "scope", "KeyType": "HASH"}, {"AttributeName": "bucket", "KeyType": "RANGE"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_agent",
                "KeySchema": [
                    {"AttributeName": "agent", "KeyType": "HASH"},
                    {"AttributeName": "time", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    for item in ROWS:
        dynamodb.put_item(TableName=name, Item=item)
    yield name
    dynamodb.delete_table(TableName=name)


CONDITIONS: dict[str, Callable[[str, str, str], bool]] = {
    "#k = :p": lambda _key, _low, _high: True,
    "#k = :p AND #s > :low": lambda key, low, _: key > low,
    "#k = :p AND #s >= :low": lambda key, low, _: key >= low,
    "#k = :p AND #s < :low": lambda key, low, _: key < low,
    "#k = :p AND #s <= :low": lambda key, low, _: key <= low,
    "#k = :p AND #s = :low": lambda key, low, _: key == low,
    "#k = :p AND #s BETWEEN :low AND :high": lambda key, low, high: low <= key <= high,
    "#k = :p AND begins_with(#s, :low)": lambda key, low, _: key.startswith(low),
}


@given(
    index=st.sampled_from(
        [("scope", "bucket", "a"), ("agent", "time", "x"), ("agent", "time", "y"), ("agent", "time", "z")]
    ),
    condition=st.sampled_from(list(CONDITIONS)),
    bounds=st.tuples(*[st.sampled_from([" ", "0", "07", "2", "39", "t", "t0", "t3", "t9", "u"])] * 2),
    is_forward=st.booleans(),
    limit=st.sampled_from([None, 1, 3, 7, 100]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_the_pages_of_a_query_are_the_rows_that_its_condition_names_in_their_order(
    running: Running,
    rows_of_two_partitions: str,
    index: tuple[str, str, str],
    condition: str,
    bounds: tuple[str, str],
    is_forward: bool,
    limit: int | None,
) -> None:
    partition_key, sort_key, partition = index
    low, high = sorted(bounds)
    values = {":p": partition, ":low": low, ":high": high}
    query: dict[str, Any] = {
        "TableName": rows_of_two_partitions,
        "KeyConditionExpression": condition,
        "ExpressionAttributeNames": {"#k": partition_key} | ({"#s": sort_key} if "#s" in condition else {}),
        "ExpressionAttributeValues": {name: {"S": value} for name, value in values.items() if name in condition},
        "ScanIndexForward": is_forward,
    }
    query |= {"IndexName": "by_agent"} if partition_key == "agent" else {}
    query |= {"Limit": limit} if limit else {}
    dynamodb = client(running)
    pages = [dynamodb.query(**query)]
    while "LastEvaluatedKey" in pages[-1]:
        pages.append(dynamodb.query(**query, ExclusiveStartKey=pages[-1]["LastEvaluatedKey"]))
    found = [item for page in pages for item in page["Items"]]
    expected = [
        item
        for item in ROWS
        if item[partition_key]["S"] == partition and CONDITIONS[condition](item[sort_key]["S"], low, high)
    ]
    assert all(len(page["Items"]) <= (limit or len(ROWS)) for page in pages)
    assert sorted(map(str, found)) == sorted(map(str, expected))
    keys = [item[sort_key]["S"] for item in found]
    assert keys == sorted(keys, reverse=not is_forward)


def test_a_query_sees_every_kind_of_write_at_once(running: Running, table: str) -> None:
    dynamodb = client(running)
    counts = []
    for write in (
        lambda: dynamodb.put_item(TableName=table, Item=row("a", "1")),
        lambda: dynamodb.batch_write_item(RequestItems={table: [{"PutRequest": {"Item": row("a", "2")}}]}),
        lambda: dynamodb.transact_write_items(TransactItems=[{"Put": {"TableName": table, "Item": row("a", "3")}}]),
        lambda: dynamodb.update_item(
            **addition(table, "a", "1") | {"Key": {"scope": {"S": "a"}, "bucket": {"S": "4"}}}
        ),
        lambda: dynamodb.delete_item(TableName=table, Key={"scope": {"S": "a"}, "bucket": {"S": "1"}}),
    ):
        write()
        counts.append(len(rows(running, table, "a")))
    assert counts == [1, 2, 3, 4, 3]
