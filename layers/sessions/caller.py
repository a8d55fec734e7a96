"""The caller of a request: header values, and the organization that the authorizer has found."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sessions.errors import Forbidden, Unauthorized
from sessions.schema import EXPIRES_AT, ORGANIZATION_ID, SEPARATOR


def header_values(event: Mapping[str, Any], name: str) -> list[str]:
    """Return all values of a header in a REST event, in any case of its name.

    Powertools' case-insensitive headers keep one of several spellings; here each of them counts.
    """
    headers = event.get("multiValueHeaders") or {key: [value] for key, value in (event.get("headers") or {}).items()}
    return [value for key, values in headers.items() if key.lower() == name.lower() for value in values]


def caller_organization(authorizer: Mapping[str, Any], x_org_id: Sequence[str]) -> str:
    """Return the caller's organization, which comes from the authorizer's context alone.

    Args:
        authorizer: the context that `authorize` returned; the gateway passes its values as strings.
        x_org_id: all values of the header `X-Org-Id`; a blank one names no organization.

    Raises:
        Unauthorized: the context has no organization, or the key has expired since the gateway cached the context.
        Forbidden: `X-Org-Id` names another organization.
    """
    organization_id = authorizer.get(ORGANIZATION_ID)
    if not isinstance(organization_id, str) or not organization_id or _is_expired(authorizer.get(EXPIRES_AT)):
        raise Unauthorized
    if SEPARATOR in organization_id:  # such a scope holds the counts of another organization's agent
        raise Unauthorized
    if any(value.strip() not in ("", organization_id) for value in x_org_id):
        raise Forbidden
    return organization_id


def _is_expired(expires_at: object) -> bool:
    if expires_at is None or expires_at == "":
        return False
    try:
        return int(str(expires_at)) <= time.time()
    except ValueError:  # not written by `authorize`
        return True
