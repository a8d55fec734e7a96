"""A selection of the faults on the wire; `make proof` tries all of them, on every call."""

from __future__ import annotations

import pytest

from tests.faults.table import ROWS, SLOW, Row
from tests.faults.world import SUBJECTS, Subject, World, meet

CASES = [
    (row, subject, times)
    for number, row in enumerate(ROWS)
    for subject, times in (
        (SUBJECTS[number % 8], None),
        (SUBJECTS[(number + 3) % len(SUBJECTS)], 1),
    )
    if row.outcome != SLOW or times is None
]
"""Each fault at every try of one call and at the first try of another one."""


@pytest.mark.parametrize(
    ("number", "row", "subject", "times"),
    [(2 * number, *case) for number, case in enumerate(CASES)],
    ids=[f"{row.name}-{subject.name}-{'first' if times else 'all'}" for row, subject, times in CASES],
)
def test_a_fault_is_mended_or_told_as_what_it_is(
    world: World, number: int, row: Row, subject: Subject, times: int | None
) -> None:
    meet(world, row, subject, times, number)
