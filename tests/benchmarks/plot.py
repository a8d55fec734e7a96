"""The picture of the figures: `docs/bench-paging.svg`."""

from typing import NamedTuple


class Point(NamedTuple):
    """One size of a list: the dearest page by counts, and the same by walking."""

    sessions: int
    counted_units: float
    counted_ms: float
    walked_units: float
    walked_ms: float


def write(points: list[Point]) -> None:
    """Draw the points."""
