"""Sessions on their way into the table and out of it: JSON to items, as strictly as the contract, and items to JSON.

What DynamoDB would refuse or change is refused here, and so is what the contract does not have: it would be lost.
Numbers keep every digit on the way in and out, so that what was exported is what is loaded.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, InvalidOperation
from typing import Any, Final

from pydantic import ValidationError

from sessions.attributes import NUMBER_DIGITS, from_item
from sessions.contract import ID_PATTERNS, Session, read_session
from sessions.schema import CREATED_AT, CREATED_AT_ID, ORGANIZATION_AGENT, Item, composed

YEARS: Final = range(2000, 2100)
"""Accepted creation years; others are usually seconds taken for milliseconds."""

ITEM_BYTES: Final = 400 * 1024
"""Size of an item, names of attributes included ('Quotas in Amazon DynamoDB')."""

LEVELS: Final = 32
"""Lists and maps in one another, the attribute's own included ('Quotas in Amazon DynamoDB', nested attributes)."""

NUMBER_MIN: Final = Decimal("1E-130")
NUMBER_MAX: Final = Decimal("9.9999999999999999999999999999999999999E+125")
"""Magnitudes of a number ('Quotas in Amazon DynamoDB', number)."""

LINE_BYTES: Final = 4 * 1024 * 1024
"""A longer line is no entry: an item's 400 kB are at most 2.4 MB as JSON, which writes one byte as six at most."""

_TOO_DEEP: Final = f"nested more than {LEVELS} levels deep, which DynamoDB does not store"
_TOO_LONG: Final = f"a number has more than {NUMBER_DIGITS} significant digits, which DynamoDB does not store"
_OUT_OF_RANGE: Final = "a number is outside DynamoDB's range, 1E-130 to 9.99E+125"


class InvalidLine(Exception):
    """A line or an item is not a Session, or cannot be stored as it is; the message says why."""


_EXACT: Final = Context(prec=NUMBER_DIGITS, Emax=MAX_EMAX, Emin=MIN_EMIN)


class ExactFloat(float):
    """A float that is written with every digit that it was read with, up to those that DynamoDB stores."""

    _text: str

    def __new__(cls, text: str) -> ExactFloat:
        self = super().__new__(cls, text)
        number = Decimal(text)
        if _significant_digits(number) > NUMBER_DIGITS:
            number = Decimal(float.__repr__(self))
        self._text = str(number.normalize(_EXACT)) if number else "0"
        return self

    def __repr__(self) -> str:
        return self._text


# --------------------------------------------------------------------------------------- JSON to items


