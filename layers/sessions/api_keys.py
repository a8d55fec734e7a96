"""API keys: their form, their hash, the table that knows whose they are, and the organization of a caller.

The table stores the SHA-256 of a key, never the key: whoever reads the table cannot call the API. A key has 256 random
bits, so a plain hash is as good as a slow one.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sessions.client import TimeLimit, call
from sessions.errors import Forbidden, Unauthorized
from sessions.schema import EXPIRES_AT, KEY_HASH, KEY_NAME, ORGANIZATION_ID, SEPARATOR, Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_KEY = re.compile(r"evr_[A-Za-z0-9_-]{16,128}")
_SCHEME = re.compile(r"(?:bearer|apikey)[ \t]+", re.IGNORECASE)

NO_KEY: Final = "no_key"
MALFORMED: Final = "malformed"
UNKNOWN: Final = "unknown"
EXPIRED: Final = "expired"
DENIALS: Final = (NO_KEY, MALFORMED, UNKNOWN, EXPIRED)
"""Why a caller is denied; a revoked key is an unknown one."""


class ApiKey(NamedTuple):
    """What is known of a key."""

    organization_id: str
    name: str
    expires_at: int | None
    """Seconds since 1970, or None for a key that never expires."""


class Denial(NamedTuple):
    """No live key was sent."""

    reason: str
    """One of `DENIALS`."""


def parse_key(authorization: Sequence[str]) -> str | Denial:
    """The key of a request, bare or after `Bearer` or `ApiKey`, or why there is none.

    Args:
        authorization: every value of the `Authorization` header; two are as good as none.
    """
    values = [value.strip(" \t") for value in authorization]
    if not any(values):
        return Denial(NO_KEY)
    scheme = _SCHEME.match(values[0])
    key = values[0][scheme.end() :] if scheme else values[0]
    return key if len(values) == 1 and _KEY.fullmatch(key) else Denial(MALFORMED)


def hash_key(key: str) -> str:
    """What the table stores instead of a key: its SHA-256, in hexadecimal digits."""
    return hashlib.sha256(key.encode("ascii")).hexdigest()


def is_expired(expires_at: int | None) -> bool:
    """Whether the moment, in seconds since 1970, has come."""
    return expires_at is not None and expires_at <= time.time()


class ApiKeys:
    """The API keys table, for reading; issuing and revoking keys is work for an operator."""

    def __init__(self, dynamodb: DynamoDBClient, table: str, time_limit: TimeLimit | None = None) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._time_limit = time_limit or TimeLimit()

    def identify(self, authorization: Sequence[str]) -> ApiKey | Denial:
        """The live key of a request, or why there is none.

        Args:
            authorization: every value of the `Authorization` header.

        Raises:
            Unavailable: DynamoDB throttled, failed or did not respond.
        """
        key = parse_key(authorization)
        return key if isinstance(key, Denial) else self.find(key)

    def find(self, key: str) -> ApiKey | Denial:
        """What is known of a live key, or why there is none.

        Raises:
            Unavailable: DynamoDB throttled, failed or did not respond.
        """
        wanted = {KEY_HASH: {"S": hash_key(key)}}
        response = self._time_limit.run(lambda: call(self._dynamodb.get_item, TableName=self._table, Key=wanted))
        if "Item" not in response:
            return Denial(UNKNOWN)
        found = _from_item(response["Item"])
        # Time-to-live removes an expired key within days, not at once.
        return Denial(EXPIRED) if is_expired(found.expires_at) else found


def caller_organization(authorizer: Mapping[str, Any], x_org_id: Sequence[str]) -> str:
    """The caller's organization, from the authorizer's context alone; its values arrive as strings.

    Args:
        authorizer: the context that `authorize` gave to the gateway.
        x_org_id: every value of the header `X-Org-Id`; a blank one names no organization.

    Raises:
        Unauthorized: the context has no organization, or the key has expired since the gateway cached it.
        Forbidden: `X-Org-Id` names another organization.
    """
    organization_id = authorizer.get(ORGANIZATION_ID)
    if not organization_id or not isinstance(organization_id, str) or _has_expired(authorizer.get(EXPIRES_AT)):
        raise Unauthorized
    if SEPARATOR in organization_id:  # the counts of such a scope belong to an agent of another organization
        raise Unauthorized
    if any(value.strip() not in ("", organization_id) for value in x_org_id):
        raise Forbidden
    return organization_id


def _has_expired(expires_at: object) -> bool:
    if expires_at is None or expires_at == "":
        return False
    try:
        return is_expired(int(str(expires_at)))
    except ValueError:
        return True  # not a context that `authorize` wrote: deny rather than allow


def _from_item(item: Item) -> ApiKey:
    expires_at = item.get(EXPIRES_AT)
    return ApiKey(
        organization_id=item[ORGANIZATION_ID]["S"],
        name=item[KEY_NAME]["S"] if KEY_NAME in item else "",
        expires_at=None if expires_at is None else int(expires_at["N"]),
    )
