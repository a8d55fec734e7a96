"""Tables of figures on the terminal and in `docs/`, and the machine they were measured on."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.service import ROOT

DOCUMENT: Final = ROOT / "docs" / "benchmarks.md"


class Table(NamedTuple):
    """Figures with a name for each column."""

    title: str
    columns: Mapping[str, str]
    """How each column's cells are formatted; numbers, which have a format, stand on the right."""
    rows: Sequence[Sequence[Any]]
    notes: str = ""

    @property
    def markdown(self) -> str:
        formats = list(self.columns.values())
        aligned = ["---:" if each else "---" for each in formats]
        cells = [
            ["-" if cell is None else format(cell, formats[place]) for place, cell in enumerate(row)]
            for row in self.rows
        ]
        lines = [f"| {' | '.join(each)} |" for each in (self.columns, aligned, *cells)]
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
    """Print goals and tables, and write those of a complete run into docs/benchmarks.md; see `end`."""
    rows = [(*goal, "yes" if goal.is_met else "NO") for goal in goals]
    tables = [Table("Goals", {"goal": "", "at most": "g", "measured": ".3g", "met": ""}, rows), *tables]
    if is_complete:
        publish(section, f"Measured on {machine()}.", tables)
    end(goals, tables)


def end(goals: Sequence[Goal], tables: Sequence[Table]) -> None:
    """Print tables, and exit with status 1 if a goal is missed."""
    print("\n\n".join(table.markdown for table in tables))
    missed = [goal for goal in goals if not goal.is_met]
    if missed:
        sys.exit(f"Not every goal is met: {missed}")


def publish(section: str, origin: str, tables: Sequence[Table], document: Path = DOCUMENT) -> None:
    """Put tables, and a sentence on where they come from, in the place of what a document's section had before."""
    body = "\n\n".join([origin, *(table.markdown for table in tables)])
    begins, ends = f"<!-- {section}: begins; written by make bench -->", f"<!-- {section}: ends -->"
    before, rest = document.read_text().split(begins)
    after = rest.split(ends)[1]
    document.write_text(f"{before}{begins}\n\n{body}\n\n{ends}{after}")


def machine() -> str:
    """Return the machine, the interpreter and the day."""
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    processor = found[1] if found else platform.machine()
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"


def say(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)
