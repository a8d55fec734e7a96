"""Answers: the `Link` header, the envelope of errors, and the one table from exception to response."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from aws_lambda_powertools.event_handler import CORSConfig, Response

from sessions.contract import Error, ErrorDetail, Page, PageRequest
from sessions.errors import (
    Forbidden,
    InvalidParameter,
    MethodNotAllowed,
    NotFound,
    PageTooLarge,
    Unauthorized,
    Unavailable,
)

JSON: Final = "application/json"

UNKNOWN_PATH: Final = "/"

ANSWER_BYTES_MAX: Final = 6_291_556
"""Bytes of a synchronous answer ('Lambda quotas': 6 MB), headers and JSON escapes of the body included."""

ENVELOPE_BYTES: Final = 4_096
"""Bytes set aside for what surrounds the body in Lambda's answer."""

RETRY_AFTER: Final = "1"
"""Seconds; throttled DynamoDB partitions recover within one."""

_ANSWERS: Final[dict[type[Exception], tuple[int, str, dict[str, str]]]] = {
    InvalidParameter: (400, "invalid_parameter", {}),
    Unauthorized: (401, "unauthorized", {}),
    Forbidden: (403, "forbidden", {}),
    NotFound: (404, "not_found", {}),
    MethodNotAllowed: (405, "method_not_allowed", {"Allow": "GET"}),
    PageTooLarge: (500, "page_too_large", {}),
    Unavailable: (503, "unavailable", {"Retry-After": RETRY_AFTER}),
}
_FAULT: Final[tuple[int, str, dict[str, str]]] = (500, "internal_error", {})


def page_response(page: Page, request: PageRequest) -> Response[str]:
    """200 with the page.

    Raises:
        PageTooLarge: Lambda could not return it.
    """
    body: str = page.model_dump_json()
    if _answer_bytes(body) > ANSWER_BYTES_MAX:
        raise PageTooLarge
    link = link_header(request, page.total)
    return Response(200, JSON, body, headers={"Link": link} if link else {})


def error_code(error: Exception) -> str:
    """The contract's code for an exception."""
    return _ANSWERS.get(type(error), _FAULT)[1]


def error_response(error: Exception) -> Response[str]:
    """The answer to a request that ended in an exception; of our own faults it says nothing."""
    status, code, headers = _ANSWERS.get(type(error), _FAULT)
    message = str(error) if type(error) in _ANSWERS else "Internal server error"
    body = Error(error=ErrorDetail(code=code, message=message)).model_dump_json()
    return Response(status, JSON, body, headers=dict(headers))


def routed(event: dict[str, Any]) -> dict[str, Any]:
    """The event with the path of the resource that the gateway matched.

    `path` also has the base path of a custom domain; `resource` says which route it was, and a path that
    only the open routes matched must not reach the list.
    """
    matched = event["path"].endswith(event["resource"])
    return event | {"path": event["resource"] if matched else UNKNOWN_PATH}


def request_id(event: dict[str, Any]) -> str:
    """The gateway's id of the request: in its access log, in ours and in the answer."""
    return str(event["requestContext"]["requestId"])


def finished(answer: dict[str, Any], request_id: str) -> dict[str, Any]:
    """The proxy answer with the headers that every answer has."""
    headers = {**answer["multiValueHeaders"], "Cache-Control": ["no-store"], "X-Request-Id": [request_id]}
    return answer | {"multiValueHeaders": headers}


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
    kept = {} if request.agent_id is None else {"agent_id": request.agent_id}
    return ", ".join(
        f'<?{urlencode({**kept, "offset": target, "limit": limit})}>; rel="{name}"' for name, target in targets.items()
    )


def cors_config(origins: str) -> CORSConfig | None:
    """What browsers may do, for a comma-separated list of origins; None when it is empty."""
    allowed = [origin.strip() for origin in origins.split(",") if origin.strip()]
    if not allowed:
        return None
    return CORSConfig(
        allow_origin=allowed[0],
        extra_origins=allowed[1:],
        allow_headers=["X-Org-Id"],
        expose_headers=["Link", "Retry-After", "X-Request-Id"],
        max_age=600,
    )


def _answer_bytes(body: str) -> int:
    # Lambda's answer is JSON that holds the body as a text: quotes and backslashes are escaped once more.
    return len(body.encode()) + body.count('"') + body.count("\\") + ENVELOPE_BYTES
