"""Tables on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table


def print_table(rows: Iterable[Sequence[str]], titles: Sequence[str] = ()) -> None:
    """Print rows of text in columns; only a terminal folds them to its width."""
    table = Table(box=None, pad_edge=False, show_header=bool(titles))
    for number, title in enumerate(titles):
        table.add_column(title, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else 500
    Console(markup=False, highlight=False, width=width).print(table)