def parse_line(text: bytes) -> Any:
    """The JSON of a line, exact: no number that JSON does not have, and no key that would hide another.

    Raises:
        InvalidLine: it is not UTF-8 or not JSON, or has a key twice.
    """
    if len(text) > LINE_BYTES:
        raise InvalidLine(f"longer than {LINE_BYTES} bytes, and so than any entry")
    try:
        return _decoder.decode(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidLine(f"not UTF-8: byte {error.start + 1} is {text[error.start]:#04x}") from None
    except json.JSONDecodeError as error:
        raise InvalidLine(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise InvalidLine(_TOO_DEEP) from None
    except InvalidOperation:  # an exponent of more than 18 digits
        raise InvalidLine(_OUT_OF_RANGE) from None
    except ValueError:  # Python reads integers of at most 4,300 digits
        raise InvalidLine(_TOO_LONG) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise InvalidLine(f"{_printable(twice)}: given twice")
    return members


def _constant(name: str) -> Any:
    raise InvalidLine(f"not JSON: {name}")


_decoder: Final = json.JSONDecoder(object_pairs_hook=_object, parse_float=ExactFloat, parse_constant=_constant)


def item_of(entry: Any) -> Item:
    """What the sessions table stores for a line: a Session of the contract, or an item of DynamoDB's own export.

    Raises:
        InvalidLine: it is neither, or DynamoDB cannot store it unchanged.
    """
    if not isinstance(entry, Mapping):
        raise InvalidLine("not a JSON object")
    is_exported = entry.keys() == {"Item"}
    try:
        item = _exported_item(entry["Item"]) if is_exported else session_item(entry)
        for value in item.values():
            _check(value, LEVELS)
        size = item_bytes(item)
    except UnicodeEncodeError:
        raise InvalidLine("half of a surrogate pair, which is not a character") from None
    except RecursionError:
        raise InvalidLine(_TOO_DEEP) from None
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        if is_exported:
            raise InvalidLine('not an item in DynamoDB\'s JSON, {"id": {"S": "..."}, ...}') from None
        raise
    if size > ITEM_BYTES:
        raise InvalidLine(f"{size} bytes as DynamoDB counts them, more than the {ITEM_BYTES} of an item")
    return item


def session_item(entry: Mapping[str, Any]) -> Item:
    """A Session of the contract as an item.

    Times take the one stored form, absent and null fields are left out, and the two composed attributes are added.

    Raises:
        InvalidLine: it is not a Session.
    """
    if "NewImage" in entry or "OldImage" in entry:
        raise InvalidLine("a change of an incremental export; a full export has the sessions")
    session = _checked(entry, extra="forbid")
    return to_item({name: value for name, value in session.items() if value is not None}) | _composed(session)


def _exported_item(item: Any) -> Item:
    """An item of DynamoDB's export to S3, with every attribute that it has.

    Raises:
        InvalidLine: it is not a Session, or its keys contradict its fields.
        ArithmeticError, AttributeError, KeyError, TypeError, ValueError: it is not an item.
    """
    session = _checked(from_item(item), extra="ignore")
    _compare_keys(session, item)
    stored = {name: _with_bytes(value) for name, value in item.items()}
    return stored | {CREATED_AT: {"S": session["created_at"]}} | _composed(session)


def _compare_keys(session: Session, item: Item) -> None:
    for name, value in _composed(session).items():
        if item.get(name, value) != value:
            raise InvalidLine(f"{name} contradicts the fields that it is composed of")


def _composed(session: Session) -> Item:
    return {
        ORGANIZATION_AGENT: {"S": composed(session["organization_id"], session["agent_id"])},
        CREATED_AT_ID: {"S": composed(session["created_at"], session["id"])},
    }


def _checked(values: Mapping[str, Any], extra: Any) -> Session:
    try:
        session = read_session(values, extra=extra)
    except ValidationError as error:
        raise InvalidLine("; ".join(_complaint(dict(fault)) for fault in error.errors(include_url=False))) from None
    for name, pattern in ID_PATTERNS.items():
        value = session.get(name)
        if value is not None and re.fullmatch(pattern[1:-1], str(value)) is None:
            raise InvalidLine(f"{name}: not of the form {pattern[1:-1]}")
    if int(session["created_at"][:4]) not in YEARS:
        raise InvalidLine(f"created_at: not within the years {YEARS[0]} to {YEARS[-1]}")
    return session


def _complaint(fault: dict[str, Any]) -> str:
    if fault["type"] == "extra_forbidden":
        fault["msg"] = "the contract has no such field"
    where = ".".join(_printable(str(part)) for part in fault["loc"])
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}"


def _printable(name: str) -> str:
    """A field's name for a message: short, and nothing in it that a terminal would obey or could not show."""
    return re.sub(r"[^ -~]", "?", name)[:64]


def _with_bytes(value: Any) -> Any:
    """An attribute value as botocore takes it: binary values as bytes, which an export has in base64."""
    ((kind, content),) = value.items()
    match kind:
        case "B":
            return {kind: base64.b64decode(content, validate=True)}
        case "BS":
            return {kind: [base64.b64decode(each, validate=True) for each in content]}
        case "L":
            return {kind: [_with_bytes(each) for each in content]}
        case "M":
            return {kind: {name: _with_bytes(each) for name, each in content.items()}}
    return value


def _check(value: dict[str, Any], levels: int) -> None:
    """Refuses what DynamoDB does not store.

    Args:
        levels: how many lists and maps may still be in one another.
    """
    ((kind, content),) = value.items()
    match kind:
        case "N":
            _check_number(content)
        case "NS":
            for each in content:
                _check_number(each)
        case "L" | "M":
            if levels == 0:
                raise InvalidLine(_TOO_DEEP)
            for inner in content if kind == "L" else content.values():
                _check(inner, levels - 1)


def _check_number(text: str) -> None:
    number = Decimal(text)
    if not number.is_finite():
        raise InvalidLine("a number is infinite or not a number, which JSON does not have")
    if number and not NUMBER_MIN <= number.copy_abs() <= NUMBER_MAX:
        raise InvalidLine(_OUT_OF_RANGE)
    if _significant_digits(number) > NUMBER_DIGITS:
        raise InvalidLine(_TOO_LONG)


def _significant_digits(number: Decimal) -> int:
    """Digits without the zeros at either end."""
    return len("".join(map(str, number.as_tuple().digits)).strip("0"))


def item_bytes(item: Item) -> int:
    """The size of an item ('DynamoDB item sizes and formats'); of numbers DynamoDB says it only roughly."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: dict[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "B":
            return len(content)
        case "N":
            return 1 + (_significant_digits(Decimal(content)) + 1) // 2 + int(content.startswith("-"))
        case "L":
            return 3 + sum(1 + _value_bytes(inner) for inner in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _value_bytes(inner) for name, inner in content.items())
        case "SS" | "NS" | "BS":
            return sum(_value_bytes({kind[0]: each}) for each in content)
    return 1


# --------------------------------------------------------------------------------------- items to JSON


def session_line(item: Item) -> str:
    """An item as one line of JSON: every field of the contract, and nothing else.

    Raises:
        InvalidLine: it is not a Session, or its keys contradict its fields.
    """
    try:
        session = read_session(from_item(item))
    except ValidationError as error:
        raise InvalidLine("; ".join(_complaint(dict(fault)) for fault in error.errors(include_url=False))) from None
    _compare_keys(session, item)
    fields = {name: json.dumps(value, ensure_ascii=False) for name, value in session.items() if name != "capabilities"}
    # Only configurations have numbers that lose digits as floats.
    given = item.get("capabilities", {}).get("L", [])
    kept = ({name: value for name, value in each["M"].items() if name in ("ref", "config")} for each in given)
    fields["capabilities"] = json_text({"L": [{"M": each} for each in kept]})
    return "{" + ",".join(f'"{name}":{fields[name]}' for name in session) + "}"


def json_text(value: dict[str, Any]) -> str:
    """An attribute value as JSON: numbers with every digit, sets as arrays, binary values as base64 text."""
    ((kind, content),) = value.items()
    match kind:
        case "N":
            return str(Decimal(content))  # engines that do not normalise have numbers that JSON does not
        case "NULL":
            return "null"
        case "B":
            return json.dumps(base64.b64encode(content).decode())
        case "L":
            return "[" + ",".join(map(json_text, content)) + "]"
        case "M":
            members = (f"{json.dumps(name, ensure_ascii=False)}:{json_text(each)}" for name, each in content.items())
            return "{" + ",".join(members) + "}"
        case "SS" | "NS" | "BS":
            return "[" + ",".join(json_text({kind[0]: each}) for each in content) + "]"
    return json.dumps(content, ensure_ascii=False)  # S and BOOL


def to_attribute(value: Any) -> dict[str, Any]:
    """A value of JSON as an attribute value.

    Raises:
        TypeError: JSON has no such type.
    """
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int() | float():
            return {"N": repr(value)}
        case Mapping():
            return {"M": to_item(value)}
        case list():
            return {"L": [to_attribute(inner) for inner in value]}
    raise TypeError(f"JSON has no type {type(value).__name__}")


def to_item(values: Mapping[str, Any]) -> Item:
    """A JSON object as an item, or as a map within one."""
    return {name: to_attribute(value) for name, value in values.items()}
