"""Answers: routes, the `Link` header, browsers' origins, and the one table from exception to response."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pydantic_core import to_json

from sessions.contract import Page, PageRequest
from sessions.errors import (
    Forbidden,
    InvalidParameter,
    MethodNotAllowed,
    NotFound,
    PageTooLarge,
    Unauthorized,
    Unavailable,
)
from sessions.identity import header_values

Event = Mapping[str, Any]
"""A REST proxy event ('Input format of a Lambda function for proxy integration')."""

PATH: Final = "/v1/sessions"

ANSWER_BYTES_MAX: Final = 6_291_556
"""Bytes of a synchronous answer ('Lambda quotas': 6 MB), headers and JSON escapes of the body included."""

ENVELOPE_BYTES: Final = 4_096
"""Bytes set aside for what surrounds the body in Lambda's answer."""

RETRY_AFTER: Final = "1"
"""Seconds; throttled DynamoDB partitions recover within one."""

PREFLIGHT_SECONDS: Final = "600"
"""How long a browser may remember what a preflight allowed."""

ALLOWED: Final = "Authorization,Content-Type,X-Org-Id"
"""Headers that a script in a browser may send; many send a content type with every request."""

EXPOSED: Final = "Link,Retry-After,X-Request-Id"
"""Headers that a script in a browser may read."""

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


class Answer(NamedTuple):
    """What the caller gets."""

    status: int
    body: str
    headers: dict[str, str]

    def proxied(self, request_id: str) -> dict[str, Any]:
        """The output of a Lambda proxy integration, with the headers that every answer has."""
        headers = self.headers | {"Cache-Control": "no-store", "X-Request-Id": request_id}
        if self.body:
            headers["Content-Type"] = "application/json"
        return {
            "statusCode": self.status,
            "multiValueHeaders": {name: [value] for name, value in headers.items()},
            "body": self.body,
            "isBase64Encoded": False,
        }


class Origins:
    """The origins that browsers may call from; none of them turns it all off."""

    def __init__(self, origins: str) -> None:
        """
        Args:
            origins: separated by commas.
        """
        self._origins = frozenset(filter(None, map(str.strip, origins.split(","))))

    def headers(self, event: Event) -> dict[str, str]:
        """What lets the caller's browser read the answer."""
        if not self._origins:
            return {}
        varying = {"Vary": "Origin"}
        given = header_values(event, "Origin")
        if len(given) != 1 or given[0] not in self._origins:
            return varying
        return varying | {"Access-Control-Allow-Origin": given[0], "Access-Control-Expose-Headers": EXPOSED}

    def preflight(self, event: Event) -> Answer | None:
        """The answer to a browser that asks whether it may call; None when this is no such question."""
        if not self._origins or event["httpMethod"] != "OPTIONS":
            return None
        allowed = {
            "Access-Control-Allow-Methods": "GET",
            "Access-Control-Allow-Headers": ALLOWED,
            "Access-Control-Max-Age": PREFLIGHT_SECONDS,
        }
        return Answer(204, "", allowed)


def respond(
    event: Event, origins: Origins, get: Callable[[Event], Answer], refused: Callable[[Exception, str], None]
) -> dict[str, Any]:
    """The answer to a REST proxy event, whatever happens.

    Args:
        get: answers `GET` on the one path there is.
        refused: is told of every exception, with the contract's code for it.
    """
    try:
        answer = _routed(event, origins, get)
    except Exception as error:
        refused(error, error_code(error))
        answer = error_answer(error)
    return answer._replace(headers=answer.headers | origins.headers(event)).proxied(request_id(event))


def _routed(event: Event, origins: Origins, get: Callable[[Event], Answer]) -> Answer:
    # The route that the gateway matched: with a custom domain, `path` may begin with a base path.
    if event["resource"] != PATH:
        raise NotFound(f"There is nothing here; the list of sessions is at {PATH}.")
    preflight = origins.preflight(event)
    if preflight is not None:
        return preflight
    if event["httpMethod"] != "GET":
        raise MethodNotAllowed(f"{PATH} answers to GET alone.")
    return get(event)


def page_answer(page: Page, request: PageRequest) -> Answer:
    """200 with the page.

    Raises:
        PageTooLarge: Lambda could not return it.
    """
    body = to_json(page._asdict())
    if not _fits(body):
        raise PageTooLarge
    link = link_header(request, page.total)
    return Answer(200, body.decode(), {"Link": link} if link else {})


def error_code(error: Exception) -> str:
    """The contract's code for an exception."""
    return _ANSWERS.get(type(error), _FAULT)[1]


def error_answer(error: Exception) -> Answer:
    """The answer to a request that ended in an exception; of our own faults it says nothing."""
    status, code, headers = _ANSWERS.get(type(error), _FAULT)
    message = str(error) if type(error) in _ANSWERS else "Internal server error"
    return Answer(status, to_json({"error": {"code": code, "message": message}}).decode(), headers)


def request_id(event: Event) -> str:
    """The gateway's id of the request: in its access log, in ours and in the answer; '' in a test event without one."""
    return str(event["requestContext"].get("requestId", ""))


def query_of(event: Event) -> Mapping[str, Sequence[str]]:
    """Every value of every query parameter, decoded."""
    several: Mapping[str, Sequence[str]] | None = event.get("multiValueQueryStringParameters")
    return several or {name: [value] for name, value in (event.get("queryStringParameters") or {}).items()}


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


def _fits(body: bytes) -> bool:
    # Lambda's answer is JSON that holds the body as a text: quotes and backslashes are escaped once more. They are
    # counted only where that may matter.
    room = ANSWER_BYTES_MAX - ENVELOPE_BYTES
    return 2 * len(body) <= room or len(body) + body.count(b'"') + body.count(b"\\") <= room
