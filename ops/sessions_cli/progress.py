"""Progress of long work on standard error: a bar on a terminal, a line now and then elsewhere."""

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
"""Seconds between two plain lines."""

OnProgress = Callable[[str, int, int | None], None]
"""Called with the step, how many pieces of it are done, and about how many there are, or None."""


def silent(_step: str, _done: int, _total: int | None) -> None:
    """Show nothing."""


class Progress:
    """The progress of one command, step by step."""

    def __init__(self) -> None:
        # rich would take a pipeline's log for a terminal, since pipelines set FORCE_COLOR.
        self.is_terminal = sys.stderr.isatty()
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not self.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._next_line_at = time.monotonic() + LINE_SECONDS

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()

    def __call__(self, step: str, done: int, total: int | None) -> None:
        total = None if total is None else max(total, done)  # DynamoDB's count of items is old
        if self.is_terminal:
            if step not in self._tasks:
                self._tasks[step] = self._bar.add_task(step, total=total)
            self._bar.update(self._tasks[step], completed=done, total=total)
        elif time.monotonic() >= self._next_line_at:
            self._next_line_at = time.monotonic() + LINE_SECONDS
            click.echo(f"{step}: {done:,}" + (f" of {total:,}" if total is not None else ""), err=True)

    def say(self, line: str) -> None:
        """Print a line of text, above the bar if there is one."""
        if self.is_terminal:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(line, err=True)
