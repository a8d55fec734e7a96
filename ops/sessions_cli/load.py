"""Loads sessions into the table: lines in, items written, bad lines handed back.

A line overwrites an entry of its id, but never moves it: totals follow insertions and removals alone, so
`organization_id`, `agent_id` and `created_at` are fixed. They are compared with what is stored by one strong
BatchGetItem before every BatchWriteItem, which takes one read unit beside the six write units of an entry of 1.4 kB and
its two index entries. A conditional PutItem for each entry would close the gap between the two calls, at 25 times the
requests; in that gap only another creator of the same id can write, and `sessions counts rebuild` repairs what that
does to the counts.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from botocore.exceptions import ClientError

from sessions.schema import ID, Item
from sessions_cli.dynamodb import BATCH_WRITES, Throttled, read_batch, write_batch
from sessions_cli.errors import CommandError
from sessions_cli.items import LINE_BYTES, InvalidLine, item_of, parse_line
from sessions_cli.progress import OnProgress, silent
from sessions_cli.sources import STDIN, Line
from sessions_cli.tables import INDEX_KEYS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WORKERS: Final = 8
"""Batches on their way at the same time."""

THROTTLED: Final = "DynamoDB kept throttling"


class RejectedLine(NamedTuple):
    """A line that was not loaded, and why."""

    line: Line
    reason: str


class Entry(NamedTuple):
    """A line that can be stored."""

    line: Line
    item: Item

    @property
    def id(self) -> str:
        """Of its session."""
        return str(self.item[ID]["S"])


@dataclass
class LoadReport:
    """What became of the lines."""

    loaded: int = 0
    rejected: int = 0


def load(
    dynamodb: DynamoDBClient,
    table: str,
    lines: Iterable[Line],
    *,
    reject: Callable[[RejectedLine], None],
    progress: OnProgress = silent,
    total: int | None = None,
    workers: int = WORKERS,
    report: LoadReport | None = None,
) -> LoadReport:
    """Writes every line that is a Session, several batches at a time; no line stops the others.

    Keeps the ids in memory, to find one that is given twice: about 200 MB for a million.

    Args:
        reject: told of every line that was not loaded.
        total: how many lines there are, when that is known.
        report: kept up to date meanwhile, for a caller who may interrupt.

    Raises:
        ClientError, BotoCoreError: the table is missing, forbidden or out of reach; what had been written stays.
    """
    report = LoadReport() if report is None else report
    writer = BatchWriter(dynamodb, table)

    def finished(results: Iterable[Future[tuple[int, list[RejectedLine]]]]) -> None:
        # What was written is counted though another batch failed in the meantime.
        for result in sorted(results, key=lambda each: each.exception() is not None):
            loaded, rejected = result.result()
            report.loaded += loaded
            report.rejected += len(rejected)
            for each in rejected:
                reject(each)
        progress("loading", report.loaded + report.rejected, total)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="load")
    pending: set[Future[tuple[int, list[RejectedLine]]]] = set()
    try:
        for batch in _batches(lines, report, reject):
            pending.add(pool.submit(writer.write, batch))
            if len(pending) > 2 * workers:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                finished(done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            finished(done)
    finally:
        writer.stop()
        pool.shutdown(cancel_futures=True)
    progress("loading", report.loaded + report.rejected, total)
    return report


def _batches(
    lines: Iterable[Line], report: LoadReport, reject: Callable[[RejectedLine], None]
) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    places: dict[str, str] = {}
    for line in lines:
        try:
            entry = Entry(line, item_of(parse_line(line.text)))
            if entry.id in places:
                raise InvalidLine(f"id: {entry.id} is already in {places[entry.id]}")
        except InvalidLine as error:
            report.rejected += 1
            reject(RejectedLine(line, str(error)))
            continue
        places[entry.id] = line.place
        batch.append(entry)
        if len(batch) == BATCH_WRITES:
            yield batch
            batch = []
    if batch:
        yield batch


class Stopped(Exception):
    """The load ends before this batch is written."""


class BatchWriter:
    """Writes batches of entries, from any thread."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Makes every batch that waits for another try give up."""
        self._stopped.set()

    def write(self, batch: Sequence[Entry]) -> tuple[int, list[RejectedLine]]:
        """Writes at most 25 entries of different ids; returns how many were written, and the others."""
        try:
            stored = self._stored(batch)
        except Throttled:
            return 0, [RejectedLine(entry.line, THROTTLED) for entry in batch]
        rejected, waiting = [], []
        for entry in batch:
            before = stored.get(entry.id)
            if before is None or all(before.get(name) == entry.item[name] for name in INDEX_KEYS):
                waiting.append(entry)
            else:
                rejected.append(RejectedLine(entry.line, _moved(before, entry.item)))
        if waiting:
            rejected += self._put(waiting)
        return len(batch) - len(rejected), rejected

    def _pause(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise Stopped

    def _stored(self, batch: Sequence[Entry]) -> dict[str, Item]:
        """What the table holds under the ids of the batch."""
        keys = [{ID: entry.item[ID]} for entry in batch]
        items = read_batch(self._dynamodb, self._table, keys, (ID, *INDEX_KEYS), self._pause)
        return {item[ID]["S"]: item for item in items}

    def _put(self, entries: Sequence[Entry]) -> list[RejectedLine]:
        """Writes entries in one request, and again what DynamoDB left; returns those it does not take."""
        try:
            requests = [{"PutRequest": {"Item": entry.item}} for entry in entries]
            write_batch(self._dynamodb, self._table, requests, self._pause)
        except Throttled as throttled:
            left = {request["PutRequest"]["Item"][ID]["S"] for request in throttled.left}
            return [RejectedLine(entry.line, THROTTLED) for entry in entries if entry.id in left]
        except ClientError as error:
            if not _is_refusal(error):
                raise
            if len(entries) == 1:
                return [RejectedLine(entries[0].line, f"refused by DynamoDB: {error.response['Error']['Message']}")]
            # One entry is enough for DynamoDB to refuse all 25; which one it was is not said.
            return [rejected for entry in entries for rejected in self._put([entry])]
        return []


def _is_refusal(error: ClientError) -> bool:
    """Whether the request itself is at fault, and the same one would be refused again."""
    status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return error.response["Error"]["Code"] in ("ValidationException", "SerializationException") or status == 413


def _moved(before: Item, after: Item) -> str:
    def value(item: Item, name: str) -> str:
        return str(item.get(name, {}).get("S", "nothing"))

    differences = ", ".join(
        f"{name} {value(before, name)}" for name in INDEX_KEYS if value(before, name) != value(after, name)
    )
    return (
        f"already stored with {differences}; organization_id, agent_id and created_at never change: "
        "delete the entry first"
    )


class RejectsFile:
    """The file of the lines that were not loaded, made with the first of them."""

    def __init__(self, source: str, path: Path | None) -> None:
        """
        Args:
            source: where the lines come from.
            path: None for the source's name with the ending .rejects.ndjson, next to it, in the current folder or in
                the temporary folder, whichever is writable first.

        Raises:
            CommandError: the path is the source itself.
        """
        if path is not None and source != STDIN and path.exists() and path.samefile(source):
            raise CommandError(f"--rejects {path} is FILE itself.")
        beside = Path("stdin" if source == STDIN else source).with_suffix(".rejects.ndjson")
        folders = beside.parent, Path(), Path(tempfile.gettempdir())
        self._paths = [path] if path else [folder / beside.name for folder in folders]
        self._file: BinaryIO | None = None

    def __enter__(self) -> RejectsFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def path(self) -> Path:
        """Where the lines are."""
        return self._paths[0]

    def write(self, line: Line) -> None:
        """Adds a line as it was; one that is longer than any entry was not read to its end, and is left out.

        Raises:
            CommandError: it cannot be written.
        """
        try:
            if self._file is None:
                self._file = self._open()
            if len(line.text) <= LINE_BYTES:
                self._file.write(line.text + b"\n")
                self._file.flush()
        except OSError as error:
            raise CommandError(f"{self.path}: {error.strerror}; --rejects chooses another file.") from None

    def _open(self) -> BinaryIO:
        while True:
            try:
                return self.path.open("wb")
            except OSError:
                if len(self._paths) == 1:
                    raise
                self._paths = self._paths[1:]
