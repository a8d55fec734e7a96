"""Fills the tables of the local API: the sample or a file of sessions, with progress, and the counts they make."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from ops.dynamodb import scan
from ops.load import Line, Rejected, load, read_lines
from ops.local import sample
from ops.local.settings import CannotStart
from ops.progress import OnProgress, Progress
from ops.reconcile import rebuild
from ops.tables import Tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from ops.local.stream_poller import StreamPoller

SESSIONS, COUNTS, API_KEYS = "sessions", "counts", "api_keys"
"""The tables, as their logical ids in `template.yaml` name them."""

COUNTING_SECONDS: Final = 600.0
"""How long the data may take to be counted before it is served nevertheless."""

LOOK_SECONDS: Final = 0.2
"""Between two looks at how far the counting is."""

REBUILD_RATE: Final = 1e6
"""Sessions a second: there is no live counting beside it that would have to be spared."""


def open_data(path: str) -> BinaryIO:
    """The file of sessions.

    Raises:
        CannotStart: it cannot be read.
    """
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise CannotStart(f"DATA: {path}: {error.strerror}.") from None


def load_and_count(client: DynamoDBClient, data: str | None, file: BinaryIO | None, poller: StreamPoller) -> None:
    """Loads the file, or the sample when `data` is None, and waits until the stream has counted it."""
    with Progress() as progress:
        loaded = _load(client, data, file, progress)
        waited = 0.0
        while not poller.catch_up(LOOK_SECONDS):
            progress("counting", min(poller.records_read, loaded), loaded)
            waited += LOOK_SECONDS
            if waited >= COUNTING_SECONDS:
                print("Not everything is counted yet; totals will follow.", file=sys.stderr)
                break


def load_without_stream(client: DynamoDBClient, data: str | None, file: BinaryIO | None) -> None:
    """Loads the file or the sample into an engine without streams, and counts it by a rebuild."""
    with Progress() as progress:
        _load(client, data, file, progress)
        rebuild(Tables(client, SESSIONS, COUNTS), rate=REBUILD_RATE)


def organizations(client: DynamoDBClient) -> Iterator[str]:
    """The organization of every session in the table."""
    for page in scan(client, SESSIONS, ["organization_id"]):
        yield from (item["organization_id"]["S"] for item in page if "S" in item.get("organization_id", {}))


def _load(client: DynamoDBClient, data: str | None, file: BinaryIO | None, progress: OnProgress) -> int:
    """Loads; returns how many sessions were."""
    lines: Iterable[Line]
    total = None
    if file is not None:
        if file.seekable():
            total = sum(1 for _ in file)
            file.seek(0)
        lines = read_lines(file)
    elif data is None:
        lines = [Line(number, json.dumps(each).encode()) for number, each in enumerate(sample.sessions(), 1)]
        total = len(lines)
    else:
        return 0

    def reject(rejected: Rejected) -> None:
        print(f"{data}:{rejected.line.number}: not loaded: {rejected.reason}", file=sys.stderr, flush=True)

    try:
        report = load(client, SESSIONS, lines, reject=reject, progress=progress, total=total)
    except OSError as error:
        raise CannotStart(f"DATA: {data}: {error.strerror}.") from None
    if report.rejected or not report.loaded:
        print(f"{data}: {report.loaded:,} loaded, {report.rejected:,} not", file=sys.stderr, flush=True)
    return report.loaded
