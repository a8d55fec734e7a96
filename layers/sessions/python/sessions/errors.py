"""Every exception of this package, and who is to blame for it.

    SessionsError
    ├── InvalidParameter    the caller: a query parameter breaks the contract
    ├── Unauthorized        the caller: no live key
    ├── Forbidden           the caller: another organization than the key's
    ├── NotFound            the caller: another path
    ├── MethodNotAllowed    the caller: another method on this path
    ├── PageTooLarge        us: the page does not fit into Lambda's answer
    ├── Unavailable         us: DynamoDB throttled, timed out or was out of reach
    └── SettingMissing      us: the template left out an environment variable

`http.py` holds the one table that turns them into answers; the messages of the first seven are
sentences for the caller.
"""


class SessionsError(Exception):
    """Any error that this package raises on purpose."""


class InvalidParameter(SessionsError):
    """A query parameter breaks the contract; the message names it and says what it accepts."""


class Unauthorized(SessionsError):
    """The request carries no live key."""


class Forbidden(SessionsError):
    """`X-Org-Id` names an organization that the key does not belong to."""


class NotFound(SessionsError):
    """No resource has this path."""


class MethodNotAllowed(SessionsError):
    """The resource exists and does not take this method."""


class PageTooLarge(SessionsError):
    """The page would exceed the answer that Lambda can return."""

    def __init__(self) -> None:
        super().__init__("The page would exceed the largest possible answer (6 MB); ask again with a lower limit.")


class Unavailable(SessionsError):
    """DynamoDB throttled, timed out or was out of reach within the deadline; another try may work."""


class SettingMissing(SessionsError):
    """An environment variable that the function needs is not set; the message names it."""
