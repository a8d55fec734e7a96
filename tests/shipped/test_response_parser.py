"""The response parser gives what botocore's own gives, for every operation, type and kind of response."""

from __future__ import annotations

import json
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import HeadersDict
from botocore.exceptions import ClientError
from botocore.parsers import JSONParser, QueryParser
from hypothesis import given
from hypothesis import strategies as st

from sessions import client as dynamodb
from sessions.response_checks import find_damage
from sessions.response_parser import OPERATIONS, ItemParser, ItemParserFactory

MODEL = botocore.session.get_session().get_service_model("dynamodb")

HEADERS = {"x-amzn-RequestId": "A1", "x-amz-crc32": "1", "Content-Type": "application/x-amz-json-1.0"}

values = st.recursive(
    st.one_of(
        st.text().map(lambda text: {"S": text}),
        st.integers().map(lambda number: {"N": str(number)}),
        st.booleans().map(lambda flag: {"BOOL": flag}),
        st.just({"NULL": True}),
        st.lists(st.text(), min_size=1).map(lambda texts: {"SS": texts}),
        st.lists(st.integers().map(str), min_size=1).map(lambda numbers: {"NS": numbers}),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda several: {"L": several}),
        st.dictionaries(st.text(), inner, max_size=4).map(lambda several: {"M": several}),
    ),
    max_leaves=12,
)
items = st.dictionaries(st.text(min_size=1), values, max_size=5)


def parsed(parser: JSONParser, operation: str, body: bytes, status: int = 200) -> Any:
    response = {
        "status_code": status,
        "headers": HeadersDict(HEADERS),
        "body": body,
        "context": {"operation_name": operation},
    }
    return parser.parse(response, MODEL.operation_model(operation).output_shape)


@given(found=st.lists(items, max_size=3), last=st.none() | items)
def test_a_page_is_parsed_as_botocore_does(found: list[Any], last: Any) -> None:
    answer = {"Items": found, "Count": len(found), "ScannedCount": 9, "LastEvaluatedKey": last}
    answer["ConsumedCapacity"] = {"TableName": "sessions", "CapacityUnits": 0.5}
    body = json.dumps(answer).encode()
    assert parsed(ItemParser(), "Query", body) == parsed(JSONParser(), "Query", body)


def test_another_protocol_is_left_to_botocore() -> None:
    factory = ItemParserFactory()
    assert type(factory.create_parser("json")) is ItemParser
    # Credentials may come from STS, which speaks this one.
    assert type(factory.create_parser("query")) is QueryParser


def test_another_operation_is_left_to_botocore() -> None:
    body = b'{"Table": {"TableName": "counts", "CreationDateTime": 1795700000}}'
    found = parsed(ItemParser(), "DescribeTable", body)
    assert found == parsed(JSONParser(), "DescribeTable", body)
    assert found["Table"]["CreationDateTime"].year == 2026


@given(item=items)
def test_an_item_and_several_are_parsed_as_botocore_does(item: Any) -> None:
    for operation, answer in {
        "GetItem": {"Item": item},
        "BatchGetItem": {"Responses": {"counts": [item]}, "UnprocessedKeys": {}},
    }.items():
        body = json.dumps(answer).encode()
        assert parsed(ItemParser(), operation, body) == parsed(JSONParser(), operation, body)


def test_what_the_model_does_not_know_is_left_out() -> None:
    body = json.dumps({"Count": 0, "Items": [], "ScannedCount": 0, "New": 1}).encode()
    assert "New" not in parsed(ItemParser(), "Query", body)


def test_a_binary_value_stays_the_text_that_it_travels_as() -> None:
    body = json.dumps({"Item": {"b": {"B": "/wA="}, "s": {"BS": ["YQ=="]}}}).encode()
    assert parsed(ItemParser(), "GetItem", body)["Item"] == {"b": {"B": "/wA="}, "s": {"BS": ["YQ=="]}}


ERRORS = {
    "throttled": (400, b'{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"slow down"}'),
    "conditional": (400, b'{"__type":"x#ConditionalCheckFailedException","message":"","Item":{"a":{"S":"b"}}}'),
    "server": (500, b'{"__type":"x#InternalServerError","message":"internal"}'),
    "no JSON": (503, b"<html>unavailable</html>"),
    "empty": (400, b""),
}


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_is_parsed_as_botocore_does(error: str) -> None:
    status, body = ERRORS[error]
    answers = [parsed(parser, "Query", body, status) for parser in (ItemParser(), JSONParser())]
    assert answers[0] == answers[1]
    assert answers[0]["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.mark.parametrize("operation", ["Query", "TransactWriteItems"])
@pytest.mark.parametrize("body", [b"[]", b'"text"', b"5", b'{"__type":5}', b"\xff"])
def test_of_an_error_that_dynamodb_did_not_send_the_status_counts(body: bytes, operation: str) -> None:
    assert parsed(ItemParser(), operation, body, 503)["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert parsed(ItemParser(), operation, body, 400)["Error"]["Message"] == ""


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"null", b"\xff"])
def test_a_write_whose_response_is_no_object_is_a_damaged_one(body: bytes) -> None:
    found = parsed(ItemParser(), "TransactWriteItems", body)
    assert isinstance(found, dict)  # botocore adds to it before anybody looks
    assert find_damage("TransactWriteItems", {}, body, found) is not None


@pytest.mark.parametrize("operation", sorted(set(MODEL.operation_names) - OPERATIONS))
def test_every_other_operation_is_left_to_botocore(operation: str) -> None:
    shape = MODEL.operation_model(operation).output_shape
    if shape is not None:
        assert parsed(ItemParser(), operation, b"{}") == parsed(JSONParser(), operation, b"{}")


def test_the_client_of_the_functions_reads_with_it(service: Any) -> None:
    client = dynamodb.create_client()
    client.put_item(TableName="counts", Item={"scope": {"S": "a"}, "bucket": {"S": "b"}, "binary": {"B": b"\xff"}})
    item = client.get_item(TableName="counts", Key={"scope": {"S": "a"}, "bucket": {"S": "b"}})["Item"]
    assert item["binary"] == {"B": "/w=="}
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client.get_item(TableName="nothing", Key={"scope": {"S": "a"}})
