"""Checks that a response of DynamoDB is complete, undamaged JSON of its operation's shape.

botocore does not insist on the length of a body, accepts one whose checksum is wrong after a second try, and reads what
is not JSON as `{}`. Believed, such a response denies a live API key or shows another organization's page. Here it is a
fault that is worth another try, like a timeout.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from botocore.exceptions import BotoCoreError

RETRY_DELAY: Final = 0.05
"""Seconds before another try of a call whose response was damaged."""


class DamagedResponse(BotoCoreError):
    """A response with status 200 that is not what DynamoDB sent; the message says in what way."""

    fmt = "The response to {operation} was damaged: {reason}"


class ResponseChecks:
    """A handler of botocore's event `needs-retry`, which is emitted after every try of a call."""

    def __init__(self, attempts: int) -> None:
        """
        Args:
            attempts: tries of one call.
        """
        self._attempts = attempts

    def __call__(self, response: Any, operation: Any, attempts: int, **_: Any) -> float | None:
        """Seconds before another try, or None for a valid response.

        Raises:
            DamagedResponse: it was the last try.
        """
        if response is None or response[0].status_code != 200:
            return None  # a fault that botocore has noticed
        reason = find_damage(operation.name, response[0].headers, response[0].content, response[1])
        if reason is None:
            return None
        if attempts < self._attempts:
            return RETRY_DELAY
        raise DamagedResponse(operation=operation.name, reason=reason)


def find_damage(operation: str, headers: Mapping[str, str], body: bytes, parsed: Mapping[str, Any]) -> str | None:
    """What is wrong with a response, or None.

    Args:
        parsed: what the parser read.
    """
    length, checksum = headers.get("content-length"), headers.get("x-amz-crc32")
    if length is not None and length != str(len(body)):
        return f"{len(body)} of {length} bytes"
    if checksum is not None and checksum != str(zlib.crc32(body)):
        return "its checksum is wrong"
    if not (body.startswith(b"{") and body.rstrip().endswith(b"}")) or "ResponseMetadata" not in parsed:
        return "not a JSON object"
    has_shape = _SHAPES.get(operation)
    return None if has_shape is None or has_shape(parsed) else "not of the operation's shape"


def _is_query(parsed: Mapping[str, Any]) -> bool:
    items = parsed.get("Items")
    if not _is_count(parsed.get("Count")) or not _is_count(parsed.get("ScannedCount")):
        return False
    return items is None or (_are_items(items) and len(items) == parsed["Count"])


def _is_get_item(parsed: Mapping[str, Any]) -> bool:
    return "Item" not in parsed or _are_items([parsed["Item"]])


def _is_batch_get_item(parsed: Mapping[str, Any]) -> bool:
    found = parsed.get("Responses")
    return isinstance(found, dict) and all(_are_items(items) for items in found.values())


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _are_items(items: Any) -> bool:
    return isinstance(items, list) and all(type(item) is dict for item in items)


_SHAPES: Final[dict[str, Callable[[Mapping[str, Any]], bool]]] = {
    "BatchGetItem": _is_batch_get_item,
    "GetItem": _is_get_item,
    "Query": _is_query,
}
"""By operation ('Actions' in the DynamoDB API reference); the others return nothing that is read."""
