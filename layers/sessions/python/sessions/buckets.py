"""Names of the count buckets and their order: pure functions on text.

Sort keys of the indexes begin with a fixed-width UTC timestamp (`2026-11-23T16:41:46.463925Z`), so a
text prefix of them is a span of time, and text order is time order. A bucket is named by its level
and that prefix: `M2026-11`, `H2026-11-23T16`, `N2026-11-23T16:41`.
"""

from typing import Final

MONTH: Final = "M"
HOUR: Final = "H"
MINUTE: Final = "N"

LEVELS: Final = (MONTH, HOUR, MINUTE)
"""Coarse to fine."""

LAST_CHARACTER: Final = "\U0010ffff"
BEFORE_SURROGATES: Final = "\ud7ff"
AFTER_SURROGATES: Final = "\ue000"
"""Between these two lies what is no text by itself and cannot be sent (the Unicode standard, section 3.8)."""

WIDTH: Final = {MONTH: len("2026-11"), HOUR: len("2026-11-23T16"), MINUTE: len("2026-11-23T16:41")}
"""How many characters of the sort key a bucket of each level stands for."""


def buckets_of(created_at_id: str) -> tuple[str, ...]:
    """The buckets that count an entry, coarse to fine, from its sort key in the indexes."""
    return tuple(level + created_at_id[: WIDTH[level]] for level in LEVELS)


def prefix_of(bucket: str) -> str:
    """The text that every sort key in the bucket begins with."""
    return bucket[1:]


def is_whole(bucket: str) -> bool:
    """Whether the bucket is named by a span of time; one of shorter sort keys holds entries of one and the same key."""
    return len(prefix_of(bucket)) == WIDTH[bucket[0]]


def above(bucket: str) -> str:
    """The least text above every sort key in the bucket."""
    return after(prefix_of(bucket)) if is_whole(bucket) else prefix_of(bucket) + "\0"


def after(prefix: str) -> str:
    """The least text above every sort key that begins with the prefix, whatever a writer has put there."""
    last = prefix[-1]
    if last == LAST_CHARACTER:
        return after(prefix[:-1])
    return prefix[:-1] + (AFTER_SURROGATES if last == BEFORE_SURROGATES else chr(ord(last) + 1))
