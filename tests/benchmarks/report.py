"""Tables of figures on the terminal and in `docs/`, and the machine they were measured on."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from tests.service import ROOT

DOCUMENT: Final = ROOT / "docs" / "benchmarks.md"


class Table(NamedTuple):
    """Figures with a name for each column."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: str = ""

    @property
    def markdown(self) -> str:
        def is_numeric(column: int) -> bool:
            return all(re.fullmatch(r"[\d.,-]+", row[column]) for row in self.rows)

        aligned = ["---:" if is_numeric(number) else "---" for number in range(len(self.columns))]
        lines = [f"| {' | '.join(cells)} |" for cells in (self.columns, aligned, *self.rows)]
        return "\n".join([f"**{self.title}**", "", *lines, *(["", self.notes] if self.notes else [])])


class Goal(NamedTuple):
    """A figure that must not exceed a limit."""

    name: str
    most: float
    measured: float

    @property
    def is_met(self) -> bool:
        return self.measured <= self.most


def finish(section: str, goals: Sequence[Goal], tables: Sequence[Table], *, is_complete: bool) -> None:
    """Print goals and tables, and write those of a complete run into the document; see `end`."""
    if is_complete:
        publish(section, [goals_table(goals), *tables])
    end(goals, tables)


def end(goals: Sequence[Goal], tables: Sequence[Table]) -> None:
    """Print goals and tables, and exit with status 1 if a goal is missed."""
    print("\n\n".join(table.markdown for table in (goals_table(goals), *tables)))
    if not all(goal.is_met for goal in goals):
        sys.exit("Not every goal is met.")


def goals_table(goals: Sequence[Goal]) -> Table:
    """Return the goals as a table."""
    rows = [(goal.name, f"{goal.most:g}", f"{goal.measured:.3g}", "yes" if goal.is_met else "NO") for goal in goals]
    return Table("Goals", ("goal", "at most", "measured", "met"), rows)


def publish(section: str, tables: Sequence[Table], document: Path = DOCUMENT, origin: str = "") -> None:
    """Put tables into a document in the place of what the section had before.

    Args:
        section: its name in the document's comments.
        tables: what to write.
        document: the document.
        origin: a sentence on where the figures come from; if empty, the machine they were measured on.
    """
    body = "\n\n".join([origin or f"Measured on {machine()}.", *(table.markdown for table in tables)])
    begins, ends = f"<!-- {section}: begins; written by make bench -->", f"<!-- {section}: ends -->"
    before, rest = document.read_text().split(begins)
    after = rest.split(ends)[1]
    document.write_text(f"{before}{begins}\n\n{body}\n\n{ends}{after}")


def machine() -> str:
    """Return the machine, the interpreter and the day."""
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    processor = found[1] if found else platform.machine()
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"


def whole(number: float) -> str:
    """Return a count with separators."""
    return f"{number:,.0f}"


def say(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)
