"""What clients send and get: the fields and parameters of the published contract, without a word of AWS.

Source: section 'GET /v1/sessions' of the platform's API; `docs/openapi.json` is generated from here.
Fields are written in pydantic's own core schemas rather than as models: making models takes a third of a cold
start, and checking entries into them twice the CPU that plain dicts take.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

from pydantic_core import SchemaValidator, core_schema

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
    r"(\d{4}-\d{2}-\d{2})[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(\.\d+)?(?:[Zz]|([+-](?:[01]\d|2[0-3]):[0-5]\d))",
    re.ASCII,
)

_STORED = re.compile(r"\d{4}-\d{2}-\d{2}T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z", re.ASCII)


def utc_timestamp(text: str) -> str:
    """An RFC 3339 date-time in the one stored form: UTC, microseconds, `2026-11-23T16:41:46.463925Z`.

    Digits beyond microseconds are cut off; a leap second is the second after it, as in POSIX time.

    Raises:
        ValueError: not an RFC 3339 date-time, or not a date of the calendar.
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


def _field(kind: core_schema.CoreSchema, description: str, *, required: bool = False) -> core_schema.TypedDictField:
    """A field of the answer; its words are for the OpenAPI document."""
    words = {"pydantic_js_updates": {"description": description}}
    return core_schema.typed_dict_field(kind, required=required, metadata=words)


def _id(pattern: str, example: str) -> core_schema.TypedDictField:
    """A required field that holds an id."""
    words = {"pydantic_js_updates": {"examples": [example]}}
    return core_schema.typed_dict_field(core_schema.str_schema(pattern=pattern), required=True, metadata=words)


def _or_null(kind: core_schema.CoreSchema, description: str) -> core_schema.TypedDictField:
    """A field that is null when it has no value."""
    return _field(core_schema.with_default_schema(core_schema.nullable_schema(kind), default=None), description)


def _listed(kind: core_schema.CoreSchema, description: str) -> core_schema.TypedDictField:
    """A field that is an empty array when it has no value."""
    array = core_schema.no_info_before_validator_function(_empty_when_none, core_schema.list_schema(kind))
    return _field(core_schema.with_default_schema(array, default_factory=list), description)


_TEXT: Final = core_schema.str_schema()
_TIMESTAMP: Final = core_schema.no_info_after_validator_function(
    utc_timestamp, _TEXT, metadata={"pydantic_js_updates": {"format": "date-time"}}
)
_INT32: Final = core_schema.int_schema(ge=0, le=INT32_MAX, metadata={"pydantic_js_updates": {"format": "int32"}})

_STRICT: Final = core_schema.CoreConfig(strict=True)
"""A text in the place of a number is a broken entry and not a number. Each typed dict needs it anew."""

CAPABILITY: Final = core_schema.typed_dict_schema(
    {
        "ref": _field(_TEXT, "Reference to the capability.", required=True),
        "config": _field(core_schema.any_schema(), "Configuration of the capability; present only when stored."),
    },
    config=_STRICT,
    ref="Capability",
)
"""A capability that a session adds to those of its agent."""

USAGE: Final = core_schema.no_info_after_validator_function(
    _without_none,
    core_schema.typed_dict_schema(
        {
            "input_tokens": _field(_INT32, "Input tokens.", required=True),
            "output_tokens": _field(_INT32, "Output tokens.", required=True),
            "cache_read_tokens": _field(
                core_schema.nullable_schema(_INT32), "Tokens read from a cache; left out when unknown."
            ),
            "cache_creation_tokens": _field(
                core_schema.nullable_schema(_INT32), "Tokens written to a cache; left out when unknown."
            ),
        },
        config=_STRICT,
    ),
    ref="Usage",
)
"""Tokens that a session has used so far. A released client loses the whole page on a cache count of null."""

SESSION: Final = core_schema.typed_dict_schema(
    {
        "id": _id(SESSION_ID, "session_01933b5a00007000800000000000001"),
        "organization_id": _id(ORGANIZATION_ID, "org_00000000000000000000000000000001"),
        "agent_id": _id(AGENT_ID, "agent_01933b5a00007000800000000000001"),
        "status": _field(
            core_schema.literal_schema(["started", "active", "idle"]),
            "`started`: created and no turn yet; `active`: a turn is running; `idle`: waiting for input.",
            required=True,
        ),
        "created_at": _field(_TIMESTAMP, "When the session was created.", required=True),
        "updated_at": _field(_TIMESTAMP, "When the session last changed.", required=True),
        "started_at": _or_null(_TIMESTAMP, "When its first turn started."),
        "finished_at": _or_null(_TIMESTAMP, "When it finished."),
        "title": _or_null(_TEXT, "A title for people."),
        "preview": _or_null(_TEXT, "The first message of the user, truncated."),
        "output_preview": _or_null(_TEXT, "The last message of the assistant, truncated."),
        "model_id": _or_null(
            core_schema.str_schema(pattern=MODEL_ID), "A model that takes the place of the agent's own."
        ),
        "tags": _listed(_TEXT, "Free labels."),
        "capabilities": _listed(CAPABILITY, "Capabilities besides those of the agent."),
        "usage": _or_null(USAGE, "Tokens used so far; null before the first turn."),
    },
    config=_STRICT,
)
"""One conversation with one agent; every field is in every answer, in this order."""

_session = SchemaValidator(SESSION)

Session = dict[str, Any]
"""A checked entry, as it is answered."""


def session_of(entry: Mapping[str, Any], extra: Literal["ignore", "forbid"] = "ignore") -> Session:
    """The entry as the contract has it: every field, and times in UTC.

    Raises:
        pydantic_core.ValidationError: a field is missing or has another form, or is none of the contract's
            while extra ones are forbidden.
    """
    session: Session = _session.validate_python(entry, extra=extra)
    return session


class Page(NamedTuple):
    """Some entries of the list, newest first, and how many there are in all."""

    data: list[Session]
    total: int
    """Entries that match, across all pages."""
    offset: int
    limit: int


class PageRequest(NamedTuple):
    """The query parameters of a request, checked."""

    agent_id: str | None = None
    offset: int = 0
    limit: int = LIMIT_DEFAULT


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
