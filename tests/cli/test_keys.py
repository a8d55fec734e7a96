"""`sessions keys`: a key is shown once, works, is listed by its fingerprint alone, and ends when it is revoked."""

import hashlib
import json
import re
import time
from typing import Any

import pytest

from sessions_cli.keys import InvalidRequest, parse_expiry
from tests.cli.command import sessions
from tests.service import ORGANIZATION, OTHER_ORGANIZATION, ROOT, Service

NOW = 1795452106.25
"""2026-11-23T16:41:46.25Z"""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time stands still."""
    monkeypatch.setattr(time, "time", lambda: NOW)


def created(*options: str, organization: str = ORGANIZATION) -> str:
    """A new key."""
    ran = sessions("keys", "create", "--organization", organization, *options)
    assert ran.exit_code == 0
    return ran.stdout.rstrip("\n")


def fingerprint(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def rows(service: Service) -> list[dict[str, Any]]:
    return list(service.dynamodb.scan(TableName="api_keys")["Items"])


def may_call(service: Service, key: str) -> bool:
    """What the authorizer says."""
    event = json.loads((ROOT / "events" / "authorize.json").read_text())
    event["headers"], event["multiValueHeaders"] = {"Authorization": key}, {"Authorization": [key]}
    policy = service.function("authorize").handler(event, None)
    return bool(policy["policyDocument"]["Statement"][0]["Effect"] == "Allow")


def test_a_new_key_is_alone_on_standard_output_and_explained_beside_it(service: Service) -> None:
    ran = sessions("keys", "create", "--organization", ORGANIZATION, "--name", "console")
    assert ran.exit_code == 0
    assert re.fullmatch(r"evr_[A-Za-z0-9_-]{43}\n", ran.stdout)
    assert ran.stderr == (
        f"Key of {ORGANIZATION}, fingerprint {fingerprint(ran.stdout.strip())}, never expires. "
        "It cannot be shown again:\n"
    )


def test_a_new_key_opens_its_organization(service: Service) -> None:
    assert may_call(service, created())


def test_the_table_holds_the_hash_of_a_key_and_the_key_nowhere(service: Service, clock: None) -> None:
    key = created("--name", "night job", "--expires", "90d")
    (row,) = rows(service)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", row.pop("created_at")["S"])
    assert row == {
        "key_hash": {"S": hashlib.sha256(key.encode()).hexdigest()},
        "organization_id": {"S": ORGANIZATION},
        "name": {"S": "night job"},
        "expires_at": {"N": str(int(NOW) + 90 * 86400)},
    }


def test_no_two_keys_are_the_same(service: Service) -> None:
    assert len({created() for _ in range(5)}) == 5


@pytest.mark.parametrize(
    ("text", "expires_at"),
    [
        ("30m", 1795453906),
        ("12h", 1795495306),
        ("90d", 1803228106),
        ("2026-11-24", 1795478400),
        ("2027-06-30T12:00:00+02:00", 1814349600),
        ("2026-11-23t16:41:47z", 1795452107),
    ],
)
def test_an_end_is_a_span_a_date_or_a_moment(clock: None, text: str, expires_at: int) -> None:
    assert parse_expiry(text) == expires_at


def test_the_end_of_a_key_is_told(service: Service, clock: None) -> None:
    ran = sessions("keys", "create", "--organization", ORGANIZATION, "--expires", "2027-06-30")
    assert ", expires at 2027-06-30T00:00:00Z. " in ran.stderr


@pytest.mark.parametrize(
    "text",
    ["", "90", "d", "1w", "1.5h", "-1d", "90 d", "९0d", "9999-12-31T23:59:60Z", "2026-02-29", "2027-06-30T12:00:00"],
)
def test_what_is_no_end_is_refused(clock: None, text: str) -> None:
    with pytest.raises(InvalidRequest, match="is not a valid expiry; use 90d, 12h, 30m or a date such as 2027-06-30"):
        parse_expiry(text)


@pytest.mark.parametrize("text", ["0d", "0m", "2026-11-23", "2026-11-23T16:41:46Z"])
def test_an_end_that_has_come_already_is_refused(clock: None, text: str) -> None:
    with pytest.raises(InvalidRequest, match="is not in the future"):
        parse_expiry(text)


def test_with_a_bad_end_no_key_is_issued(service: Service) -> None:
    ran = sessions("keys", "create", "--organization", ORGANIZATION, "--expires", "soon")
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr == "Error: 'soon' is not a valid expiry; use 90d, 12h, 30m or a date such as 2027-06-30.\n"
    assert rows(service) == []


@pytest.mark.parametrize("organization", ["", "org_XYZ", "org_1\n", "org_" + "1" * 65])
def test_what_is_no_organization_gets_no_key(service: Service, organization: str) -> None:
    ran = sessions("keys", "create", "--organization", organization)
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr == (
        f"Error: {organization!r} is not an organization's id: org_ and lower-case hexadecimal digits.\n"
    )
    assert rows(service) == []


@pytest.mark.parametrize("name", ["x" * 101, "\x1b[31m"])
def test_a_name_that_cannot_be_shown_is_refused(service: Service, name: str) -> None:
    ran = sessions("keys", "create", "--organization", ORGANIZATION, "--name", name)
    assert (ran.exit_code, ran.stderr) == (1, "Error: A name has at most 100 printable characters.\n")
    assert rows(service) == []


def test_without_an_organization_it_is_asked_for() -> None:
    ran = sessions("keys", "create")
    assert ran.exit_code == 2
    assert "Missing option '--organization'" in ran.stderr


def test_the_list_shows_everything_of_a_key_but_the_key(service: Service) -> None:
    keys = [
        created("--name", "zweiter Schlüssel", organization=OTHER_ORGANIZATION),
        created("--name", "console", "--expires", "2090-01-01"),
        created(),
    ]
    service.dynamodb.put_item(
        TableName="api_keys",
        Item={"key_hash": {"S": "0" * 64}, "organization_id": {"S": "org_0"}, "expires_at": {"N": "1"}},
    )
    ran = sessions("keys", "list")
    assert ran.exit_code == 0
    cells = [re.split(r" {2,}", line.strip()) for line in ran.stdout.splitlines()]
    assert cells[0] == ["fingerprint", "state", "organization", "name", "created", "expires"]
    assert [row[:3] for row in cells[1:]] == [
        ["0" * 16, "expired", "org_0"],
        [fingerprint(keys[1]), "live", ORGANIZATION],
        [fingerprint(keys[2]), "live", ORGANIZATION],
        [fingerprint(keys[0]), "live", OTHER_ORGANIZATION],
    ]
    assert (cells[2][3], cells[2][5]) == ("console", "2090-01-01T00:00:00Z")
    assert (cells[4][3], cells[4][5]) == ("zweiter Schlüssel", "never")
    for key in keys:
        assert key not in ran.stdout
        assert hashlib.sha256(key.encode()).hexdigest() not in ran.stdout


def test_the_list_is_json_for_programs(service: Service) -> None:
    key = created("--name", "ü", "--expires", "2090-01-01")
    (listed,) = json.loads(sessions("keys", "list", "--json").stdout)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", listed.pop("created_at"))
    assert listed == {
        "fingerprint": fingerprint(key),
        "organization_id": ORGANIZATION,
        "name": "ü",
        "expires_at": "2090-01-01T00:00:00Z",
        "state": "live",
    }


def test_a_table_without_keys_is_an_empty_list(service: Service) -> None:
    assert sessions("keys", "list", "--json").stdout == "[]\n"
    assert sessions("keys", "list").stdout.split() == [
        "fingerprint", "state", "organization", "name", "created", "expires",
    ]  # fmt: skip


@pytest.mark.parametrize("digits", [4, 64])
def test_a_revoked_key_is_gone_and_the_others_stay(service: Service, digits: int) -> None:
    key, other = created("--name", "console"), created()
    ran = sessions("keys", "revoke", hashlib.sha256(key.encode()).hexdigest()[:digits])
    assert (ran.exit_code, ran.stdout) == (0, f"revoked {fingerprint(key)} (console) of {ORGANIZATION}\n")
    assert (may_call(service, key), may_call(service, other)) == (False, True)


def test_an_unknown_fingerprint_revokes_nothing(service: Service) -> None:
    key = created()
    unknown = "0" * 16 if fingerprint(key) != "0" * 16 else "1" * 16
    ran = sessions("keys", "revoke", unknown)
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr == f"Error: No key has the fingerprint {unknown}; `sessions keys list` shows them.\n"
    assert may_call(service, key)


@pytest.mark.parametrize("text", ["abc", "ABCD", "evr_0123456789abcdef"])
def test_what_is_no_fingerprint_revokes_nothing(text: str) -> None:
    ran = sessions("keys", "revoke", text)
    assert (ran.exit_code, ran.stderr) == (
        1,
        f"Error: {text!r} is not a fingerprint; `sessions keys list` shows them.\n",
    )


def test_a_fingerprint_of_two_keys_revokes_neither(service: Service) -> None:
    for end in "12":
        item = {"key_hash": {"S": "abcd" + end * 60}, "organization_id": {"S": ORGANIZATION}}
        service.dynamodb.put_item(TableName="api_keys", Item=item)
    ran = sessions("keys", "revoke", "abcd")
    assert ran.exit_code == 1
    assert ran.stderr == (f"Error: 2 keys have a fingerprint that begins with abcd: abcd{'1' * 12}, abcd{'2' * 12}.\n")
    assert len(rows(service)) == 2
