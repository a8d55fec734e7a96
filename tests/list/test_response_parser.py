"""Responses of DynamoDB as the functions' client parses them: as botocore does, and nothing that is no JSON object."""

import json
import random
import sys
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import HeadersDict
from botocore.parsers import JSONParser, QueryParser, ResponseParserError
from hypothesis import given
from hypothesis import strategies as st

from sessions.client import create_client
from sessions.response_parser import ItemParser, ItemParserFactory
from tests.service import Service

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


def parse(parser: JSONParser, operation: str, body: bytes, status: int = 200) -> Any:
    response = {
        "status_code": status,
        "headers": HeadersDict(HEADERS),
        "body": body,
        "context": {"operation_name": operation},
    }
    return parser.parse(response, MODEL.operation_model(operation).output_shape)


@given(found=st.lists(items, max_size=3))
def test_an_item_is_parsed_as_botocore_does(found: list[Any]) -> None:
    for operation, response in {
        "Query": {
            "Items": found,
            "Count": len(found),
            "LastEvaluatedKey": found[-1] if found else None,
            "ConsumedCapacity": {"TableName": "sessions", "CapacityUnits": 0.5},
        },
        "GetItem": {"Item": found[0]} if found else {},
        "BatchGetItem": {"Responses": {"counts": found}, "UnprocessedKeys": {}},
    }.items():
        body = json.dumps({name: value for name, value in response.items() if value is not None}).encode()
        assert parse(ItemParser(), operation, body) == parse(JSONParser(), operation, body)


@pytest.mark.parametrize(
    ("operation", "status", "body"),
    [
        ("Query", 400, b'{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"slow down"}'),
        ("Query", 400, b'{"__type":"x#ConditionalCheckFailedException","message":"","Item":{"a":{"S":"b"}}}'),
        ("Query", 500, b'{"__type":"x#InternalServerError","message":"internal"}'),
        ("Query", 503, b"<html>unavailable</html>"),
        ("Query", 400, b""),
        ("DescribeTable", 200, b'{"Table": {"TableName": "counts", "CreationDateTime": 1795700000}}'),
        ("TransactWriteItems", 200, b"{}"),
    ],
)
def test_everything_else_is_left_to_botocores_parser(operation: str, status: int, body: bytes) -> None:
    parsed = parse(ItemParser(), operation, body, status)
    assert parsed == parse(JSONParser(), operation, body, status)
    assert parsed["ResponseMetadata"]["HTTPStatusCode"] == status


def test_other_protocols_are_left_to_botocore() -> None:
    assert type(ItemParserFactory().create_parser("query")) is QueryParser  # of STS, where credentials may come from


@pytest.mark.parametrize("operation", ["Query", "GetItem", "BatchGetItem", "TransactWriteItems"])
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"null", "a JSON NoneType, not an object"),
        (b"[]", "a JSON list, not an object"),
        *((body, "not JSON: ") for body in (b"\xff", b"", b"{", b"<html>")),
    ],
)
def test_a_success_that_is_no_json_object_is_a_fault(operation: str, body: bytes, reason: str) -> None:
    with pytest.raises(ResponseParserError, match=f"^the response is {reason}"):
        parse(ItemParser(), operation, body)


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"5", b'{"__type":5}', b"\xff"])
def test_an_error_that_dynamodb_did_not_send_is_a_fault(body: bytes) -> None:
    with pytest.raises(ResponseParserError, match=r"^the response is not DynamoDB's: |^Invalid JSON"):
        parse(ItemParser(), "Query", body, 503)


def test_the_functions_client_gives_up_within_nine_seconds(environment: None) -> None:
    config: Any = create_client().meta.config
    assert (config.connect_timeout, config.read_timeout, config.tcp_keepalive) == (1.0, 3.0, True)
    assert config.retries["total_max_attempts"] == 2


def test_a_restored_snapshot_gets_its_own_connections(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks: list[Any] = []
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", SimpleNamespace(register_after_restore=hooks.append))
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    client = create_client()
    assert hooks == [client.close, random.seed]


def test_the_functions_client_reads_binary_values_as_base64(service: Service) -> None:
    key = {"scope": {"S": "a"}, "bucket": {"S": "b"}}
    client = create_client()
    client.put_item(TableName="counts", Item=key | {"binary": {"B": b"\xff"}, "several": {"BS": [b"a"]}})
    item = client.get_item(TableName="counts", Key=key)["Item"]
    assert (item["binary"], item["several"]) == ({"B": "/w=="}, {"BS": ["YQ=="]})
