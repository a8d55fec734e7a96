"""API keys: issued, listed and revoked. A fingerprint, the first digits of the stored hash, names a key."""

from __future__ import annotations

import re
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from sessions.api_keys import Denial, hash_key, parse_key
from sessions.contract import utc_timestamp
from sessions.schema import CREATED_AT, EXPIRES_AT, KEY_HASH, KEY_NAME, ORGANIZATION_ID, Item
from sessions_cli.bulk import WrongTable, scan
from sessions_cli.items import PATTERNS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PREFIX: Final = "evr_"
RANDOM_BYTES: Final = 32

DEMO_PREFIX: Final = "evr_local_"
"""Prefix of the keys that `make run` issues."""

FINGERPRINT_DIGITS: Final = 16

NAME_LENGTH: Final = 100

_SPAN: Final = re.compile(r"([0-9]{1,6})([dhm])")
_UNITS: Final = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class InvalidRequest(click.ClickException):
    """A key cannot be issued or revoked as requested; the message says why."""


class IssuedKey(NamedTuple):
    """A row of the table of API keys."""

    key_hash: str
    organization_id: str
    name: str
    created_at: str
    expires_at: str | None
    """Seconds since 1970, as stored; None for a key that does not expire."""

    @property
    def fingerprint(self) -> str:
        return self.key_hash[:FINGERPRINT_DIGITS]

    @property
    def state(self) -> str:
        """`live`, `expired`, or `invalid` for a row that this module does not write and the authorizer denies."""
        if not self.organization_id or not re.fullmatch("[0-9]{1,12}", self.expires_at or "0"):
            return "invalid"
        return "expired" if self.expires_at is not None and int(self.expires_at) <= time.time() else "live"

    @property
    def as_json(self) -> dict[str, str | None]:
        return {
            "fingerprint": self.fingerprint,
            "organization_id": self.organization_id,
            "name": self.name,
            "created_at": self.created_at,
            "expires_at": None if self.expires_at is None else format_time(self.expires_at),
            "state": self.state,
        }


def parse_expiry(text: str) -> int:
    """Return when a key expires, in seconds since 1970.

    Args:
        text: a span from now on such as `90d`, `12h` or `30m`, a date, which means its first moment in UTC, or an
            RFC 3339 date-time.

    Raises:
        InvalidRequest: it is none of these, or not in the future.
    """
    now = time.time()
    try:
        if span := _SPAN.fullmatch(text):
            until = datetime.fromtimestamp(now, UTC) + int(span[1]) * _UNITS[span[2]]
        else:
            until = datetime.fromisoformat(utc_timestamp(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text))
    except (ValueError, OverflowError):
        raise InvalidRequest(
            f"{text!r} is not a valid expiry; use 90d, 12h, 30m (minutes) or a date such as 2027-06-30."
        ) from None
    expires_at = int(until.timestamp())
    if expires_at <= now:
        raise InvalidRequest(f"{text!r} is not in the future.")
    return expires_at


def demo_key(organization_id: str) -> str:
    """Return the key that `make run` issues for an organization: `evr_local_` and its digits."""
    return DEMO_PREFIX + organization_id.removeprefix("org_")


def format_time(seconds: str | int) -> str:
    """Return a moment in UTC, or the stored text if it is none."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(seconds)  # another writer's: a fraction or milliseconds, perhaps


def check_organization(organization_id: str) -> None:
    """Raise InvalidRequest unless an organization can have this id."""
    if re.fullmatch(PATTERNS[ORGANIZATION_ID], organization_id) is None:
        raise InvalidRequest(
            f"{organization_id!r} is not an organization's id: org_ and lower-case hexadecimal digits."
        )


def issue(
    dynamodb: DynamoDBClient, table: str, organization_id: str, name: str = "", expires_at: int | None = None
) -> tuple[str, IssuedKey]:
    """Store a new key by its hash, and return the key, which cannot be read again, and its row.

    Raises:
        InvalidRequest: the organization's id or the name is not valid.
    """
    check_organization(organization_id)
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise InvalidRequest(f"A name has at most {NAME_LENGTH} printable characters.")
    key = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    return key, put(dynamodb, table, key, organization_id, name, expires_at)


def put(
    dynamodb: DynamoDBClient, table: str, key: str, organization_id: str, name: str, expires_at: int | None = None
) -> IssuedKey:
    """Store a key by its hash, and return its row."""
    created_at = utc_timestamp(datetime.now(UTC).isoformat())
    item: dict[str, Any] = {
        KEY_HASH: {"S": hash_key(key)},
        ORGANIZATION_ID: {"S": organization_id},
        KEY_NAME: {"S": name},
        CREATED_AT: {"S": created_at},
    }
    if expires_at is not None:
        item[EXPIRES_AT] = {"N": str(expires_at)}
    dynamodb.put_item(TableName=table, Item=item)
    return _issued(item)


def list_keys(dynamodb: DynamoDBClient, table: str) -> list[IssuedKey]:
    """Return all keys, by organization and then in the order in which they were issued.

    Raises:
        WrongTable: an item has no hash of a key.
    """
    items = [item for page in scan(dynamodb, table) for item in page]
    if any(KEY_HASH not in item for item in items):
        raise WrongTable(f"{table} is the wrong table: its items have no {KEY_HASH}.")
    return sorted(map(_issued, items), key=lambda key: (key.organization_id, key.created_at, key.key_hash))


def revoke(dynamodb: DynamoDBClient, table: str, name: str) -> IssuedKey:
    """Delete a key, and return its row.

    Args:
        name: the first digits of the key's fingerprint, or the key itself, which no message repeats.

    Raises:
        InvalidRequest: no key has the name, or several have.
    """
    if name.startswith(PREFIX) and not isinstance(parse_key([name]), Denial):
        name = hash_key(name)
    elif re.fullmatch(r"[0-9a-f]{4,64}", name) is None:
        raise InvalidRequest("That is neither a fingerprint nor a key; `sessions keys list` shows fingerprints.")
    found = [key for key in list_keys(dynamodb, table) if key.key_hash.startswith(name)]
    fingerprint = name[:FINGERPRINT_DIGITS]
    if not found:
        raise InvalidRequest(f"No key has the fingerprint {fingerprint}; `sessions keys list` shows them.")
    if len(found) > 1:
        names = ", ".join(key.fingerprint for key in found)
        raise InvalidRequest(f"{len(found)} keys have a fingerprint that begins with {fingerprint}: {names}.")
    dynamodb.delete_item(TableName=table, Key={KEY_HASH: {"S": found[0].key_hash}})
    return found[0]


def _issued(item: Item) -> IssuedKey:
    def text(name: str) -> str:
        return str(item.get(name, {}).get("S", ""))

    [(kind, value)] = item.get(EXPIRES_AT, {"NULL": True}).items()
    return IssuedKey(
        key_hash=text(KEY_HASH),
        organization_id=text(ORGANIZATION_ID),
        name=text(KEY_NAME),
        created_at=text(CREATED_AT),
        expires_at={"N": value, "NULL": None}.get(kind, f"{kind} {value}"),
    )
