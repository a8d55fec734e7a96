"""The authorizer: who is let in, who is denied, and what the log and the metrics say of it."""

import logging
import time
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from sessions.api_keys import hash_key
from sessions.errors import Unavailable
from tests.conftest import Lines
from tests.service import KEY, ORGANIZATION, Service, container, in_memory

ARN = "arn:aws:execute-api:eu-west-1:123456789012:abcdef1234/live/GET/v1/sessions"


def policy(effect: str, partition: str = "aws") -> dict[str, Any]:
    """Return the policy document for every route of the stage."""
    resource = f"arn:{partition}:execute-api:eu-west-1:123456789012:abcdef1234/live/*/*"
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": [resource]}
    return {"Version": "2012-10-17", "Statement": [statement]}


DENIED = {"principalId": "unknown", "policyDocument": policy("Deny")}


def allowed(**context: str) -> dict[str, Any]:
    given = {"organization_id": ORGANIZATION, "key_name": "console"} | context
    return {"principalId": ORGANIZATION, "policyDocument": policy("Allow"), "context": given}


def fail_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container("authorize").api_keys, "_dynamodb", Mock(get_item=Mock(side_effect=error)))


def refusal(code: str, status: int) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "GetItem")


@pytest.mark.parametrize("header", ["Authorization", "authorization", "AUTHORIZATION"])
@pytest.mark.parametrize(
    "value",
    [KEY, f"Bearer {KEY}", f"ApiKey {KEY}", f"bearer {KEY}", f"APIKEY  {KEY}", f"  {KEY}\t", f" Bearer \t{KEY} "],
)
def test_a_live_key_is_allowed_on_every_route(memory_service: Service, value: str, header: str) -> None:
    memory_service.issue()
    assert memory_service.authorize(value, header=header) == allowed()


def test_no_letter_of_a_key_is_taken_for_a_blank(memory_service: Service) -> None:
    key = "evr_" + "X" * 42
    memory_service.issue(key)
    assert memory_service.authorize(f" \t{key}\t ") == allowed()


def test_a_key_without_a_name_is_allowed(memory_service: Service) -> None:
    memory_service.issue(name=None)
    assert memory_service.authorize(KEY) == allowed(key_name="")


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_policy_is_for_the_partition_of_the_request(memory_service: Service, partition: str) -> None:
    memory_service.issue()
    found = memory_service.authorize(KEY, methodArn=ARN.replace("aws", partition, 1))
    assert found["policyDocument"] == policy("Allow", partition)


MALFORMED = ["nonsense", "Bearer", "Bearer ", f"Basic {KEY}", f"Bearer Bearer {KEY}", f"Bearer{KEY}", f"{KEY} x"]
MALFORMED += [f"{KEY},{KEY}", f"{KEY}\n", f"\n{KEY}", KEY.upper(), hash_key(KEY), "evr-" + "a" * 32]
MALFORMED += [f"evr_{digits}" for digits in ("u" * 15, "u" * 129, "u" * 100_000, "é" * 32, "a" * 31 + "/")]

DENIALS: list[tuple[str, tuple[str, ...]]] = [
    ("no_key", ()),
    ("no_key", ("",)),
    ("no_key", (" ", "\t")),
    ("malformed", (KEY, KEY)),
    ("malformed", ("", KEY)),
    *(("malformed", (value,)) for value in MALFORMED),
    ("unknown", ("evr_" + "u" * 16,)),
    ("unknown", ("evr_" + "u" * 128,)),
]


@pytest.mark.parametrize(("reason", "authorization"), DENIALS)
def test_a_denial_is_logged_and_counted_under_its_reason(
    memory_service: Service, lines: Lines, reason: str, authorization: tuple[str, ...]
) -> None:
    memory_service.issue()
    assert memory_service.authorize(*authorization) == DENIED
    (line,) = lines()
    assert (line["level"], line["message"], line["reason"]) == ("INFO", "denied", reason)
    assert {name: value for name, value in line.items() if "Denied" in name} == {f"Denied.{reason}": [1]}


