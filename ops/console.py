"""What long work shows on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Final, Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

SECONDS: Final = 5.0
"""Between two plain lines."""


class Shown:
    """Progress of one piece of work, step by step; called with what is done, how many are, and of how many."""

    def __init__(self) -> None:
        # Asked here, since rich believes FORCE_COLOR, which pipelines set, that a log is a terminal.
        self.is_terminal = sys.stderr.isatty()
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not self.is_terminal,
        )
        self._steps: dict[str, TaskID] = {}
        self._next_line_at = time.monotonic() + SECONDS

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def __call__(self, what: str, done: int, of: int | None) -> None:
        if self.is_terminal:
            if what not in self._steps:
                self._steps[what] = self._bar.add_task(what, total=of)
            self._bar.update(self._steps[what], completed=done, total=of)
        elif time.monotonic() >= self._next_line_at:
            self._next_line_at = time.monotonic() + SECONDS
            click.echo(f"{what}: {done:,}" + (f" of {of:,}" if of is not None else ""), err=True)

    def say(self, line: str) -> None:
        """A line of text, above the bar if there is one."""
        if self.is_terminal:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(line, err=True)
