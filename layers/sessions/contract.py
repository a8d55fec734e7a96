"""The published contract, independent of AWS: the fields of a Session, the page, and the query parameters.

Source: 'GET /v1/sessions' of the platform's API. `docs/openapi.json`, `sessions load`, the functions and the tests use
these definitions. Objects are typed dicts, which pydantic validates in two thirds of the time that models take.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    with_config,
)
from typing_extensions import TypedDict  # pydantic requires this one before Python 3.12

from sessions.errors import InvalidParameter

INT32_MAX: Final = 2**31 - 1
LIMIT_MAX: Final = 100
LIMIT_DEFAULT: Final = 20

ID_PATTERNS: Final = {
    "id": r"^session_[0-9a-f]{1,64}$",
    "organization_id": r"^org_[0-9a-f]{1,64}$",
    "agent_id": r"^agent_[0-9a-f]{1,64}$",
    "model_id": r"^model_[0-9a-f]{1,64}$",
}
"""Forms of ids, which `sessions load` enforces. An id in another form is served unchanged: clients can read it."""

AGENT_ID_FILTER: Final = r"^agent_[0-9a-f]{31,32}$"
"""The published format has 32 digits, the published example 31: both are real."""

_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(\.\d+)?(?:[Zz]|([+-](?:[01]\d|2[0-3]):[0-5]\d))",
    re.ASCII,
)

_STORED = re.compile(r"\d{4}-\d{2}-\d{2}T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z", re.ASCII)


def utc_timestamp(text: str) -> str:
    """Return an RFC 3339 date-time in the stored form: UTC with microseconds, `2026-11-23T16:41:46.463925Z`.

    Digits beyond microseconds are cut off; a leap second becomes the next second, as in POSIX time.

    Raises:
        ValueError: not an RFC 3339 date-time, or not a calendar date.
    """
    if _STORED.fullmatch(text) is not None:
        datetime.fromisoformat(text)
        return text
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 date-time")
    date, hour, minute, second, fraction, zone = match.groups()
    leap = second == "60"
    microseconds = f"{(fraction or '.')[1:7]:0<6}"
    moment = datetime.fromisoformat(
        f"{date}T{hour}:{minute}:{'59' if leap else second}.{microseconds}{zone or '+00:00'}"
    )
    try:
        moment = moment.astimezone(UTC) + timedelta(seconds=leap)
    except OverflowError:
        raise ValueError("outside the years 1 to 9999") from None
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _empty_when_none(value: object) -> object:
    return [] if value is None else value


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


Timestamp = Annotated[str, AfterValidator(utc_timestamp), Field(json_schema_extra={"format": "date-time"})]
Int32 = Annotated[int, Field(ge=0, le=INT32_MAX, json_schema_extra={"format": "int32"})]

_STRICT: Final = ConfigDict(strict=True)
"""A string in place of a number is invalid; pydantic must not convert it."""


@with_config(_STRICT)
class Capability(TypedDict):
    """A capability that a session has in addition to its agent's."""

    ref: Annotated[str, Field(description="Reference to the capability.")]
    config: NotRequired[Annotated[Any, Field(description="Configuration of the capability; present only when stored.")]]


@with_config(_STRICT)
class Usage(TypedDict):
    """The tokens used by a session so far."""

    input_tokens: Annotated[Int32, Field(description="Input tokens.")]
    output_tokens: Annotated[Int32, Field(description="Output tokens.")]
    cache_read_tokens: NotRequired[
        Annotated[Int32 | None, Field(description="Tokens read from a cache; left out when unknown.")]
    ]
    cache_creation_tokens: NotRequired[
        Annotated[Int32 | None, Field(description="Tokens written to a cache; left out when unknown.")]
    ]


