"""Lines of JSON to items of the sessions table, and back without loss.

A line is a Session of the contract, or an item in DynamoDB's own JSON, which keeps every attribute and digit.
What DynamoDB refuses, such as a number that is too long or an item that is too large, is left to boto3 and DynamoDB to
refuse. The checks here are those without which data would be lost or could not be read by clients.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from boto3.dynamodb.types import TypeSerializer
from pydantic import ValidationError

from sessions.attributes import from_item
from sessions.contract import AGENT_ID_FILTER, ID_PATTERNS, Session, read_session
from sessions.schema import AGENT_ID, CREATED_AT, CREATED_AT_ID, ORGANIZATION_AGENT, Item, composed

YEARS: Final = range(2000, 2100)
"""Accepted years of creation; other years usually come from seconds taken for milliseconds."""

LINE_BYTES: Final = 4 * 1024 * 1024
"""Length of the longest line. An item of 400 kB is at most 2.4 MB of JSON, which escapes one byte as six at most."""

PATTERNS: Final = {name: pattern.strip("^$") for name, pattern in (ID_PATTERNS | {AGENT_ID: AGENT_ID_FILTER}).items()}
"""Forms of ids. No client could ask for an agent whose id has another form than the filter accepts."""

TOO_DEEP: Final = "nested more deeply than DynamoDB stores"

_serializer: Final = TypeSerializer()


class InvalidLine(Exception):
    """A line is not a session, or cannot be stored without loss; the message says why."""


# --------------------------------------------------------------------------------------- lines to items


def parse_line(text: bytes) -> Any:
    """Return the JSON of a line, with exact numbers.

    Raises:
        InvalidLine: the line is too long, not UTF-8 or not JSON, or an object in it has a key twice.
    """
    if len(text) > LINE_BYTES:
        raise InvalidLine(f"longer than {LINE_BYTES} bytes, which no session is")
    try:
        return json.loads(text.decode(), object_pairs_hook=_unique_keys, parse_float=Decimal, parse_constant=Decimal)
    except UnicodeDecodeError as error:
        raise InvalidLine(f"not UTF-8: byte {error.start + 1} is {text[error.start]:#04x}") from None
    except json.JSONDecodeError as error:
        raise InvalidLine(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise InvalidLine(TOO_DEEP) from None
    except (ArithmeticError, ValueError):  # an exponent of 19 digits, an integer of more than 4,300
        raise InvalidLine("a number that DynamoDB does not store") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for number, name in enumerate(names) if name in names[:number])
        raise InvalidLine(f"{_printable(repeated)}: given twice")
    return members


def line_id(values: Any) -> str | None:
    """Return the session id of a parsed line, or None if there is none."""
    match values:
        case {"Item": {"id": {"S": str(session_id)}}} | {"id": {"S": str(session_id)}} | {"id": str(session_id)}:
            return session_id
    return None


def item_of(values: Any) -> Item:
    """Return the item that the sessions table stores for a parsed line.

    Args:
        values: a Session of the contract, or an item in DynamoDB's JSON, bare or as the member `Item` of an object.

    Raises:
        InvalidLine: it is neither, or cannot be stored without loss.
    """
    match values:
        case {"Item": item, **more} if not more:
            return _complete_item(item)
        case {"id": {}}:
            return _complete_item(values)
        case {"NewImage": _} | {"OldImage": _}:
            raise InvalidLine("a change of an incremental export; a full export has the sessions")
        case {}:
            return _new_item(values)
    raise InvalidLine("not a JSON object")


def _new_item(values: Mapping[str, Any]) -> Item:
    session = _validated(values, extra="forbid")
    try:
        item = {name: _serializer.serialize(value) for name, value in session.items() if value is not None}
    except ArithmeticError:
        raise InvalidLine("a number has more than 38 digits or is out of DynamoDB's range") from None
    except RecursionError:
        raise InvalidLine(TOO_DEEP) from None
    except TypeError as error:
        raise InvalidLine(str(error)) from None
    return item | _composed_keys(session)


def _complete_item(item: Any) -> Item:
    try:
        session = _validated(from_item(item), extra="ignore")
        stored = {name: _decode_binary(value) for name, value in item.items()}
    except RecursionError:
        raise InvalidLine(TOO_DEEP) from None
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        raise InvalidLine('not an item in DynamoDB\'s JSON, {"id": {"S": "..."}, ...}') from None
    keys = _composed_keys(session)
    for name, value in keys.items():
        if item.get(name, value) != value:
            raise InvalidLine(f"{name} contradicts the fields that it is composed of")
    return stored | {CREATED_AT: {"S": session["created_at"]}} | keys


def _composed_keys(session: Session) -> Item:
    return {
        ORGANIZATION_AGENT: {"S": composed(session["organization_id"], session["agent_id"])},
        CREATED_AT_ID: {"S": composed(session["created_at"], session["id"])},
    }


def _validated(values: Mapping[str, Any], extra: Any) -> Session:
    try:
        session = read_session(values, extra=extra)
    except ValidationError as error:
        raise InvalidLine("; ".join(_complaint(dict(fault)) for fault in error.errors(include_url=False))) from None
    for name, pattern in PATTERNS.items():
        value = session.get(name)
        if value is not None and re.fullmatch(pattern, str(value)) is None:
            raise InvalidLine(f"{name}: not of the form {pattern}")
    if int(session["created_at"][:4]) not in YEARS:
        raise InvalidLine(f"created_at: not within the years {YEARS[0]} to {YEARS[-1]}")
    return session


def _complaint(fault: dict[str, Any]) -> str:
    if fault["type"] == "extra_forbidden":
        fault["msg"] = "the contract has no such field"
    where = ".".join(_printable(str(part)) for part in fault["loc"])
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}"


def _printable(name: str) -> str:
    """Return a field's name for a message: short, and without control characters."""
    return re.sub(r"[^ -~]", "?", name)[:64]


def _decode_binary(value: Any) -> Any:
    """Return an attribute value with its base64 text decoded to bytes, which botocore expects."""
    ((kind, content),) = value.items()
    match kind:
        case "B":
            return {kind: base64.b64decode(content, validate=True)}
        case "BS":
            return {kind: [base64.b64decode(each, validate=True) for each in content]}
        case "L":
            return {kind: [_decode_binary(each) for each in content]}
        case "M":
            return {kind: {name: _decode_binary(each) for name, each in content.items()}}
    return value


# --------------------------------------------------------------------------------------- items to lines


def line_of(item: Item) -> tuple[bytes, str | None]:
    """Return an item as a line, and why `item_of` would refuse the line, or None.

    The line is a Session of the contract where `item_of` makes the same item of it. Otherwise, if the item has other
    attributes, a number that JSON readers would round, a set or a binary value, it is DynamoDB's JSON.
    """
    try:
        line = json.dumps(read_session(from_item(item)), ensure_ascii=False).encode()
        if _without_empty(item_of(parse_line(line))) == _without_empty(item):
            return line, None
    except (InvalidLine, TypeError, ValueError):
        pass
    line = json.dumps({"Item": item}, default=lambda value: base64.b64encode(value).decode()).encode()
    try:
        item_of(parse_line(line))
    except InvalidLine as error:
        return line, str(error)
    return line, None


def _without_empty(item: Item) -> Item:
    """Return the item without NULL and empty lists, which mean the same as an attribute that is missing."""
    return {name: value for name, value in item.items() if value not in ({"NULL": True}, {"L": []})}
