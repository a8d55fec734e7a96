"""Files that appear only when they are complete."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

import click

STDOUT: Final = "-"


@contextmanager
def atomic_writer(path: str) -> Iterator[BinaryIO]:
    """Open a file that replaces `path` when the block ends without an exception.

    The new file keeps the mode of the old one, and a symbolic link keeps pointing to it. Standard output (`-`) and what
    is not a regular file, such as a pipe or a device, are written in place.
    """
    try:
        if path == STDOUT:
            with _standard_output() as file:
                yield file
        elif _is_written_in_place(path):
            with open(path, "wb") as file:
                yield file
        else:
            with _replacement(Path(path).resolve()) as file:
                yield file
    except BrokenPipeError:
        raise  # the reader has closed the pipe
    except OSError as error:
        name = "standard output" if path == STDOUT else path
        raise click.ClickException(f"{name}: {error.strerror or error}.") from None


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except OSError:
        # Python flushes the rest at exit, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _is_written_in_place(path: str) -> bool:
    if path.startswith(("/dev/", "/proc/")):  # /dev/stdout may be a regular file, and must not be replaced
        return True
    with suppress(FileNotFoundError):
        mode = os.stat(path).st_mode
        return not stat.S_ISREG(mode)  # open() refuses a folder
    return False


@contextmanager
def _replacement(target: Path) -> Iterator[BinaryIO]:
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}.unfinished")
    try:
        with unfinished.open("xb") as file:
            with suppress(FileNotFoundError):
                unfinished.chmod(stat.S_IMODE(target.stat().st_mode))
            yield file
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