@with_config(_STRICT)
class Session(TypedDict):
    """A conversation with an agent; every response has all of these fields, in this order."""

    id: Annotated[str, Field(examples=["session_01933b5a00007000800000000000001"])]
    organization_id: Annotated[str, Field(examples=["org_00000000000000000000000000000001"])]
    agent_id: Annotated[str, Field(examples=["agent_01933b5a00007000800000000000001"])]
    status: Annotated[
        Literal["started", "active", "idle"],
        Field(
            description="`started`: created and no turn yet; `active`: a turn is running; `idle`: waiting for input."
        ),
    ]
    created_at: Annotated[Timestamp, Field(description="When the session was created.")]
    updated_at: Annotated[Timestamp, Field(description="When the session last changed.")]
    started_at: NotRequired[Annotated[Timestamp | None, Field(description="When its first turn started.")]]
    finished_at: NotRequired[Annotated[Timestamp | None, Field(description="When it finished.")]]
    title: NotRequired[Annotated[str | None, Field(description="A title for people.")]]
    preview: NotRequired[Annotated[str | None, Field(description="The first message of the user, truncated.")]]
    output_preview: NotRequired[
        Annotated[str | None, Field(description="The last message of the assistant, truncated.")]
    ]
    model_id: NotRequired[Annotated[str | None, Field(description="A model that replaces the agent's own.")]]
    tags: NotRequired[Annotated[list[str], BeforeValidator(_empty_when_none), Field(description="Free labels.")]]
    capabilities: NotRequired[
        Annotated[
            list[Capability],
            BeforeValidator(_empty_when_none),
            Field(description="Capabilities besides those of the agent."),
        ]
    ]
    # A released client fails on the whole page when a cache count is null.
    usage: NotRequired[
        Annotated[
            Annotated[Usage, AfterValidator(_without_none)] | None,
            Field(description="Tokens used so far; null before the first turn."),
        ]
    ]


class Page(TypedDict):
    """A part of the list, newest first, and the number of sessions in all of it."""

    data: list[Session]
    total: Annotated[Int32, Field(description="Number of sessions that match, across all pages.")]
    offset: Annotated[Int32, Field(description="Number of sessions skipped.")]
    limit: Annotated[Int32, Field(description="Largest number of sessions returned.")]


REQUIRED: Final = tuple(name for name in Session.__annotations__ if name in Session.__required_keys__)
"""Fields of a Session that always have a value."""

_OPTIONAL: Final[dict[str, Any]] = dict.fromkeys(name for name in Session.__annotations__ if name not in REQUIRED)

_session = TypeAdapter(Session)


def read_session(values: Mapping[str, Any], extra: Literal["ignore", "forbid"] = "ignore") -> Session:
    """Return a validated Session with all of its fields, and times in UTC.

    Args:
        values: fields by name.
        extra: whether fields that the contract does not have are ignored or forbidden.

    Raises:
        pydantic.ValidationError: a field is missing, not valid or forbidden.
    """
    return _session.validate_python({**_OPTIONAL, **values}, extra=extra)


def _digits(text: object) -> int:
    if not isinstance(text, str) or _DIGITS.fullmatch(text) is None:
        raise ValueError("not a whole number in decimal digits")
    return int(text)


_DIGITS = re.compile(r"[0-9]{1,10}")  # as many as int32 has; longer text is not converted

PARAMETERS: Final = {
    "agent_id": "an agent's id: agent_ and 31 or 32 lower-case hexadecimal digits",
    "offset": f"a whole number from 0 to {INT32_MAX}",
    "limit": f"a whole number from 1 to {LIMIT_MAX}",
}
"""The query parameters and the values that they accept, in the words of the error message."""


class PageRequest(BaseModel):
    """The validated query parameters of a request."""

    model_config = ConfigDict(frozen=True)

    agent_id: Annotated[
        str | None, Field(pattern=AGENT_ID_FILTER, description="Return only the sessions of this agent.")
    ] = None
    offset: Annotated[
        int,
        BeforeValidator(_digits),
        Field(ge=0, le=INT32_MAX, description="Sessions to skip, counted from the newest."),
    ] = 0
    limit: Annotated[
        int, BeforeValidator(_digits), Field(ge=1, le=LIMIT_MAX, description="Largest number of sessions to return.")
    ] = LIMIT_DEFAULT


def page_request(query: Mapping[str, Sequence[str]]) -> PageRequest:
    """Return the parameters of a query string. An empty value and the literal `null` mean 'not given'.

    Args:
        query: all values of each parameter, decoded.

    Raises:
        InvalidParameter: a parameter is unknown, repeated, malformed or out of range.
    """
    for name, values in query.items():
        if name not in PARAMETERS:
            raise InvalidParameter(f"Unknown parameter {name[:64]!r}; the parameters are {', '.join(PARAMETERS)}.")
        if len(values) > 1:
            raise InvalidParameter(f"{name} was given {len(values)} times; give it at most once.")
    given = {name: value for name, (value,) in query.items() if value not in ("", "null")}
    try:
        return PageRequest.model_validate(given)
    except ValidationError as error:
        name = str(error.errors(include_url=False)[0]["loc"][0])
        raise InvalidParameter(f"{name} must be {PARAMETERS[name]}.") from None
