"""API keys: their form, their hash, and the table that knows whose they are.

The table stores the SHA-256 of a key, never the key: whoever reads the table cannot call the API.
A key has 256 random bits, so a plain hash is as good as a slow one.
"""

from __future__ import annotations

import hashlib
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from sessions.dynamodb import call

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_KEY = re.compile(r"evr_[A-Za-z0-9_-]{16,128}")
_SCHEME = re.compile(r"(?:bearer|apikey)[ \t]+", re.IGNORECASE)


class ApiKey(NamedTuple):
    """What is known of a live key."""

    organization_id: str
    name: str
    expires_at: int | None
    """Seconds since 1970, or None for a key that does not expire."""


def key_in(authorization: str) -> str | None:
    """The key of an `Authorization` header, bare or after `Bearer` or `ApiKey`; None when it has no key's form."""
    value = authorization.strip(" \t")
    scheme = _SCHEME.match(value)
    key = value[scheme.end() :] if scheme else value
    return key if _KEY.fullmatch(key) else None


def hash_of(key: str) -> str:
    """What the table stores in the place of a key: its SHA-256, in hexadecimal digits."""
    return hashlib.sha256(key.encode("ascii")).hexdigest()


def is_expired(expires_at: int | None) -> bool:
    """Whether the moment, in seconds since 1970, has come."""
    return expires_at is not None and expires_at <= time.time()


class ApiKeys:
    """The API keys table, for reading; issuing and revoking keys is work for an operator."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def find(self, key: str) -> ApiKey | None:
        """The live key of this text, or None when it is unknown, revoked or expired.

        Raises:
            Unavailable: DynamoDB throttled, failed or did not answer.
        """
        answer = call(self._dynamodb.get_item, TableName=self._table, Key={"key_hash": {"S": hash_of(key)}})
        found = _api_key(answer["Item"]) if "Item" in answer else None
        # Time-to-live removes an expired key within days, not at once.
        return None if found is None or is_expired(found.expires_at) else found


def _api_key(item: dict[str, Any]) -> ApiKey:
    expires_at = item.get("expires_at")
    return ApiKey(
        organization_id=item["organization_id"]["S"],
        name=item["name"]["S"] if "name" in item else "",
        expires_at=None if expires_at is None else int(expires_at["N"]),
    )
