"""What long work shows on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

LINE_SECONDS: Final = 5.0
"""Between two plain lines."""

OnProgress = Callable[[str, int, int | None], None]
"""Told what is being done, how many are done, and about how many there are, where that is known."""


def silent(_what: str, _done: int, _total: int | None) -> None:
    """Shows nothing."""


class Progress:
    """Progress of one command, step by step."""

    def __init__(self) -> None:
        # Asked here, since rich believes FORCE_COLOR, which pipelines set, that a log is a terminal.
        self.is_terminal = sys.stderr.isatty()
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not self.is_terminal,
        )
        self._steps: dict[str, TaskID] = {}
        self._next_line_at = time.monotonic() + LINE_SECONDS

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        total = None if total is None else max(total, done)  # a table knows only roughly how many items it has
        if self.is_terminal:
            if what not in self._steps:
                self._steps[what] = self._bar.add_task(what, total=total)
            self._bar.update(self._steps[what], completed=done, total=total)
        elif time.monotonic() >= self._next_line_at:
            self._next_line_at = time.monotonic() + LINE_SECONDS
            click.echo(f"{what}: {done:,}" + (f" of {total:,}" if total is not None else ""), err=True)

    def say(self, line: str) -> None:
        """A line of text, above the bar if there is one."""
        if self.is_terminal:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(line, err=True)
