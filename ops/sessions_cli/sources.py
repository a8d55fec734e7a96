"""Sources of `sessions load`: lines of a file, of standard input, or of a downloaded export of DynamoDB to S3."""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

import click

from sessions_cli.items import LINE_BYTES

STDIN: Final = "-"

SUMMARY: Final = "manifest-summary.json"
FILES: Final = "manifest-files.json"
"""Files that describe an export and list its data files ('DynamoDB table export output format')."""

ENDINGS: Final = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")
"""Endings of the files that are read from a folder without a manifest."""

BOM: Final = b"\xef\xbb\xbf"
GZIP: Final = b"\x1f\x8b"


class UnreadableSource(click.ClickException):
    """A source cannot be read; the message says why and what to do."""


_OTHER_LAYOUT: Final = re.compile(rb'\s*(\[|\{\s*$|\{\s*"Items")')
"""First line of a JSON array, of an object on several lines, and of what `aws dynamodb scan` prints."""

CONVERSION: Final = """jq -c 'if type == "array" then .[] else (.Items[]? // .) end'"""
"""The command that makes lines of these layouts."""


class Line(NamedTuple):
    """A line of a file."""

    number: int
    """From 1 on; empty lines count."""
    text: bytes
    """Without its line break."""
    file: str = ""
    """The name of the file, if there are several."""

    @property
    def place(self) -> str:
        """Return where the line is, for messages."""
        return f"{self.file} line {self.number}" if self.file else f"line {self.number}"


class Source:
    """The lines of all files that a path names.

    Args:
        path: a file, a folder, the manifest of an export, or `-` for standard input.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._items: int | None = None
        self._files = [] if path == STDIN else self._find_files(Path(path))

    @property
    def name(self) -> str:
        """Return the name for messages."""
        return "standard input" if self.path == STDIN else self.path

    def total(self) -> int | None:
        """Return the number of lines, or None if only reading would tell."""
        if self._items is not None or len(self._files) != 1 or not self._files[0].is_file():
            return self._items  # a pipe can be read only once
        with self._open(self._files[0]) as file:
            if isinstance(_decompressed(file), gzip.GzipFile):
                return None
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))

    def lines(self) -> Iterator[Line]:
        """Yield every line that is not empty."""
        if self.path == STDIN:
            yield from self._lines(sys.stdin.buffer, "")
        for path in self._files:
            with self._open(path) as file:
                yield from self._lines(file, path.name if len(self._files) > 1 else "")

    def _lines(self, file: BinaryIO, name: str) -> Iterator[Line]:
        is_first = True
        try:
            for line in read_lines(_decompressed(file)):
                if is_first and _OTHER_LAYOUT.match(line.text):
                    raise UnreadableSource(
                        f"{name or self.name} has no session on each line; `{CONVERSION}` makes lines."
                    )
                is_first = False
                yield line._replace(file=name)
        except (OSError, EOFError, zlib.error) as error:
            raise UnreadableSource(f"{name or self.name}: {_reason(error)}.") from None

    def _find_files(self, path: Path) -> list[Path]:
        if path.name == SUMMARY:
            return self._exported_files(path)
        if not path.is_dir():
            if not path.exists():
                raise UnreadableSource(f"{path}: No such file or directory.")
            return [path]
        summaries = sorted(path.rglob(SUMMARY))
        if len(summaries) > 1:
            raise UnreadableSource(
                f"{path} has {len(summaries)} exports; choose one by its {SUMMARY}: {summaries[0]}, ..."
            )
        if summaries:
            return self._exported_files(summaries[0])
        files = sorted(each for each in path.rglob("*") if each.name.endswith(ENDINGS))
        if not files:
            raise UnreadableSource(f"{path} has no file that ends in {', '.join(ENDINGS)}.")
        return files

    def _exported_files(self, summary: Path) -> list[Path]:
        """Return all data files of an export."""
        try:
            described = json.loads(summary.read_bytes())
            is_full = described.get("exportType", "FULL_EXPORT") == "FULL_EXPORT"
            if not is_full or described["outputFormat"] != "DYNAMODB_JSON":
                raise UnreadableSource(f"{summary} is not of a full export in the format DYNAMODB_JSON.")
            self._items = int(described["itemCount"])
            keys = [json.loads(line)["dataFileS3Key"] for line in (summary.parent / FILES).read_bytes().splitlines()]
        except OSError as error:
            raise UnreadableSource(f"{error.filename}: {error.strerror}.") from None
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UnreadableSource(f"{summary} is not the manifest of an export.") from None
        files = [summary.parent / "data" / Path(key).name for key in keys]
        missing = [each for each in files if not each.exists()]
        if missing:
            raise UnreadableSource(
                f"{missing[0]} is missing: the export has {len(files)} data files, all of which are needed."
            )
        return files

    def _open(self, path: Path) -> BinaryIO:
        try:
            return path.open("rb")
        except OSError as error:
            raise UnreadableSource(f"{path}: {error.strerror}.") from None


def read_lines(file: BinaryIO) -> Iterator[Line]:
    """Yield the lines of a file that are not empty; one that is too long ends after `LINE_BYTES` + 1."""
    number = 0
    while text := file.readline(LINE_BYTES + 1):
        number += 1
        rest = text
        while len(rest) > LINE_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(LINE_BYTES + 1)
        if number == 1:
            text = text.removeprefix(BOM)
        if text.strip():
            yield Line(number, text.rstrip(b"\r\n"))


def _decompressed(file: BinaryIO) -> BinaryIO:
    # Only a buffered file can be peeked at.
    buffered = file if isinstance(file, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", file))
    is_compressed = buffered.peek(len(GZIP))[: len(GZIP)] == GZIP
    return cast("BinaryIO", gzip.GzipFile(fileobj=buffered) if is_compressed else buffered)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "not a whole gzip file" if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile) else str(error)
