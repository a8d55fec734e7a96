"""Loads NDJSON of Session objects into the sessions table: lines in, items written, bad lines handed back.

A line is checked as strictly as an answer: what the contract does not have is refused rather than lost
silently, and so is what DynamoDB would refuse or change.

A line overwrites an entry of its id, but never moves it: totals follow insertions and removals alone, so
`organization_id`, `agent_id` and `created_at` are fixed. They are compared with what is stored by one strong
BatchGetItem before every BatchWriteItem, which takes one read unit beside the six write units of an entry
of 1.4 kB and its two index entries. A conditional PutItem for each entry would close the gap between the
two calls, at 25 times the requests; in that gap only another creator of the same id can write, and
`sessions counts rebuild` mends what that does to the counts.
"""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

from botocore.exceptions import ClientError
from pydantic_core import ValidationError

from ops.rebuild import Progress
from sessions.contract import ID_PATTERNS, read_session
from sessions.dynamodb import batch_get, is_transient
from sessions.schema import CREATED_AT_ID, ORGANIZATION_AGENT, ORGANIZATION_ID, Item, composed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

YEARS: Final = range(2000, 2100)
"""Years of creation that are believed; another one is a unit mixed up (seconds, milliseconds)."""

BATCH: Final = 25
"""Requests in one BatchWriteItem ('Quotas in Amazon DynamoDB')."""

ITEM_BYTES: Final = 400 * 1024
"""Size of an item, names of attributes included ('Quotas in Amazon DynamoDB')."""

LEVELS: Final = 32
"""Lists and maps in one another, the attribute's own included ('Quotas in Amazon DynamoDB', nested attributes)."""

DIGITS: Final = 38
LEAST: Final = Decimal("1E-130")
MOST: Final = Decimal("9.9999999999999999999999999999999999999E+125")
"""Significant digits and magnitudes of a number ('Quotas in Amazon DynamoDB', number)."""

LINE_BYTES: Final = 4 * 1024 * 1024
"""A longer line is no entry: an item's 400 kB are at most 2.4 MB as JSON, which writes one byte as six at most."""

WORKERS: Final = 8
"""Batches on their way at the same time."""

TRIES: Final = 20
PAUSE: Final = 0.1
PAUSE_MOST: Final = 5.0
"""Tries of a batch of which DynamoDB took nothing; seconds to wait at most before the second one, twice that
before the third, and so on up to the last figure: about 40 s of waiting in all. A table on demand that is
new takes 4,000 write units a second, and twice its former peak only after minutes."""

FIXED: Final = (ORGANIZATION_ID, ORGANIZATION_AGENT, CREATED_AT_ID)
"""The attributes that say where an entry is listed and counted, and never change."""

BOM: Final = b"\xef\xbb\xbf"


class Refused(Exception):
    """A line is not a Session, or cannot be stored as it is; the message says why."""


class Line(NamedTuple):
    """A line of the file."""

    number: int
    """From 1 on, empty lines counted."""
    text: bytes
    """Without its line break."""


class Rejected(NamedTuple):
    """A line that was not loaded, and why."""

    line: Line
    reason: str


class Entry(NamedTuple):
    """A line that can be stored."""

    line: Line
    item: Item


@dataclass
class Report:
    """What became of the lines."""

    loaded: int = 0
    rejected: int = 0


def load(
    dynamodb: DynamoDBClient,
    table: str,
    lines: Iterable[Line],
    *,
    reject: Callable[[Rejected], None],
    progress: Progress = lambda _what, _done, _of: None,
    of: int | None = None,
    workers: int = WORKERS,
    sleep: Callable[[float], None] = time.sleep,
    report: Report | None = None,
) -> Report:
    """Writes every line that is a Session, several batches at a time; no line stops the others.

    Keeps the ids in memory, to find one that is given twice: about 200 MB for a million.

    Args:
        reject: told of every line that was not loaded.
        of: how many lines there are, when that is known.
        report: kept up to date meanwhile, for a caller who may interrupt.

    Raises:
        ClientError, BotoCoreError: the table is missing, forbidden or out of reach; what had been written stays.
    """
    report = Report() if report is None else report
    writer = Writer(dynamodb, table, sleep)

    def finished(results: Iterable[Future[tuple[int, list[Rejected]]]]) -> None:
        # What was written is counted though another batch failed in the meantime.
        for result in sorted(results, key=lambda each: each.exception() is not None):
            loaded, rejected = result.result()
            report.loaded += loaded
            report.rejected += len(rejected)
            for each in rejected:
                reject(each)
        progress("loading", report.loaded + report.rejected, of)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="load")
    pending: set[Future[tuple[int, list[Rejected]]]] = set()
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
    progress("loading", report.loaded + report.rejected, of)
    return report


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


