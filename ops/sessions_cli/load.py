"""Loads sessions into the table: writes an item for each line, and reports the lines that it rejects.

A line overwrites the item of its id but never moves it: totals follow insertions and removals alone, so
`organization_id`, `agent_id` and `created_at` are fixed. A strongly consistent BatchGetItem before each BatchWriteItem
compares them. Between the two calls only another creator of the same id can write, and `sessions counts rebuild`
repairs the counts then. A conditional PutItem for each item would take 25 times the calls.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final, NamedTuple

from botocore.exceptions import ClientError, ParamValidationError

from sessions.schema import CREATED_AT_ID, ID, ORGANIZATION_AGENT, ORGANIZATION_ID, SEPARATOR, Item
from sessions_cli.bulk import BATCH_WRITES, Throttled, chunks, read_batch, write_batch
from sessions_cli.items import TOO_DEEP, InvalidLine, item_of, parse_line
from sessions_cli.sources import Line
from sessions_cli.tables import INDEX_KEYS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WORKERS: Final = 8
"""Batches that are written at the same time."""

THROTTLED: Final = "DynamoDB kept throttling"


RejectedLine = tuple[Line, str]
"""A line that was not loaded, and why."""


class ParsedLine(NamedTuple):
    """A line and the item that it is stored as."""

    line: Line
    id: str
    item: Item


class LoadResult(NamedTuple):
    """The result of some lines: how many were loaded, and the others."""

    loaded: int
    rejected: list[RejectedLine]


OnResult = Callable[[LoadResult], None]


def load(dynamodb: DynamoDBClient, table: str, lines: Iterable[Line], on_result: OnResult) -> None:
    """Write every valid line, in several batches at a time; an invalid line does not stop the others.

    Keeps the ids in memory to find one that is given twice: about 200 MB for a million.

    Args:
        on_result: called with the result of every batch and of every invalid line.
    """
    writer = BatchWriter(dynamodb, table)
    pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="load")
    pending: set[Future[LoadResult]] = set()
    try:
        for batch in chunks(_parse(lines, on_result), BATCH_WRITES):
            pending.add(pool.submit(writer.write, batch))
            if len(pending) > 2 * WORKERS:
                pending = _report_finished(pending, on_result)
        while pending:
            pending = _report_finished(pending, on_result)
    finally:
        writer.stop()
        pool.shutdown(cancel_futures=True)


def _parse(lines: Iterable[Line], on_result: OnResult) -> Iterator[ParsedLine]:
    places: dict[str, str] = {}
    for line in lines:
        try:
            item = item_of(parse_line(line.text))
            parsed = ParsedLine(line, item[ID]["S"], item)
            if parsed.id in places:
                raise InvalidLine(f"id: {parsed.id} is already in {places[parsed.id]}")
        except InvalidLine as error:
            on_result(LoadResult(0, [(line, str(error))]))
        else:
            places[parsed.id] = line.place
            yield parsed


def _report_finished(pending: set[Future[LoadResult]], on_result: OnResult) -> set[Future[LoadResult]]:
    """Wait for at least one batch, report those that are finished, and return the others."""
    finished, pending = wait(pending, return_when=FIRST_COMPLETED)
    # A batch that failed ends the load, after the others have been counted.
    for batch in sorted(finished, key=lambda each: each.exception() is not None):
        on_result(batch.result())
    return pending


class BatchWriter:
    """Writes batches of items, from any thread."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Stop retrying: every batch that waits for another try fails."""
        self._stopped.set()

    def write(self, batch: Sequence[ParsedLine]) -> LoadResult:
        """Write at most 25 lines of different ids."""
        keys = [{ID: parsed.item[ID]} for parsed in batch]
        try:
            stored = read_batch(self._dynamodb, self._table, keys, (ID, *INDEX_KEYS), self._stopped)
        except Throttled:
            return LoadResult(0, [(parsed.line, THROTTLED) for parsed in batch])
        stored_by_id = {item[ID]["S"]: item for item in stored}
        rejected, accepted = [], []
        for parsed in batch:
            changes = _fixed_fields_changed(stored_by_id.get(parsed.id), parsed.item)
            if changes:
                rejected.append((parsed.line, changes))
            else:
                accepted.append(parsed)
        if accepted:
            rejected += self._put(accepted)
        return LoadResult(len(batch) - len(rejected), rejected)

    def _put(self, batch: Sequence[ParsedLine]) -> list[RejectedLine]:
        """Write a batch in one request, and return the lines that DynamoDB does not accept."""
        try:
            requests = [{"PutRequest": {"Item": parsed.item}} for parsed in batch]
            write_batch(self._dynamodb, self._table, requests, self._stopped)
        except Throttled as throttled:
            left = {request["PutRequest"]["Item"][ID]["S"] for request in throttled.left}
            return [(parsed.line, THROTTLED) for parsed in batch if parsed.id in left]
        except (ClientError, ParamValidationError, RecursionError) as error:
            reason = _refusal(error)
            if reason is None:
                raise
            if len(batch) == 1:
                return [(batch[0].line, reason)]
            # DynamoDB refuses all 25 for one of them, and does not say which.
            return [rejected for parsed in batch for rejected in self._put([parsed])]
        return []


def _refusal(error: Exception) -> str | None:
    """Return why an item cannot be stored, or None if the error has another cause."""
    match error:
        case ParamValidationError():
            return f"refused: {' '.join(str(error).split())}"
        case RecursionError():  # Python's limit, which its versions reach at other places
            return TOO_DEEP
        case ClientError(response={"Error": {"Code": "ValidationException" | "SerializationException"} as refused}):
            return f"refused: {refused['Message']}"
        case ClientError(response={"ResponseMetadata": {"HTTPStatusCode": 413}, "Error": refused}):
            return f"refused: {refused['Message']}"
    return None


def _fixed_fields_changed(before: Item | None, after: Item) -> str:
    """Return which fields of a stored session a line would change although they are fixed, or ''."""
    if before is None or all(before.get(name) == after[name] for name in INDEX_KEYS):
        return ""
    stored = {
        "organization_id": _text(before, ORGANIZATION_ID),
        "agent_id": _text(before, ORGANIZATION_AGENT).rpartition(SEPARATOR)[2],
        "created_at": _text(before, CREATED_AT_ID).partition(SEPARATOR)[0],
    }
    changed = [f"{name} {value or 'missing'}" for name, value in stored.items() if value != _text(after, name)]
    return (
        f"already stored with {', '.join(changed)}; organization_id, agent_id and created_at never change: "
        "delete the session first"
    )


def _text(item: Item, name: str) -> str:
    return str(item.get(name, {}).get("S", ""))
