"""Who calls: the headers of a request, and the organization that the authorizer found for them."""

from collections.abc import Mapping
from typing import Any

from sessions.errors import Forbidden, Unauthorized
from sessions.keys import is_expired


def organization_of(event: Mapping[str, Any]) -> str:
    """The caller's organization, from the authorizer's context alone; its values arrive as text.

    Raises:
        Unauthorized: the context has no organization, or the key has expired since the gateway cached it.
        Forbidden: a header `X-Org-Id` names another organization; a blank one names none.
    """
    authorizer = event["requestContext"].get("authorizer") or {}
    organization_id = authorizer.get("organization_id")
    if not organization_id or not isinstance(organization_id, str) or _has_expired(authorizer.get("expires_at")):
        raise Unauthorized("The API key is missing, unknown, expired or revoked.")
    named = header_values(event, "X-Org-Id")
    if any(name.strip() not in ("", organization_id) for name in named):
        raise Forbidden("X-Org-Id names an organization that this API key does not belong to.")
    return organization_id


def header_values(event: Mapping[str, Any], name: str) -> list[str]:
    """Every value of a header of a REST event, in any case of its name."""
    headers = event.get("multiValueHeaders") or {key: [value] for key, value in (event.get("headers") or {}).items()}
    return [value for key, values in headers.items() if key.lower() == name.lower() for value in values]


def _has_expired(expires_at: object) -> bool:
    if expires_at is None or expires_at == "":
        return False
    try:
        return is_expired(int(str(expires_at)))
    except ValueError:
        return True  # a context that we did not write: better closed than open
