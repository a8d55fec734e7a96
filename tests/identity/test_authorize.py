"""The authorizer: who is let in, who is not, and what is said of them."""

import json
import logging
import time
from typing import Any
from unittest.mock import Mock

import botocore.exceptions
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessions.api_keys import ApiKeys, hash_key
from sessions.errors import Unavailable
from tests.service import CONTEXT, ORGANIZATION, ROOT, Service

KEY = "evr_" + "Az09_-" * 7
ARN = "arn:aws:execute-api:eu-west-1:123456789012:abcdef1234/live/GET/v1/sessions"
DENIED = {
    "principalId": "unknown",
    "policyDocument": {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Action": "execute-api:Invoke",
                "Effect": "Deny",
                "Resource": ["arn:aws:execute-api:eu-west-1:123456789012:abcdef1234/live/*/*"],
            }
        ],
    },
}


def issue(service: Service, key: str = KEY, **attributes: dict[str, str]) -> None:
    item: dict[str, Any] = {
        "key_hash": {"S": hash_key(key)},
        "organization_id": {"S": ORGANIZATION},
        "name": {"S": "console"},
        "created_at": {"S": "2026-11-23T16:41:46.463925Z"},
    }
    service.dynamodb.put_item(TableName="api_keys", Item=item | attributes)


def ask(service: Service, *authorization: str, header: str = "Authorization", arn: str = ARN) -> dict[str, Any]:
    event = json.loads((ROOT / "events" / "authorize.json").read_text())
    event["methodArn"] = arn
    event["headers"] = {header: value for value in authorization}
    event["multiValueHeaders"] = {header: list(authorization)} if authorization else {}
    response: dict[str, Any] = service.function("authorize").handler(event, CONTEXT)
    return response


def effect(response: dict[str, Any]) -> str:
    return str(response["policyDocument"]["Statement"][0]["Effect"])


@pytest.mark.parametrize(
    "value",
    [KEY, f"Bearer {KEY}", f"ApiKey {KEY}", f"bearer {KEY}", f"APIKEY  {KEY}", f"  {KEY}\t", f" Bearer \t{KEY} "],
)
@pytest.mark.parametrize("header", ["Authorization", "authorization", "AUTHORIZATION"])
def test_a_live_key_is_let_in_on_every_route_of_the_stage(service: Service, value: str, header: str) -> None:
    issue(service)
    assert ask(service, value, header=header) == {
        "principalId": ORGANIZATION,
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Action": "execute-api:Invoke",
                    "Effect": "Allow",
                    "Resource": ["arn:aws:execute-api:eu-west-1:123456789012:abcdef1234/live/*/*"],
                }
            ],
        },
        "context": {"organization_id": ORGANIZATION, "key_name": "console"},
    }


def test_blanks_around_a_key_are_no_part_of_it_and_nothing_else_is_left_out(service: Service) -> None:
    key = "evr_" + "X" * 42  # the letter that a wrong set of blanks would take away
    issue(service, key)
    assert effect(ask(service, f" \t{key}\t ")) == "Allow"


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_policy_is_of_the_partition_that_asks(service: Service, partition: str) -> None:
    issue(service)
    (statement,) = ask(service, KEY, arn=ARN.replace("aws", partition, 1))["policyDocument"]["Statement"]
    assert statement["Resource"] == [f"arn:{partition}:execute-api:eu-west-1:123456789012:abcdef1234/live/*/*"]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Basic {KEY}",
        f"Bearer Bearer {KEY}",
        f"Bearer{KEY}",
        f"{KEY} x",
        f"{KEY},{KEY}",
        f"{KEY}\n",
        KEY.upper(),
        "evr_" + "a" * 15,
        "evr_" + "a" * 129,
        "evr_" + "a" * 100_000,
        "evr_" + "é" * 32,
        "evr_" + "a" * 31 + "/",
        "evr-" + "a" * 32,
        hash_key(KEY),
    ],
)
def test_a_malformed_key_is_denied_without_a_lookup(
    service: Service, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue(service)
    dynamodb = Mock()
    monkeypatch.setattr(service.function("authorize"), "api_keys", ApiKeys(dynamodb, "api_keys"))
    assert ask(service, value) == DENIED
    dynamodb.get_item.assert_not_called()


def test_no_key_and_two_keys_are_denied(service: Service) -> None:
    issue(service)
    assert ask(service) == DENIED
    assert ask(service, KEY, KEY) == DENIED


def test_an_unknown_and_a_revoked_key_are_denied(service: Service) -> None:
    assert ask(service, KEY) == DENIED
    issue(service)
    assert effect(ask(service, KEY)) == "Allow"
    service.dynamodb.delete_item(TableName="api_keys", Key={"key_hash": {"S": hash_key(KEY)}})
    assert ask(service, KEY) == DENIED


def test_a_key_is_live_until_the_second_in_which_it_expires(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    issue(service, expires_at={"N": "2000000000"})
    monkeypatch.setattr(time, "time", lambda: 1999999999.999)
    assert ask(service, KEY)["context"]["expires_at"] == "2000000000"
    monkeypatch.setattr(time, "time", lambda: 2000000000.0)
    assert ask(service, KEY) == DENIED


@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "AccessDeniedException"])
def test_trouble_of_dynamodb_raises(service: Service, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    response: Any = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    failing = Mock(side_effect=botocore.exceptions.ClientError(response, "GetItem"))
    monkeypatch.setattr(service.function("authorize"), "api_keys", ApiKeys(Mock(get_item=failing), "api_keys"))
    with pytest.raises((Unavailable, botocore.exceptions.ClientError)):
        ask(service, KEY)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    value=st.one_of(st.text(max_size=200), st.from_regex(r"(?i)(bearer |apikey )?evr_[\w-]{10,140}\s?", fullmatch=True))
)
def test_no_header_that_is_not_the_key_is_let_in(service: Service, value: str) -> None:
    assert ask(service, value) == DENIED


def test_neither_key_nor_hash_reaches_a_log(
    service: Service,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG, logger="sessions")
    issue(service)
    ask(service, KEY)
    ask(service, f"Bearer {KEY}x")
    ask(service, f"Basic {KEY}")
    response: Any = {
        "Error": {"Code": "InternalServerError", "Message": ""},
        "ResponseMetadata": {"HTTPStatusCode": 500},
    }
    failing = Mock(side_effect=botocore.exceptions.ClientError(response, "GetItem"))
    monkeypatch.setattr(service.function("authorize"), "api_keys", ApiKeys(Mock(get_item=failing), "api_keys"))
    with pytest.raises(Unavailable) as raised:
        ask(service, KEY)
    output = "".join(capsys.readouterr()) + caplog.text + str(raised.value)
    for secret in (KEY, hash_key(KEY), hash_key(KEY + "x")):
        assert secret not in output
