"""The file of the lines that `sessions load` has rejected."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from sessions_cli.items import LINE_BYTES
from sessions_cli.sources import STDIN, Line


class RejectsFile:
    """The file of the rejected lines, created with the first of them.

    Args:
        source: where the lines come from.
        path: None for a file in the current folder with the source's name and the ending .rejects.ndjson.
    """

    def __init__(self, source: str, path: Path | None) -> None:
        if path is not None and source != STDIN and path.exists() and path.samefile(source):
            raise click.ClickException(f"--rejects {path} is FILE itself.")
        name = "stdin" if source == STDIN else Path(source).resolve().stem
        self._path = path or Path(f"{name}.rejects.ndjson")
        self._file: BinaryIO | None = None
        self._too_long = 0

    def __enter__(self) -> RejectsFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def summary(self) -> str:
        """Sentences that say where the rejected lines are."""
        sentences = [f"The rejected lines are in {self._path}."] if self._file else []
        if self._too_long:
            sentences.append(f"Lines that are too long to be kept there: {self._too_long}.")
        return " ".join(sentences)

    def write(self, line: Line) -> None:
        """Add a line, unless it is too long to have been read to its end."""
        if len(line.text) > LINE_BYTES:
            self._too_long += 1
            return
        try:
            if self._file is None:
                self._file = self._path.open("wb")
            self._file.write(line.text + b"\n")
            self._file.flush()
        except OSError as error:
            raise click.ClickException(f"{self._path}: {error.strerror}; --rejects chooses another file.") from None