def test_a_malformed_key_is_not_looked_up(memory_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(AssertionError("looked up"), monkeypatch)
    assert memory_service.authorize("nonsense") == DENIED


def test_a_key_is_allowed_from_its_issue_to_its_revocation(service: Service) -> None:
    assert service.authorize(KEY) == DENIED
    service.issue()
    assert service.authorize(KEY) == allowed()
    service.dynamodb.delete_item(TableName="api_keys", Key={"key_hash": {"S": hash_key(KEY)}})
    assert service.authorize(KEY) == DENIED


def test_a_key_just_issued_is_read_strongly(memory_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    get_item = Mock(return_value={})
    monkeypatch.setattr(container("authorize").api_keys, "_dynamodb", Mock(get_item=get_item))
    memory_service.authorize(KEY)
    key = {"key_hash": {"S": hash_key(KEY)}}
    get_item.assert_called_once_with(TableName="api_keys", Key=key, ConsistentRead=True)


@pytest.mark.parametrize(("now", "is_allowed"), [(1999999999.999, True), (2000000000.0, False)])
def test_a_key_expires_to_the_second(
    memory_service: Service, monkeypatch: pytest.MonkeyPatch, lines: Lines, now: float, is_allowed: bool
) -> None:
    memory_service.issue(expires_at={"N": "2000000000"})
    monkeypatch.setattr(time, "time", lambda: now)
    expected = allowed(expires_at="2000000000") if is_allowed else DENIED
    assert memory_service.authorize(KEY) == expected
    assert lines()[-1].get("reason") == (None if is_allowed else "expired")


@pytest.mark.parametrize(
    "attributes",
    [
        {"expires_at": {"N": "1795700000.5"}},
        {"expires_at": {"N": "-1"}},
        {"expires_at": {"N": "1E+38"}},
        {"expires_at": {"N": "9" * 38}},
        {"expires_at": {"S": "2026-11-23"}},
        {"expires_at": {"S": "1795700000"}},
        {"expires_at": {"NULL": True}},
        {"organization_id": None},
        {"organization_id": {"S": ""}},
        {"organization_id": {"N": "1"}},
    ],
)
def test_an_item_that_we_never_write_denies_its_key(
    memory_service: Service, lines: Lines, attributes: dict[str, Any]
) -> None:
    memory_service.issue(**attributes)
    assert memory_service.authorize(KEY) == DENIED
    (line,) = lines()
    assert (line["level"], line["reason"]) == ("WARNING", "invalid_item")
    assert (line["InvalidKeys"], line["Denied.invalid_item"]) == ([1], [1])


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refusal("ProvisionedThroughputExceededException", 400), Unavailable),
        (refusal("InternalServerError", 500), Unavailable),
        (refusal("AccessDeniedException", 400), ClientError),
    ],
)
def test_a_fault_raises_and_is_no_denial(
    memory_service: Service, error: Exception, expected: type[Exception], lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(error, monkeypatch)
    with pytest.raises(expected):
        memory_service.authorize(KEY)
    assert "denied" not in [line.get("message") for line in lines()]


@given(st.one_of(st.text(max_size=200), st.from_regex(r"(?i)(bearer |apikey )?evr_[\w-]{10,140}\s?", fullmatch=True)))
def test_no_value_that_is_not_a_key_is_allowed(value: str) -> None:
    with in_memory() as service:
        assert service.authorize(value) == DENIED


def test_neither_a_key_nor_its_hash_is_logged(
    memory_service: Service, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("authorize"), "level", logging.DEBUG)
    memory_service.issue()
    for value in (KEY, f"Bearer {KEY}x", f"Basic {KEY}"):
        memory_service.authorize(value)
    fail_with(refusal("InternalServerError", 500), monkeypatch)
    with pytest.raises(Unavailable) as raised:
        memory_service.authorize(KEY)
    output = "".join(capfd.readouterr()) + str(raised.value)
    assert "allowed" in output
    assert not any(secret in output for secret in (KEY, hash_key(KEY), hash_key(KEY + "x")))
