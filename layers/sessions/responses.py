"""Responses of `list_sessions`: the page, the errors, the `Link` header, browsers' origins, and the rule of 6 MB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aws_lambda_powertools.event_handler import CORSConfig, Response
from pydantic_core import to_json

from sessions.attributes import binary_text
from sessions.contract import Page, PageRequest
from sessions.errors import ApiError, PageTooLarge
from sessions.events import gateway_request_id

PATH: Final = "/v1/sessions"

JSON: Final = "application/json"

RESPONSE_BYTES_MAX: Final = 6_291_556
"""Bytes of a synchronous response ('Lambda quotas': 6 MB), headers and JSON escapes of the body included."""

ENVELOPE_BYTES: Final = 4_096
"""Bytes set aside for what surrounds the body in Lambda's response."""

PREFLIGHT_SECONDS: Final = 600
"""How long a browser may remember what a preflight allowed."""

EXPOSED_HEADERS: Final = ["Link", "Retry-After", "X-Request-Id"]
"""Headers that a script in a browser may read."""


def cors_config(origins: str) -> CORSConfig | None:
    """The origins that browsers may call from; None for none of them.

    Args:
        origins: separated by commas.
    """
    allowed = list(filter(None, map(str.strip, origins.split(","))))
    if not allowed:
        return None
    return CORSConfig(
        allow_origin=allowed[0],
        extra_origins=allowed[1:],
        allow_headers=["X-Org-Id"],
        expose_headers=EXPOSED_HEADERS,
        max_age=PREFLIGHT_SECONDS,
    )


def page_response(page: Page, request: PageRequest) -> Response[str]:
    """200 with the page.

    Raises:
        PageTooLarge: Lambda could not return it.
    """
    body = to_json(page, fallback=binary_text)
    if not fits_response(body):
        raise PageTooLarge
    link = link_header(request, page["total"])
    return Response(200, JSON, body.decode(), {"Link": link} if link else {})


def error_response(error: ApiError) -> Response[str]:
    """The response to a request that ended in an error."""
    body = to_json({"error": {"code": error.code, "message": str(error)}}).decode()
    return Response(error.status, JSON, body, dict(error.headers))


def with_common_headers(response: dict[str, Any], event: Mapping[str, Any], *, varies: bool) -> dict[str, Any]:
    """The output of the function with the headers that every response has.

    Args:
        response: 'Output format of a Lambda function for proxy integration'.
        varies: whether another origin may get other headers.
    """
    headers = {"Cache-Control": ["no-store"], "X-Request-Id": [gateway_request_id(event)]}
    if varies:
        headers["Vary"] = ["Origin"]
    return {**response, "multiValueHeaders": {**response["multiValueHeaders"], **headers}}


def link_header(request: PageRequest, total: int) -> str:
    """The neighbours of a page as query-only references (RFC 8288, RFC 3986 section 4.2); '' without entries.

    References without a path hold below a stage prefix and on a custom domain alike.
    """
    if total == 0:
        return ""
    offset, limit = request.offset, request.limit
    last = (total - 1) // limit * limit
    targets = {"first": 0}
    if offset > 0:
        targets["prev"] = max(0, offset - limit) if offset < total else last
    if offset + limit < total:
        targets["next"] = offset + limit
    targets["last"] = last
    kept = "" if request.agent_id is None else f"agent_id={request.agent_id}&"  # nothing in it needs an escape
    return ", ".join(f'<?{kept}offset={target}&limit={limit}>; rel="{name}"' for name, target in targets.items())


def fits_response(body: bytes) -> bool:
    """Whether Lambda can return this body.

    Lambda's response is JSON that holds the body as a string: quotes and backslashes are escaped once more, and so are
    the two separators of lines that Unicode has, from 3 bytes to 6. They are counted only where that may matter.
    """
    room = RESPONSE_BYTES_MAX - ENVELOPE_BYTES
    if 2 * len(body) <= room:
        return True
    escapes = body.count(b'"') + body.count(b"\\")
    escapes += 3 * (body.count("\u2028".encode()) + body.count("\u2029".encode()))
    return len(body) + escapes <= room
