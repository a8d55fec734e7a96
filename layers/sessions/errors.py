"""The exceptions that callers meet, as data: status, code, message and who is to blame.

    SessionsError
    ├── ApiError                 becomes the response to the caller
    │   ├── InvalidParameter     400  the caller: a query parameter breaks the contract
    │   ├── Unauthorized         401  the caller: no live API key
    │   ├── Forbidden            403  the caller: another organization than the key's
    │   ├── NotFound             404  the caller: another path
    │   ├── MethodNotAllowed     405  the caller: another method on this path
    │   ├── PageTooLarge         500  us: the page does not fit into Lambda's response
    │   ├── InternalError        500  us: what any other exception becomes
    │   └── Unavailable          503  us: DynamoDB throttled, timed out or was unreachable
    └── SettingMissing           us: the template left out an environment variable

Source: the table of errors in the README. The gateway's own responses in `template.yaml` repeat these codes and
messages; a test compares them.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

RETRY_AFTER: Final = "1"
"""Seconds that a client should wait before another try; throttled DynamoDB partitions recover within one."""


class SessionsError(Exception):
    """Any error that this package raises on purpose."""


class ApiError(SessionsError):
    """An error that the caller sees as `{"error": {"code": ..., "message": ...}}`."""

    status: ClassVar[int]
    code: ClassVar[str]
    message: ClassVar[str]
    """A plain sentence for the caller; an instance may carry a more specific one."""
    headers: ClassVar[Mapping[str, str]] = {}
    is_fault: ClassVar[bool] = False
    """Whether the service is to blame: it is then logged as an error with its stack."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(self.message if message is None else message)


class InvalidParameter(ApiError):
    """A query parameter breaks the contract; the message names it and says what it accepts."""

    status = 400
    code = "invalid_parameter"
    message = "A query parameter is not valid."


class Unauthorized(ApiError):
    """The request carries no live API key."""

    status = 401
    code = "unauthorized"
    message = "The API key is missing, unknown, expired or revoked."


class Forbidden(ApiError):
    """`X-Org-Id` names an organization that the key does not belong to."""

    status = 403
    code = "forbidden"
    message = "X-Org-Id names an organization that this API key does not belong to."


class NotFound(ApiError):
    """No resource has this path."""

    status = 404
    code = "not_found"
    message = "There is nothing here; the list of sessions is at /v1/sessions."


class MethodNotAllowed(ApiError):
    """The resource exists and does not support this method."""

    status = 405
    code = "method_not_allowed"
    message = "/v1/sessions supports only GET."
    headers: ClassVar[Mapping[str, str]] = {"Allow": "GET"}


class PageTooLarge(ApiError):
    """The page would exceed the response that Lambda can return."""

    status = 500
    code = "page_too_large"
    message = "The page would exceed the largest possible response (6 MB); ask again with a lower limit."
    is_fault = True


class InternalError(ApiError):
    """What the caller is told of a fault that we did not expect: nothing of our internals."""

    status = 500
    code = "internal_error"
    message = "Internal server error"
    is_fault = True


class Unavailable(ApiError):
    """DynamoDB throttled, timed out or was unreachable within the deadline; another try may succeed."""

    status = 503
    code = "unavailable"
    message = "The service is busy or cannot be reached; try again shortly."
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": RETRY_AFTER}
    is_fault = True


class SettingMissing(SessionsError):
    """An environment variable that the function needs is not set; the message names it."""