def _batches(lines: Iterable[Line], report: Report, reject: Callable[[Rejected], None]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    first_lines: dict[str, int] = {}
    for line in lines:
        try:
            entry = Entry(line, item_of(parsed(line.text)))
            session_id = entry.item["id"]["S"]
            if session_id in first_lines:
                raise Refused(f"id: {session_id} is already in line {first_lines[session_id]}")
        except Refused as refusal:
            report.rejected += 1
            reject(Rejected(line, str(refusal)))
            continue
        first_lines[session_id] = line.number
        batch.append(entry)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


class Writer:
    """Writes batches of entries, from any thread."""

    def __init__(self, dynamodb: DynamoDBClient, table: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._sleep = sleep
        self._stopped = False

    def stop(self) -> None:
        """Makes every batch that waits for another try give up."""
        self._stopped = True

    def write(self, batch: Sequence[Entry]) -> tuple[int, list[Rejected]]:
        """Writes at most 25 entries of different ids; returns how many were written, and the others."""
        stored, unread = self._stored(batch)
        rejected = [Rejected(entry.line, "DynamoDB kept throttling") for entry in unread]
        waiting = []
        for entry in batch:
            before = stored.get(entry.item["id"]["S"])
            if entry in unread:
                continue
            if before is None or all(before.get(name) == entry.item[name] for name in FIXED):
                waiting.append(entry)
            else:
                rejected.append(Rejected(entry.line, _moved(before, entry.item)))
        rejected += self._put(waiting)
        return len(batch) - len(rejected), rejected

    def _stored(self, batch: Sequence[Entry]) -> tuple[dict[str, Item], list[Entry]]:
        """What the table holds under the ids of the batch, and the entries whose key was not read."""
        stored: dict[str, Item] = {}
        keys: list[Item] = [{"id": entry.item["id"]} for entry in batch]
        tries = 0
        while keys:
            before = len(keys)
            try:
                items, keys = batch_get(self._dynamodb, self._table, keys, ("id", *FIXED))
                stored |= {item["id"]["S"]: item for item in items}
            except ClientError as error:
                if not is_transient(error):
                    raise
            tries = 0 if len(keys) < before else tries + 1
            if keys and not self._may_try_again(tries):
                break
        unread = {key["id"]["S"] for key in keys}
        return stored, [entry for entry in batch if entry.item["id"]["S"] in unread]

    def _put(self, waiting: list[Entry]) -> list[Rejected]:
        """Writes entries in one request, and again what DynamoDB left; returns those it does not take."""
        tries = 0
        while waiting:
            before = len(waiting)
            requests: list[Any] = [{"PutRequest": {"Item": entry.item}} for entry in waiting]
            try:
                answer: Any = self._dynamodb.batch_write_item(RequestItems={self._table: requests})
            except ClientError as error:
                if _is_refusal(error):
                    # One entry is enough for DynamoDB to refuse all 25; which one it was is not said.
                    return [refused for entry in waiting for refused in self._put_one(entry)]
                if not is_transient(error):
                    raise
            else:
                left = answer.get("UnprocessedItems", {}).get(self._table, [])
                ids = {request["PutRequest"]["Item"]["id"]["S"] for request in left}
                waiting = [entry for entry in waiting if entry.item["id"]["S"] in ids]
            tries = 0 if len(waiting) < before else tries + 1
            if waiting and not self._may_try_again(tries):
                break
        return [Rejected(entry.line, "DynamoDB kept throttling") for entry in waiting]

    def _put_one(self, entry: Entry) -> list[Rejected]:
        tries = 0
        while True:
            try:
                self._dynamodb.put_item(TableName=self._table, Item=entry.item)
            except ClientError as error:
                if _is_refusal(error):
                    return [Rejected(entry.line, f"refused by DynamoDB: {error.response['Error']['Message']}")]
                if not is_transient(error):
                    raise
                tries += 1
                if not self._may_try_again(tries):
                    return [Rejected(entry.line, "DynamoDB kept throttling")]
            else:
                return []

    def _may_try_again(self, tries: int) -> bool:
        """Waits before another try, longer the more have failed in a row; False when it is time to give up."""
        if tries >= TRIES or self._stopped:
            return False
        self._sleep(random.uniform(0, min(PAUSE_MOST, PAUSE * 2**tries)))  # noqa: S311  (no secret)
        return not self._stopped


def _is_refusal(error: ClientError) -> bool:
    """Whether the request itself is at fault, and the same one would be refused again."""
    status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return error.response["Error"]["Code"] in ("ValidationException", "SerializationException") or status == 413


def _moved(before: Item, after: Item) -> str:
    def text(item: Item, name: str) -> str:
        return str(item.get(name, {}).get("S", "nothing"))

    differences = ", ".join(f"{name} {text(before, name)}" for name in FIXED if text(before, name) != text(after, name))
    return f"id: an entry of this id is stored with {differences}, which never change; delete it first"


def parsed(text: bytes) -> Any:
    """The JSON of a line, exact: no number that JSON does not have, and no key that would hide another.

    Raises:
        Refused: it is not UTF-8 or not JSON, or has a key twice.
    """
    if len(text) > LINE_BYTES:
        raise Refused(f"longer than {LINE_BYTES} bytes, and so than any entry")
    try:
        return _decoder.decode(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Refused(f"not UTF-8: byte {error.start + 1} is {text[error.start]:#04x}") from None
    except json.JSONDecodeError as error:
        raise Refused(f"not JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise Refused(_TOO_DEEP) from None
    except ValueError:  # Python reads integers of at most 4,300 digits
        raise Refused(_TOO_LONG) from None


_TOO_DEEP: Final = f"nested more than {LEVELS} levels deep, which DynamoDB does not store"
_TOO_LONG: Final = f"a number has more than {DIGITS} significant digits, which DynamoDB does not store"
_OUT_OF_RANGE: Final = "a number is outside DynamoDB's range, 1E-130 to 9.99E+125"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise Refused(f"{_shown(twice)}: given twice")
    return members


def _double(text: str) -> float:
    number = float(text)
    if math.isinf(number) or (number == 0 and Decimal(text) != 0):
        raise Refused(_OUT_OF_RANGE)
    return number


def _constant(name: str) -> Any:
    raise Refused(f"not JSON: {name}")


_decoder: Final = json.JSONDecoder(object_pairs_hook=_object, parse_float=_double, parse_constant=_constant)


def item_of(entry: Any) -> Item:
    """A Session of the contract, read from JSON, as the item that the sessions table stores.

    Times take the one stored form, absent and null fields are left out, and the two composed attributes are added.

    Raises:
        Refused: it is not a Session, or DynamoDB cannot store it unchanged.
    """
    if not isinstance(entry, Mapping):
        raise Refused("not a JSON object")
    try:
        session = read_session(entry, extra="forbid")
    except ValidationError as error:
        raise Refused("; ".join(_complaint(dict(fault)) for fault in error.errors(include_url=False))) from None
    for name, pattern in ID_PATTERNS.items():
        value = session.get(name)
        if value is not None and re.fullmatch(pattern, str(value)) is None:
            raise Refused(f"{name}: String should match pattern {pattern!r}")
    if int(session["created_at"][:4]) not in YEARS:
        raise Refused(f"created_at: not within the years {YEARS[0]} to {YEARS[-1]}")
    fields = {name: value for name, value in session.items() if value is not None}
    fields[ORGANIZATION_AGENT] = composed(session["organization_id"], session["agent_id"])
    fields[CREATED_AT_ID] = composed(session["created_at"], session["id"])
    try:
        item = {name: _attribute(value, LEVELS) for name, value in fields.items()}
        size = item_bytes(item)
    except UnicodeEncodeError:
        raise Refused("half of a surrogate pair, which is no text") from None
    if size > ITEM_BYTES:
        raise Refused(f"{size} bytes as DynamoDB counts them, more than the {ITEM_BYTES} of an item")
    return item


def _complaint(fault: dict[str, Any]) -> str:
    if fault["type"] == "extra_forbidden":
        fault["msg"] = "the contract has no such field"
    where = ".".join(_shown(str(part)) for part in fault["loc"])
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}"


def _shown(name: str) -> str:
    """A field's name for a message: short, and nothing in it that a terminal would obey or could not show."""
    return re.sub(r"[^ -~]", "?", name)[:64]


def _attribute(value: Any, levels: int) -> dict[str, Any]:
    """A value of JSON as an attribute value.

    Args:
        levels: how many lists and maps may still be in one another.
    """
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int() | float():
            return {"N": _number(value)}
    if levels == 0:
        raise Refused(_TOO_DEEP)
    match value:
        case Mapping():
            return {"M": {name: _attribute(inner, levels - 1) for name, inner in value.items()}}
        case list():
            return {"L": [_attribute(inner, levels - 1) for inner in value]}
    raise Refused(f"{type(value).__name__} is no type of JSON")


def _number(value: float) -> str:
    number = Decimal(repr(value))
    if not number.is_finite():
        raise Refused("a number is infinite or none at all, which JSON does not have")
    if number == 0:
        return "0"
    if not LEAST <= abs(number) <= MOST:
        raise Refused(_OUT_OF_RANGE)
    if _significant(number) > DIGITS:
        raise Refused(_TOO_LONG)
    return str(number)


def _significant(number: Decimal) -> int:
    """Significant digits, zeros at either end left out."""
    return len("".join(map(str, number.as_tuple().digits)).strip("0"))


def item_bytes(item: Item) -> int:
    """The size of an item ('DynamoDB item sizes and formats'); of numbers DynamoDB says it only roughly."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: dict[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(str(content).encode())
        case "N":
            return 1 + (_significant(Decimal(content)) + 1) // 2 + int(content.startswith("-"))
        case "L":
            return 3 + sum(1 + _value_bytes(inner) for inner in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _value_bytes(inner) for name, inner in content.items())
    return 1
