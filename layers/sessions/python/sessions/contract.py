"""What clients send and get: the models of the published contract, without a word of AWS.

Source: section 'GET /v1/sessions' of the platform's API; `docs/openapi.json` is generated from here.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import MISSING, AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from sessions.errors import InvalidParameter

INT32_MAX: Final = 2**31 - 1
LIMIT_MAX: Final = 100
LIMIT_DEFAULT: Final = 20

ORGANIZATION_ID: Final = r"^org_[0-9a-f]{1,64}$"
AGENT_ID: Final = r"^agent_[0-9a-f]{1,64}$"
SESSION_ID: Final = r"^session_[0-9a-f]{1,64}$"
MODEL_ID: Final = r"^model_[0-9a-f]{1,64}$"
AGENT_ID_FILTER: Final = r"^agent_[0-9a-f]{31,32}$"
"""The published format has 32 digits, the published example 31: both are real."""

_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(\.\d+)?(?:[Zz]|([+-]\d{2}:\d{2}))",
    re.ASCII,
)


def utc_timestamp(text: str) -> str:
    """An RFC 3339 date-time in the one stored form: UTC, microseconds, `2026-11-23T16:41:46.463925Z`.

    Digits beyond microseconds are cut off; a leap second is the second after it, as in POSIX time.

    Raises:
        ValueError: not an RFC 3339 date-time, or not a date of the calendar.
    """
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


def _is_none(value: object) -> bool:
    return value is None


Timestamp = Annotated[str, AfterValidator(utc_timestamp), Field(json_schema_extra={"format": "date-time"})]
Int32 = Annotated[int, Field(ge=0, le=INT32_MAX, json_schema_extra={"format": "int32"})]


class _Model(BaseModel):
    """Strict, because a number in the place of a text is a broken entry and not a text."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Capability(_Model):
    """A capability that the session adds to those of its agent."""

    ref: str = Field(description="Reference to the capability.")
    config: Any = Field(default=MISSING, description="Configuration of the capability; present only when stored.")


class Usage(_Model):
    """Tokens that the session has used so far."""

    input_tokens: Int32 = Field(description="Input tokens.")
    output_tokens: Int32 = Field(description="Output tokens.")
    cache_read_tokens: Int32 | None = Field(
        default=None, exclude_if=_is_none, description="Tokens read from a cache; left out when unknown."
    )
    cache_creation_tokens: Int32 | None = Field(
        default=None, exclude_if=_is_none, description="Tokens written to a cache; left out when unknown."
    )


class Session(_Model):
    """One conversation with one agent."""

    id: str = Field(pattern=SESSION_ID, examples=["session_01933b5a00007000800000000000001"])
    organization_id: str = Field(pattern=ORGANIZATION_ID, examples=["org_00000000000000000000000000000001"])
    agent_id: str = Field(pattern=AGENT_ID, examples=["agent_01933b5a00007000800000000000001"])
    status: Literal["started", "active", "idle"] = Field(
        description="`started`: created and no turn yet; `active`: a turn is running; `idle`: waiting for input."
    )
    created_at: Timestamp = Field(description="When the session was created.")
    updated_at: Timestamp = Field(description="When the session last changed.")
    started_at: Timestamp | None = Field(default=None, description="When its first turn started.")
    finished_at: Timestamp | None = Field(default=None, description="When it finished.")
    title: str | None = Field(default=None, description="A title for people.")
    preview: str | None = Field(default=None, description="The first message of the user, truncated.")
    output_preview: str | None = Field(default=None, description="The last message of the assistant, truncated.")
    model_id: str | None = Field(
        default=None, pattern=MODEL_ID, description="A model that takes the place of the agent's own."
    )
    tags: Annotated[list[str], BeforeValidator(_empty_when_none)] = Field(default=[], description="Free labels.")
    capabilities: Annotated[list[Capability], BeforeValidator(_empty_when_none)] = Field(
        default=[], description="Capabilities besides those of the agent."
    )
    usage: Usage | None = Field(default=None, description="Tokens used so far; null before the first turn.")


class Page(_Model):
    """Some entries of the list, newest first, and how many there are in all."""

    data: list[Session]
    total: int = Field(
        ge=0, description="How many entries match, across all pages.", json_schema_extra={"format": "int32"}
    )
    offset: Int32 = Field(description="How many entries were skipped.")
    limit: Int32 = Field(description="How many entries were returned at most.")


class PageRequest(NamedTuple):
    """The query parameters of a request, checked."""

    agent_id: str | None = None
    offset: int = 0
    limit: int = LIMIT_DEFAULT


class ErrorDetail(_Model):
    """A stable code for programs and a sentence for people."""

    code: str
    message: str


class Error(_Model):
    """The body of every answer that is not 200."""

    error: ErrorDetail


PARAMETERS: Final = {
    "agent_id": "an agent's id: agent_ and 31 or 32 lower-case hexadecimal digits",
    "offset": f"a whole number from 0 to {INT32_MAX}",
    "limit": f"a whole number from 1 to {LIMIT_MAX}",
}
"""Every query parameter there is, and what it accepts, in the words of the error message."""

_DIGITS = re.compile(r"[0-9]{1,10}")  # as many as int32 has; more is refused before it is read as a number


def page_request(query: Mapping[str, Sequence[str]]) -> PageRequest:
    """The page that a query string asks for.

    An empty value and the literal `null` mean that the parameter was not given.

    Args:
        query: every value of every parameter, decoded.

    Raises:
        InvalidParameter: unknown, repeated, malformed or out of range.
    """
    for name, values in query.items():
        if name not in PARAMETERS:
            raise InvalidParameter(f"There is no parameter {name[:64]!r}; there are {', '.join(PARAMETERS)}.")
        if len(values) > 1:
            raise InvalidParameter(f"{name} was given {len(values)} times; it is given once or not at all.")
    given = {name: value for name, (value,) in query.items() if value not in ("", "null")}
    agent_id = given.get("agent_id")
    if agent_id is not None and re.fullmatch(AGENT_ID_FILTER[1:-1], agent_id) is None:
        raise _not_accepted("agent_id")
    return PageRequest(
        agent_id=agent_id,
        offset=_number(given, "offset", default=0, least=0, most=INT32_MAX),
        limit=_number(given, "limit", default=LIMIT_DEFAULT, least=1, most=LIMIT_MAX),
    )


def _number(given: Mapping[str, str], name: str, *, default: int, least: int, most: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    if _DIGITS.fullmatch(text) is None or not least <= int(text) <= most:
        raise _not_accepted(name)
    return int(text)


def _not_accepted(name: str) -> InvalidParameter:
    return InvalidParameter(f"{name} must be {PARAMETERS[name]}.")
