"""Tables of figures on the terminal and in `docs/`, and the machine they were measured on."""

import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table as RichTable

from tests.benchmarks.engine import ROOT

DOCUMENT: Final = ROOT / "docs" / "benchmarks.md"


class Table(NamedTuple):
    """Figures with a name for each column; numbers are aligned to the right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: str = ""


class Goal(NamedTuple):
    """What was to be reached, and what was measured."""

    what: str
    goal: str
    measured: str
    is_met: bool


def goals_table(goals: Sequence[Goal]) -> Table:
    """The goals, with a word on each."""
    rows = [(goal.what, goal.goal, goal.measured, "yes" if goal.is_met else "NO") for goal in goals]
    return Table("Goals", ("what", "goal", "measured", "met"), rows)


def show(*tables: Table) -> None:
    """Tables on the terminal."""
    console = Console(width=None if os.isatty(1) else 150)
    for table in tables:
        drawn = RichTable(title=table.title, title_justify="left", caption=table.notes or None, caption_justify="left")
        for number, column in enumerate(table.columns):
            drawn.add_column(column, justify="right" if _is_numeric(table, number) else "left")
        for row in table.rows:
            drawn.add_row(*row)
        console.print(drawn)


def publish(section: str, tables: Sequence[Table], document: Path = DOCUMENT, origin: str = "") -> None:
    """Put tables into a document, in the place of what the section had before.

    Args:
        origin: a sentence on where the figures come from; if empty, the machine they were measured on.
    """
    body = "\n\n".join([origin or f"Measured on {machine()}.", *map(_markdown, tables)])
    begins, ends = f"<!-- {section}: begins; written by make bench -->", f"<!-- {section}: ends -->"
    text = document.read_text()
    if begins not in text or ends not in text:
        raise ValueError(f"{document.name} has no section {section!r}")
    before, after = text.split(begins)[0], text.split(ends)[1]
    document.write_text(f"{before}{begins}\n\n{body}\n\n{ends}{after}")


def machine() -> str:
    """The machine, the interpreter and the day."""
    found = re.search(r"model name\s*:\s*(.+)", _text("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s*(\d+)", _text("/proc/meminfo"))
    parts = [
        found[1] if found else platform.processor() or platform.machine(),
        f"{os.cpu_count()} cores",
        *([f"{int(memory[1]) / 2**20:.0f} GB"] if memory else []),
        f"Python {platform.python_version()}",
        f"{datetime.now(UTC):%Y-%m-%d}",
    ]
    return ", ".join(parts)


def whole(number: float) -> str:
    """A count, with separators."""
    return f"{number:,.0f}"


def units(number: float) -> str:
    """Read units, which come in halves."""
    return f"{number:,.1f}"


def milliseconds(number: float) -> str:
    """A time, to three digits."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"


def _markdown(table: Table) -> str:
    aligned = ["---:" if _is_numeric(table, number) else "---" for number in range(len(table.columns))]
    lines = [f"**{table.title}**", ""]
    lines += [f"| {' | '.join(cells)} |" for cells in (table.columns, aligned, *table.rows)]
    return "\n".join([*lines, *(["", table.notes] if table.notes else [])])


def _is_numeric(table: Table, column: int) -> bool:
    return bool(table.rows) and all(re.fullmatch(r"[\d.,]*[\d-][^a-z]*", row[column]) for row in table.rows)


def _text(path: str) -> str:
    return Path(path).read_text() if Path(path).exists() else ""
