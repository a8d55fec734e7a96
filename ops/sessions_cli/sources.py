"""What `sessions load` reads: lines of a file, of standard input, or of a folder that DynamoDB's export to S3 is in."""

from __future__ import annotations

import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

from sessions_cli.errors import CommandError
from sessions_cli.items import LINE_BYTES

STDIN: Final = "-"

SUMMARY: Final = "manifest-summary.json"
FILES: Final = "manifest-files.json"
"""What describes an export, and its data files ('DynamoDB table export output format')."""

ENDINGS: Final = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")
"""Names of files that are read out of a folder without a manifest."""

BOM: Final = b"\xef\xbb\xbf"
GZIP: Final = b"\x1f\x8b"


class UnreadableSource(CommandError):
    """What was given is not what `load` reads; the message says what it is, and what to do."""


class NotLines(UnreadableSource):
    """JSON in another layout than a Session a line; the caller says what to do about it."""

    def __init__(self, message: str, jq_filter: str) -> None:
        """
        Args:
            jq_filter: with which `jq -c` makes lines of it.
        """
        super().__init__(message)
        self.jq_filter = jq_filter


class Line(NamedTuple):
    """A line of a file."""

    number: int
    """From 1 on, empty lines counted."""
    text: bytes
    """Without its line break."""
    file: str = ""
    """The name of its file where there are several."""

    @property
    def place(self) -> str:
        """Where the line is, for messages."""
        return f"{self.file} line {self.number}" if self.file else f"line {self.number}"


class Source:
    """The lines of everything that a path names."""

    def __init__(self, path: str) -> None:
        """
        Args:
            path: `-` for standard input.

        Raises:
            UnreadableSource: there is nothing to read, or it cannot be read.
        """
        self.path = path
        self._items: int | None = None
        self._files = [] if path == STDIN else self._named_by(Path(path))

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return "standard input" if self.path == STDIN else self.path

    def total(self) -> int | None:
        """How many lines there are, where that can be known without unpacking them."""
        if self._items is not None or len(self._files) != 1 or not self._files[0].is_file():
            return self._items  # a pipe can be read only once
        with self._open(self._files[0]) as file:
            if isinstance(_unpacked(file), gzip.GzipFile):
                return None
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))

    def lines(self) -> Iterator[Line]:
        """Every line that is not empty.

        Raises:
            UnreadableSource: a file cannot be read, or is not made of lines.
        """
        if self.path == STDIN:
            yield from self._lines(sys.stdin.buffer, "")
        for path in self._files:
            with self._open(path) as file:
                yield from self._lines(file, path.name if len(self._files) > 1 else "")

    def _lines(self, file: BinaryIO, name: str) -> Iterator[Line]:
        is_first = True
        try:
            for line in read_lines(_unpacked(file)):
                if is_first and line.text.lstrip()[:1] == b"[":
                    raise NotLines(f"{name or self.name} is a JSON array, not one Session a line", ".[]")
                if is_first and line.text.strip() == b"{":
                    raise NotLines(f"{name or self.name} has Sessions over several lines, not one a line", ".")
                is_first = False
                yield line._replace(file=name)
        except (OSError, EOFError, zlib.error) as error:
            raise UnreadableSource(f"{name or self.name}: {_reason(error)}.") from None

    def _named_by(self, path: Path) -> list[Path]:
        if path.name == SUMMARY:
            return self._exported(path)
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
            return self._exported(summaries[0])
        files = sorted(each for each in path.rglob("*") if each.name.endswith(ENDINGS))
        if not files:
            raise UnreadableSource(f"{path} has no file that ends in {', '.join(ENDINGS)}.")
        return files

    def _exported(self, summary: Path) -> list[Path]:
        """The data files of an export, all of them."""
        try:
            described = json.loads(summary.read_bytes())
            if (
                described.get("exportType", "FULL_EXPORT") != "FULL_EXPORT"
                or described["outputFormat"] != "DYNAMODB_JSON"
            ):
                raise UnreadableSource(f"{summary} is not of a full export in the format DYNAMODB_JSON.")
            self._items = int(described["itemCount"])
            keys = [json.loads(line)["dataFileS3Key"] for line in (summary.parent / FILES).read_bytes().splitlines()]
        except OSError as error:
            raise UnreadableSource(f"{error.filename}: {error.strerror}.") from None
        except (KeyError, TypeError, ValueError):
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
    """The lines of a file that are not empty; a longer one than any entry is cut off at `LINE_BYTES` + 1."""
    number = 0
    while True:
        text = file.readline(LINE_BYTES + 1)
        if not text:
            return
        number += 1
        rest = text
        while len(rest) > LINE_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(LINE_BYTES + 1)
        if number == 1:
            text = text.removeprefix(BOM)
        if text.strip():
            yield Line(number, text.rstrip(b"\r\n"))


def _unpacked(file: BinaryIO) -> BinaryIO:
    # Only a buffered file can be looked into without reading it.
    buffered = file if isinstance(file, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", file))
    is_packed = buffered.peek(len(GZIP))[: len(GZIP)] == GZIP
    return cast("BinaryIO", gzip.GzipFile(fileobj=buffered) if is_packed else buffered)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "not a whole gzip file" if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile) else str(error)
