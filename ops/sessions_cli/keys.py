"""Issues, lists and revokes API keys. A fingerprint, the first digits of the stored hash, names a key."""

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
FINGERPRINT_DIGITS: Final = 16
NAME_LENGTH: Final = 100

_SPAN: Final = re.compile(r"([0-9]{1,6})([dhm])")
_UNITS: Final = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EXPIRY: Final = re.compile("[0-9]{1,12}")


class KeyRow(NamedTuple):
    """The stored properties of a key, and its state."""

    fingerprint: str
    state: str
    """`live`, `expired`, or `invalid` for a row that the authorizer denies because `issue` does not write such rows."""
    organization_id: str
    name: str
    created_at: str
    expires_at: str | None


def parse_expiry(text: str) -> int:
    """Return when a key expires, in seconds since 1970.

    Args:
        text: a span from now on such as `90d`, `12h` or `30m`, a date, which means its first moment in UTC, or an
            RFC 3339 date-time.
    """
    now = time.time()
    try:
        if span := _SPAN.fullmatch(text):
            until = datetime.fromtimestamp(now, UTC) + int(span[1]) * _UNITS[span[2]]
        else:
            until = datetime.fromisoformat(utc_timestamp(f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text))
    except (ValueError, OverflowError):
        raise click.ClickException(
            f"{text!r} is not a valid expiry; use 90d, 12h, 30m (minutes) or a date such as 2027-06-30."
        ) from None
    expires_at = int(until.timestamp())
    if expires_at <= now:
        raise click.ClickException(f"{text!r} is not in the future.")
    return expires_at


def demo_key(organization_id: str) -> str:
    """Return the key that `make run` issues for an organization: `evr_local_` and its digits."""
    return DEMO_PREFIX + organization_id.removeprefix("org_")


def format_time(seconds: str | int) -> str:
    """Return a moment as text in UTC, or the value unchanged if it is not a moment."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(seconds)  # a fraction or milliseconds, perhaps, which another writer stored


def check_organization(organization_id: str) -> None:
    """Raise ClickException unless an organization can have this id."""
    if re.fullmatch(PATTERNS[ORGANIZATION_ID], organization_id) is None:
        raise click.ClickException(
            f"{organization_id!r} is not an organization's id: org_ and lower-case hexadecimal digits."
        )


def issue(dynamodb: DynamoDBClient, table: str, organization_id: str, name: str, expires_at: int | None) -> str:
    """Store a new key by its hash, and return the key, which nobody can read again."""
    check_organization(organization_id)
    if len(name) > NAME_LENGTH or not name.isprintable():
        raise click.ClickException(f"A name has at most {NAME_LENGTH} printable characters.")
    key = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    put(dynamodb, table, key, organization_id, name, expires_at)
    return key


def put(
    dynamodb: DynamoDBClient, table: str, key: str, organization_id: str, name: str, expires_at: int | None = None
) -> None:
    """Store a key by its hash."""
    item: dict[str, Any] = {
        KEY_HASH: {"S": hash_key(key)},
        ORGANIZATION_ID: {"S": organization_id},
        KEY_NAME: {"S": name},
        CREATED_AT: {"S": utc_timestamp(datetime.now(UTC).isoformat())},
    }
    if expires_at is not None:
        item[EXPIRES_AT] = {"N": str(expires_at)}
    dynamodb.put_item(TableName=table, Item=item)


def list_keys(dynamodb: DynamoDBClient, table: str) -> list[KeyRow]:
    """Return all keys, by organization and then in the order in which they were issued."""
    rows = map(_key_row, _scan(dynamodb, table))
    return sorted(rows, key=lambda row: (row.organization_id, row.created_at, row.fingerprint))


def revoke(dynamodb: DynamoDBClient, table: str, name: str) -> KeyRow:
    """Delete a key, and return its row.

    Args:
        name: the first digits of the key's fingerprint, or the key itself, which no message repeats.
    """
    if name.startswith(PREFIX) and not isinstance(parse_key([name]), Denial):
        name = hash_key(name)
    elif re.fullmatch(r"[0-9a-f]{4,64}", name) is None:
        raise click.ClickException("That is neither a fingerprint nor a key; `sessions keys list` shows fingerprints.")
    found = [item for item in _scan(dynamodb, table) if item[KEY_HASH]["S"].startswith(name)]
    fingerprint = name[:FINGERPRINT_DIGITS]
    if not found:
        raise click.ClickException(f"No key has the fingerprint {fingerprint}; `sessions keys list` shows them.")
    if len(found) > 1:
        names = ", ".join(_key_row(item).fingerprint for item in found)
        raise click.ClickException(f"{len(found)} keys have a fingerprint that begins with {fingerprint}: {names}.")
    dynamodb.delete_item(TableName=table, Key={KEY_HASH: found[0][KEY_HASH]})
    return _key_row(found[0])


def _scan(dynamodb: DynamoDBClient, table: str) -> list[Item]:
    items = [item for page in scan(dynamodb, table) for item in page]
    if any(KEY_HASH not in item for item in items):
        raise WrongTable(f"{table} is the wrong table: its items have no {KEY_HASH}.")
    return items


def _key_row(item: Item) -> KeyRow:
    hashed, organization_id, name, created_at = (
        str(item.get(attribute, {}).get("S", "")) for attribute in (KEY_HASH, ORGANIZATION_ID, KEY_NAME, CREATED_AT)
    )
    state, expires_at = "live", None
    if EXPIRES_AT in item:
        [(kind, value)] = item[EXPIRES_AT].items()
        expires_at = format_time(value) if kind == "N" else f"{kind} {value}"
        is_valid = kind == "N" and _EXPIRY.fullmatch(value)
        state = "invalid" if not is_valid else "expired" if int(value) <= time.time() else "live"
    state = state if organization_id else "invalid"
    return KeyRow(hashed[:FINGERPRINT_DIGITS], state, organization_id, name, created_at, expires_at)
