"""The exceptions that callers meet, as data: status, code, message and headers.

    ApiError
    ├── InvalidParameter     400  caller error: a query parameter breaks the contract; the message says how
    ├── Unauthorized         401  caller error: no live API key
    ├── Forbidden            403  caller error: another organization than the key's
    ├── NotFound             404  caller error: another path
    ├── MethodNotAllowed     405  caller error: another method on this path
    ├── PageTooLarge         500  server fault: the page exceeds Lambda's response
    ├── InternalError        500  server fault: stands for any other exception
    └── Unavailable          503  server fault: DynamoDB throttled, timed out or was unreachable; a retry may succeed

Source: the table of errors in the README. The gateway's own responses in `template.yaml` repeat these codes and
messages; a test compares them.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

RETRY_AFTER: Final = "1"
"""Seconds that a client should wait before a retry; a throttled DynamoDB partition recovers within one."""


class ApiError(Exception):
    """An error that the caller receives as `{"error": {"code": ..., "message": ...}}`."""

    status: ClassVar[int]
    code: ClassVar[str]
    message: ClassVar[str]
    headers: ClassVar[Mapping[str, str]] = {}
    is_fault: ClassVar[bool] = False
    """Whether it is a server fault, which is logged as an error with its stack."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(self.message if message is None else message)


class InvalidParameter(ApiError):
    status = 400
    code = "invalid_parameter"
    message = "A query parameter is not valid."


class Unauthorized(ApiError):
    status = 401
    code = "unauthorized"
    message = "The API key is missing, unknown, expired or revoked."


class Forbidden(ApiError):
    status = 403
    code = "forbidden"
    message = "X-Org-Id names an organization that this API key does not belong to."


class NotFound(ApiError):
    status = 404
    code = "not_found"
    message = "There is nothing here; the list of sessions is at /v1/sessions."


class MethodNotAllowed(ApiError):
    status = 405
    code = "method_not_allowed"
    message = "/v1/sessions supports only GET."
    headers: ClassVar[Mapping[str, str]] = {"Allow": "GET"}


class PageTooLarge(ApiError):
    status = 500
    code = "page_too_large"
    message = "The page would exceed the largest possible response (6 MB); ask again with a lower limit."
    is_fault = True


class InternalError(ApiError):
    status = 500
    code = "internal_error"
    message = "Internal server error"
    is_fault = True


class Unavailable(ApiError):
    status = 503
    code = "unavailable"
    message = "The service is busy or cannot be reached; try again shortly."
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": RETRY_AFTER}
    is_fault = True
