"""Issuing, listing and revoking API keys.

A key is named by its fingerprint, the first digits of the hash that the table has in its place.
"""

from __future__ import annotations

import re
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sessions.api_keys import hash_key, is_expired
from sessions.contract import ID_PATTERNS, utc_timestamp
from sessions.schema import CREATED_AT, EXPIRES_AT, KEY_HASH, KEY_NAME, ORGANIZATION_ID, Item
from sessions_cli.dynamodb import scan
from sessions_cli.errors import CommandError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PREFIX: Final = "evr_"
RANDOM_BYTES: Final = 32

DEMO_PREFIX: Final = "evr_local_"
"""Of the keys that `make run` issues."""

FINGERPRINT_DIGITS: Final = 16

NAME_LENGTH: Final = 100

_DURATION: Final = re.compile(r"([0-9]{1,6})([dhm])")
_UNIT: Final = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class InvalidRequest(CommandError):
    """A key cannot be issued or revoked as asked; the message says why."""


class IssuedKey(NamedTuple):
    """What the table knows of a key."""

    key_hash: str
    organization_id: str
    name: str
    created_at: str
    expires_at: int | None
    """Seconds since 1970, or None for a key that does not expire."""

    @property
    def fingerprint(self) -> str:
        return self.key_hash[:FINGERPRINT_DIGITS]

    @property
    def state(self) -> str:
        """`live` or `expired`; time-to-live removes an expired key within days."""
        return "expired" if is_expired(self.expires_at) else "live"

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


def parse_expiry(text: str, now: float | None = None) -> int:
    """When a key expires, in seconds since 1970: `90d`, `12h`, `30m` from now, a date (its first moment in UTC), or
    an RFC 3339 date-time.

    Raises:
        InvalidRequest: none of these, or not in the future.
    """
    now = time.time() if now is None else now
    try:
        if duration := _DURATION.fullmatch(text):
            until = datetime.fromtimestamp(now, UTC) + int(duration[1]) * _UNIT[duration[2]]
        else:
            stamp = utc_timestamp(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)
            until = datetime.fromisoformat(stamp)
    except (ValueError, OverflowError):
        raise InvalidRequest(
            f"{text!r} is not a valid expiry; use 90d, 12h, 30m or a date such as 2027-06-30."
        ) from None
    expires_at = int(until.timestamp())
    if expires_at <= now:
        raise InvalidRequest(f"{text!r} is not in the future.")
    return expires_at


def demo_key(organization_id: str) -> str:
    """The key of an organization in what `make run` serves: its digits after `evr_local_`."""
    return DEMO_PREFIX + organization_id.removeprefix("org_")


def format_time(seconds: int) -> str:
    """A moment for people and programs, in UTC."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(seconds)  # written by somebody else: milliseconds, perhaps


def issue(
    dynamodb: DynamoDBClient, table: str, organization_id: str, name: str = "", expires_at: int | None = None
) -> tuple[str, IssuedKey]:
    """A new key, which nobody can read again, and what the table knows of it.

    Raises:
        InvalidRequest: the organization's id or the name is not valid.
    """
    if re.fullmatch(ID_PATTERNS[ORGANIZATION_ID][1:-1], organization_id) is None:
        raise InvalidRequest(
            f"{organization_id!r} is not an organization's id: org_ and lower-case hexadecimal digits."
        )
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise InvalidRequest(f"A name has at most {NAME_LENGTH} printable characters.")
    key = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    return key, put(dynamodb, table, key, organization_id, name, expires_at)


def put(
    dynamodb: DynamoDBClient, table: str, key: str, organization_id: str, name: str, expires_at: int | None = None
) -> IssuedKey:
    """Stores a key by its hash; returns what the table knows of it."""
    created_at = utc_timestamp(datetime.now(UTC).isoformat())
    issued = IssuedKey(hash_key(key), organization_id, name, created_at, expires_at)
    item: dict[str, Any] = {
        KEY_HASH: {"S": issued.key_hash},
        ORGANIZATION_ID: {"S": organization_id},
        KEY_NAME: {"S": name},
        CREATED_AT: {"S": created_at},
    }
    if expires_at is not None:
        item[EXPIRES_AT] = {"N": str(expires_at)}
    dynamodb.put_item(TableName=table, Item=item)
    return issued


def list_keys(dynamodb: DynamoDBClient, table: str) -> list[IssuedKey]:
    """Every key, by organization and then in the order in which they were issued."""
    found = [_issued(item) for page in scan(dynamodb, table) for item in page]
    return sorted(found, key=lambda key: (key.organization_id, key.created_at, key.key_hash))


def revoke(dynamodb: DynamoDBClient, table: str, fingerprint: str) -> IssuedKey:
    """Deletes the key of a fingerprint, or of the first digits of one.

    Raises:
        InvalidRequest: no key has it, or several have.
    """
    if re.fullmatch(r"[0-9a-f]{4,64}", fingerprint) is None:
        raise InvalidRequest(f"{fingerprint!r} is not a fingerprint; `sessions keys list` shows them.")
    found = [key for key in list_keys(dynamodb, table) if key.key_hash.startswith(fingerprint)]
    if not found:
        raise InvalidRequest(f"No key has the fingerprint {fingerprint}; `sessions keys list` shows them.")
    if len(found) > 1:
        names = ", ".join(key.fingerprint for key in found)
        raise InvalidRequest(f"{len(found)} keys have a fingerprint that begins with {fingerprint}: {names}.")
    dynamodb.delete_item(TableName=table, Key={KEY_HASH: {"S": found[0].key_hash}})
    return found[0]


def _issued(item: Item) -> IssuedKey:
    def string(name: str) -> str:
        return str(item.get(name, {}).get("S", ""))

    expires_at = item.get(EXPIRES_AT, {}).get("N")
    return IssuedKey(
        key_hash=string(KEY_HASH),
        organization_id=string(ORGANIZATION_ID),
        name=string(KEY_NAME),
        created_at=string(CREATED_AT),
        expires_at=None if expires_at is None else int(expires_at),
    )
