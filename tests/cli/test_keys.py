"""`sessions keys`: a key is shown once, works, is listed by its fingerprint alone, and ends when it is revoked."""

import hashlib
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.command import fault, sessions
from tests.service import CONTEXT, ORGANIZATION, OTHER_ORGANIZATION, ROOT, Service, session

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


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def fingerprint(key: str) -> str:
    return hashed(key)[:16]


def rows(service: Service) -> list[dict[str, Any]]:
    return list(service.dynamodb.scan(TableName="api_keys")["Items"])


def may_call(service: Service, key: str) -> bool:
    """What the authorizer says."""
    event = json.loads((ROOT / "events" / "authorize.json").read_text())
    event["headers"], event["multiValueHeaders"] = {"Authorization": key}, {"Authorization": [key]}
    policy = service.function("authorize").handler(event, CONTEXT)
    return bool(policy["policyDocument"]["Statement"][0]["Effect"] == "Allow")


def test_a_new_key_is_alone_on_standard_output(service: Service) -> None:
    ran = sessions("keys", "create", "--organization", ORGANIZATION, "--name", "console")
    assert ran.exit_code == 0
    assert re.fullmatch(r"evr_[A-Za-z0-9_-]{43}\n", ran.stdout)
    assert ran.stderr == (
        f"Key of {ORGANIZATION}, fingerprint {fingerprint(ran.stdout.strip())}, never expires. "
        "It cannot be shown again:\n"
    )


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


@pytest.mark.parametrize(
    ("text", "expires_at", "span", "moment"),
    [
        ("1m", 1795452166, "1 minute", "2026-11-23T16:42:46Z"),
        ("30m", 1795453906, "30 minutes", "2026-11-23T17:11:46Z"),
        ("12h", 1795495306, "12 hours", "2026-11-24T04:41:46Z"),
        ("90d", 1803228106, "90 days", "2027-02-21T16:41:46Z"),
        ("2026-11-24", 1795478400, "7 hours", "2026-11-24T00:00:00Z"),
        ("2027-06-30T12:00:00+02:00", 1814349600, "218 days", "2027-06-30T10:00:00Z"),
        ("2026-11-23t16:41:47z", 1795452107, "0 minutes", "2026-11-23T16:41:47Z"),
    ],
)
def test_the_expiry_of_a_key_is_stored_and_printed(
    service: Service, clock: None, text: str, expires_at: int, span: str, moment: str
) -> None:
    ran = sessions("keys", "create", "--organization", ORGANIZATION, "--expires", text)
    assert f", expires in {span}, at {moment}. " in ran.stderr
    assert rows(service)[0]["expires_at"] == {"N": str(expires_at)}


UNREADABLE = [
    "",
    "90",
    "d",
    "1w",
    "1.5h",
    "-1d",
    "90 d",
    "९0d",
    "9999-12-31T23:59:60Z",
    "2026-02-29",
    "2027-06-30T12:00:00",
]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        *(
            (
                "--expires",
                text,
                f"{text!r} is not a valid expiry; use 90d, 12h, 30m (minutes) or a date such as 2027-06-30.",
            )
            for text in UNREADABLE
        ),
        *(
            ("--expires", text, f"{text!r} is not in the future.")
            for text in ("0d", "0m", "2026-11-23", "2026-11-23T16:41:46Z")
        ),
        *(
            ("--organization", text, f"{text!r} is not an organization's id: org_ and lower-case hexadecimal digits.")
            for text in ("", "org_XYZ", "org_1\n", "org_" + "1" * 65)
        ),
        ("--name", "x" * 101, "A name has at most 100 printable characters."),
        ("--name", "\x1b[31m", "A name has at most 100 printable characters."),
    ],
)
def test_no_key_is_issued_for_an_invalid_option(
    service: Service, clock: None, option: str, value: str, said: str
) -> None:
    assert fault("keys", "create", "--organization", ORGANIZATION, option, value) == said
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


@pytest.mark.parametrize(
    ("attributes", "state", "expires"),
    [
        ({"expires_at": {"N": "1795452106.5"}}, "invalid", "1795452106.5"),
        ({"expires_at": {"N": "-1"}}, "invalid", "1969-12-31T23:59:59Z"),
        ({"expires_at": {"N": "1795452106000"}}, "invalid", "1795452106000"),
        ({"expires_at": {"S": "never"}}, "invalid", "S never"),
        ({"organization_id": {"N": "1"}}, "invalid", "never"),
        ({"expires_at": {"N": "1"}}, "expired", "1970-01-01T00:00:01Z"),
    ],
)
def test_a_row_of_another_writer_is_listed_and_revoked(
    service: Service, attributes: dict[str, Any], state: str, expires: str
) -> None:
    key = created()
    row = {"key_hash": {"S": "0" * 64}, "organization_id": {"S": "org_0"}}
    service.dynamodb.put_item(TableName="api_keys", Item=row | attributes)
    listed = re.split(r" {2,}", sessions("keys", "list").stdout.splitlines()[1].strip())
    assert (listed[0], listed[1], listed[-1]) == ("0" * 16, state, expires)
    assert sessions("keys", "revoke", "0000").exit_code == 0
    assert may_call(service, key)


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


@pytest.mark.parametrize("name", [lambda key: key, lambda key: fingerprint(key)[:4], lambda key: hashed(key)])
def test_a_revoked_key_is_gone_and_the_others_stay(service: Service, name: Callable[[str], str]) -> None:
    key, other = created("--name", "console"), created()
    ran = sessions("keys", "revoke", name(key))
    assert (ran.exit_code, ran.output) == (0, f"revoked {fingerprint(key)} (console) of {ORGANIZATION}\n")
    assert (may_call(service, key), may_call(service, other)) == (False, True)


UNKNOWN = "evr_" + "x" * 43
NO_NAME = "That is neither a fingerprint nor a key; `sessions keys list` shows fingerprints."


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (UNKNOWN, f"No key has the fingerprint {fingerprint(UNKNOWN)}; `sessions keys list` shows them."),
        ("0" * 16, f"No key has the fingerprint {'0' * 16}; `sessions keys list` shows them."),
        ("abcd", f"2 keys have a fingerprint that begins with abcd: abcd{'1' * 12}, abcd{'2' * 12}."),
        *((text, NO_NAME) for text in ("abc", "ABCD", "evr_0123456789abcde", "Bearer " + UNKNOWN, UNKNOWN + "=")),
    ],
)
def test_a_name_of_no_key_or_of_two_revokes_nothing(service: Service, name: str, said: str) -> None:
    for end in "12":
        item = {"key_hash": {"S": "abcd" + end * 60}, "organization_id": {"S": ORGANIZATION}}
        service.dynamodb.put_item(TableName="api_keys", Item=item)
    assert fault("keys", "revoke", name) == said
    assert len(rows(service)) == 2


def test_no_key_is_issued_into_a_table_of_another_kind(service: Service) -> None:
    said = fault("keys", "create", "--organization", ORGANIZATION, "--table", "sessions")
    assert said.startswith("PutItem: ValidationException: ")


@pytest.mark.parametrize("use", [("list",), ("revoke", "abcd")])
def test_a_table_of_another_kind_is_refused(service: Service, use: tuple[str, ...]) -> None:
    service.put(session(1))
    assert fault("keys", *use, "--table", "sessions") == "sessions is the wrong table: its items have no key_hash."
