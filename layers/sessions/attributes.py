"""DynamoDB's attribute values in Python types ('Supported data types' in the DynamoDB developer guide).

boto3's TypeDeserializer returns Decimal and Binary objects, which JSON does not have, at several times the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from sessions.schema import Item

NUMBER_DIGITS: Final = 38
"""Significant digits of DynamoDB's numbers ('Supported data types and naming rules in DynamoDB')."""


class Binary:
    """A binary value as its base64 text; a type of its own, so that validation never takes it for a string."""

    __slots__ = ("base64",)

    def __init__(self, base64: str) -> None:
        self.base64 = base64


def binary_text(value: object) -> str:
    """Return the base64 text of a binary value, for a JSON serializer's fallback.

    Raises:
        TypeError: the value is not binary.
    """
    if isinstance(value, Binary):
        return value.base64
    raise TypeError(f"JSON has no type {type(value).__name__}")


def from_item(attributes: Item) -> dict[str, Any]:
    """Return an item, or a map inside one, in Python types."""
    # Most values are strings; a function call for each would dominate the cost.
    return {name: value["S"] if "S" in value else from_attribute(value) for name, value in attributes.items()}


def from_attribute(value: dict[str, Any]) -> Any:
    """Return an attribute value in Python types: sets as lists, integers of up to 38 digits exact, others as floats."""
    ((kind, content),) = value.items()
    return _FROM[kind](content)


def _number(text: str) -> int | float:
    digits = text.removeprefix("-")
    if digits.isdigit() and len(digits) <= NUMBER_DIGITS:
        return int(text)
    number = Decimal(text)  # some engines return 1E+3 or 5.0 as written
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
