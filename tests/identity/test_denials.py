"""Why a caller is denied: in the log and in a metric of its own, and for the caller nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from sessions.api_keys import DENIALS, Denial, hash_key, parse_key
from tests.conftest import Lines
from tests.identity.test_authorize import KEY, ask, issue
from tests.service import ORGANIZATION, Service

UNKNOWN = "evr_" + "u" * 16


def last(lines: Lines) -> dict[str, Any]:
    """The line of the last request."""
    return [line for line in lines() if line.get("message") in ("denied", "allowed")][-1]


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        ((), "no_key"),
        (("",), "no_key"),
        ((" ", "\t"), "no_key"),
        (("nonsense",), "malformed"),
        ((KEY, KEY), "malformed"),
        (("", KEY), "malformed"),
        ((f"Basic {KEY}",), "malformed"),
        (("evr_" + "u" * 15,), "malformed"),
        (("evr_" + "u" * 129,), "malformed"),
        ((UNKNOWN,), "unknown"),
        (("evr_" + "u" * 128,), "unknown"),
    ],
)
def test_a_denial_is_logged_and_counted_under_its_reason(
    service: Service, lines: Lines, authorization: tuple[str, ...], reason: str
) -> None:
    issue(service)
    ask(service, *authorization)
    line = last(lines)
    assert (line["level"], line["message"], line["reason"]) == ("INFO", "denied", reason)
    assert line[f"Denied.{reason}"] == [1]
    assert [name for name in line if name.startswith("Denied.")] == [f"Denied.{reason}"]


def test_an_expired_key_is_denied_as_expired_and_not_as_unknown(service: Service, lines: Lines) -> None:
    issue(service, expires_at={"N": "1"})
    ask(service, KEY)
    assert last(lines)["reason"] == "expired"
    assert set(DENIALS) == {"no_key", "malformed", "unknown", "expired"}


def test_a_live_key_is_logged_by_organization_and_name(service: Service, lines: Lines) -> None:
    issue(service)
    ask(service, KEY)
    line = last(lines)
    assert (line["level"], line["message"], line["Allowed"]) == ("INFO", "allowed", [1])
    assert (line["organization_id"], line["key_name"]) == (ORGANIZATION, "console")


def test_blanks_around_a_key_and_behind_its_scheme_do_not_matter() -> None:
    for value in (KEY, f" {KEY}\t", f"Bearer \t {KEY}", f"apikey\t{KEY} "):
        assert parse_key([value]) == KEY
    for value in (f"\n{KEY}", f"Bearer{KEY}", f"Bearer Bearer {KEY}", f"{KEY} x"):
        assert parse_key([value]) == Denial("malformed")


def test_a_key_without_a_name_is_let_in_under_an_empty_one(service: Service) -> None:
    item = {"key_hash": hash_key(KEY), "organization_id": ORGANIZATION}
    service.dynamodb.put_item(TableName="api_keys", Item={name: {"S": value} for name, value in item.items()})
    assert ask(service, KEY)["context"] == {"organization_id": ORGANIZATION, "key_name": ""}
