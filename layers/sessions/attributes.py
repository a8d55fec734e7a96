"""DynamoDB's attribute values to and from Python ('Data types' in the DynamoDB developer guide)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sessions.schema import Item

NUMBER_DIGITS: Final = 38
"""Significant digits of DynamoDB's numbers ('Supported data types and naming rules in DynamoDB')."""


class Binary:
    """A binary value, which JSON does not have: valid only inside a configuration, as the base64 text that it
    travels as. A type of its own, so that it is never taken for a string."""

    __slots__ = ("base64",)

    def __init__(self, base64: str) -> None:
        self.base64 = base64


def binary_text(value: object) -> str:
    """What JSON shows of a binary value.

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, Binary):
        return value.base64
    raise TypeError(f"JSON has no type {type(value).__name__}")


def from_item(attributes: Item) -> dict[str, Any]:
    """An item, or a map within one, in Python's types."""
    # Most values are strings, and a call for each of them would cost more than all the rest.
    return {name: value["S"] if "S" in value else from_attribute(value) for name, value in attributes.items()}


def from_attribute(value: dict[str, Any]) -> Any:
    """An attribute value in Python's types; sets become lists.

    Integers of up to 38 digits stay exact, other numbers become floats.
    """
    ((kind, content),) = value.items()
    return _FROM[kind](content)


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


def _number(text: str) -> int | float:
    digits = text.removeprefix("-")
    if digits.isdigit() and len(digits) <= NUMBER_DIGITS:
        return int(text)
    from decimal import Decimal  # rarely needed, and slow to import

    number = Decimal(text)  # engines that do not normalise return '1E+3' or '5.0' as they got it
    if number == number.to_integral_value() and number.adjusted() < NUMBER_DIGITS:
        return int(number)
    return float(text)


def _identity(content: Any) -> Any:
    return content


_FROM: Final[dict[str, Callable[[Any], Any]]] = {
    "S": _identity,
    "N": _number,
    "BOOL": _identity,
    "NULL": lambda _: None,
    "M": from_item,
    "L": lambda content: [value["S"] if "S" in value else from_attribute(value) for value in content],
    "SS": _identity,
    "NS": lambda content: [_number(number) for number in content],
    "B": Binary,
    "BS": lambda content: [Binary(each) for each in content],
}
