"""API keys: their form, their hash, and their lookup.

The table stores the SHA-256 of a key, never the key: reading the table does not allow calling the API. A key has 256
random bits, so a plain hash is as safe as a slow one.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from sessions.client import call
from sessions.schema import EXPIRES_AT, KEY_HASH, KEY_NAME, ORGANIZATION_ID, Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_KEY: Final = re.compile(r"evr_[A-Za-z0-9_-]{16,128}")
_SCHEME: Final = re.compile(r"(?:bearer|apikey)[ \t]+", re.IGNORECASE)
_EXPIRY: Final = re.compile(r"[0-9]{1,12}")
"""Whole seconds since 1970, as `sessions keys create` writes them."""


class Denial(StrEnum):
    """Why a caller is denied."""

    NO_KEY = "no_key"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    """This includes revoked keys."""
    EXPIRED = "expired"
    INVALID_ITEM = "invalid_item"
    """The item is not one that `sessions keys` writes."""


class ApiKey(NamedTuple):
    """The stored properties of a live key."""

    organization_id: str
    name: str
    expires_at: int | None
    """Seconds since 1970; None: never."""


def parse_key(authorization: Sequence[str]) -> str | Denial:
    """Return the key of a request, which may follow the scheme `Bearer` or `ApiKey`, or why there is none.

    Args:
        authorization: all values of the `Authorization` header; more than one is rejected.
    """
    values = [value.strip(" \t") for value in authorization]
    if not any(values):
        return Denial.NO_KEY
    scheme = _SCHEME.match(values[0])
    key = values[0][scheme.end() :] if scheme else values[0]
    return key if len(values) == 1 and _KEY.fullmatch(key) else Denial.MALFORMED


def hash_key(key: str) -> str:
    """Return the SHA-256 of a key in hexadecimal digits, which the table stores in its place."""
    return hashlib.sha256(key.encode("ascii")).hexdigest()


def is_expired(expires_at: int | None) -> bool:
    """Return whether a time, in seconds since 1970, has passed; None never passes."""
    return expires_at is not None and expires_at <= time.time()


class ApiKeys:
    """The API keys table, for lookups; only operators issue and revoke keys."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def identify(self, authorization: Sequence[str]) -> ApiKey | Denial:
        """Return the live key of a request, or why there is none.

        The read is strongly consistent: the gateway would cache the refusal of a key that was issued a moment ago.

        Args:
            authorization: all values of the `Authorization` header.

        Raises:
            Unavailable: DynamoDB throttled, failed or did not respond.
        """
        key = parse_key(authorization)
        if isinstance(key, Denial):
            return key
        wanted = {KEY_HASH: {"S": hash_key(key)}}
        response = call(self._dynamodb.get_item, TableName=self._table, Key=wanted, ConsistentRead=True)
        if "Item" not in response:
            return Denial.UNKNOWN
        found = _from_item(response["Item"])
        if found is None:
            return Denial.INVALID_ITEM
        # Time-to-live removes an expired key within days, not at once.
        return Denial.EXPIRED if is_expired(found.expires_at) else found


def _from_item(item: Item) -> ApiKey | None:
    organization_id = item.get(ORGANIZATION_ID, {}).get("S")
    expires_at = item[EXPIRES_AT].get("N", "") if EXPIRES_AT in item else None
    if not organization_id or (expires_at is not None and _EXPIRY.fullmatch(expires_at) is None):
        return None
    return ApiKey(organization_id, item.get(KEY_NAME, {}).get("S", ""), None if expires_at is None else int(expires_at))
