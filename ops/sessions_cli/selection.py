"""The sessions that `sessions load --only` loads, by their ids."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from sessions_cli.items import PATTERNS, InvalidLine, line_id, parse_line
from sessions_cli.sources import Line


class Selection:
    """The ids of the selected sessions, and which of them have not been found yet.

    Args:
        path: a file with one id on each line; blank lines do not count.
    """

    def __init__(self, path: Path) -> None:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise click.ClickException(f"{path}: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise click.ClickException(f"{path} is not UTF-8 text.") from None
        lines = {number: line.strip() for number, line in enumerate(text.splitlines(), 1) if line.strip()}
        for number, line in lines.items():
            if re.fullmatch(PATTERNS["id"], line) is None:
                raise click.ClickException(f"{path} line {number}: {line[:80]!r} is not the id of a session.")
        if not lines:
            raise click.ClickException(f"{path} has no ids.")
        self._ids = frozenset(lines.values())
        self.missing = set(self._ids)

    def choose(self, lines: Iterable[Line]) -> Iterator[Line]:
        """Yield the lines of the selected sessions, and those whose session id cannot be read."""
        for line in lines:
            try:
                session_id = line_id(parse_line(line.text))
            except InvalidLine:
                session_id = None
            if session_id is None or session_id in self._ids:
                self.missing.discard(session_id or "")
                yield line
