"""Responses of `list_sessions`: bodies, headers, CORS, and the size limit."""

from __future__ import annotations

from typing import Any, Final

from aws_lambda_powertools.event_handler import CORSConfig, Response
from pydantic_core import to_json

from sessions.attributes import binary_text
from sessions.contract import Page, PageRequest
from sessions.errors import ApiError, PageTooLarge

PATH: Final = "/v1/sessions"

JSON: Final = "application/json"

RESPONSE_BYTES_MAX: Final = 6_291_556
"""Bytes of a synchronous response ('Lambda quotas': 6 MB), headers and JSON escapes of the body included."""

ENVELOPE_BYTES: Final = 4_096
"""Bytes reserved for the rest of Lambda's response: status, headers and JSON syntax."""

PREFLIGHT_SECONDS: Final = 600
"""Seconds for which a browser may cache a preflight response."""

EXPOSED_HEADERS: Final = ["Link", "Retry-After", "X-Request-Id"]
"""Response headers that scripts in a browser may read."""


def cors_config(origins: str) -> CORSConfig | None:
    """Return the CORS settings for a comma-separated list of origins, or None for an empty one."""
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
    """Return status 200 with the page.

    Raises:
        PageTooLarge: the page exceeds Lambda's response.
    """
    body = to_json(page, fallback=binary_text)
    if not fits_response(body):
        raise PageTooLarge
    link = link_header(request, page["total"])
    return Response(200, JSON, body.decode(), {"Link": link} if link else {})


def error_response(error: ApiError) -> Response[str]:
    """Return the response that an error stands for."""
    body = to_json({"error": {"code": error.code, "message": str(error)}}).decode()
    return Response(error.status, JSON, body, dict(error.headers))


def with_common_headers(response: dict[str, Any], request_id: str, *, varies: bool) -> dict[str, Any]:
    """Return the output of the function with the headers that every response has.

    Args:
        response: 'Output format of a Lambda function for proxy integration' in the API Gateway developer guide.
        request_id: the gateway's id of the request.
        varies: whether the headers depend on the request's origin.
    """
    headers = {"Cache-Control": ["no-store"], "X-Request-Id": [request_id]}
    if varies:
        headers["Vary"] = ["Origin"]
    return {**response, "multiValueHeaders": {**response["multiValueHeaders"], **headers}}


def link_header(request: PageRequest, total: int) -> str:
    """Return links to the neighbours of a page (RFC 8288), or '' if nothing matches.

    The links are query-only references (RFC 3986 section 4.2), which work below a stage prefix and on a custom domain.
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
    agent = "" if request.agent_id is None else f"agent_id={request.agent_id}&"  # hexadecimal: needs no escape
    return ", ".join(f'<?{agent}offset={target}&limit={limit}>; rel="{name}"' for name, target in targets.items())


def fits_response(body: bytes) -> bool:
    """Return whether Lambda can return this body.

    Lambda's response is JSON with the body as a string, in which each quote and backslash takes one byte more, and
    each of Unicode's two line separators three. They are counted only in bodies that may come near the limit.
    """
    room = RESPONSE_BYTES_MAX - ENVELOPE_BYTES
    if 2 * len(body) <= room:
        return True
    escapes = body.count(b'"') + body.count(b"\\")
    escapes += 3 * (body.count("\u2028".encode()) + body.count("\u2029".encode()))
    return len(body) + escapes <= room
