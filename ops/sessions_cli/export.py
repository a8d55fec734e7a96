"""Writes the sessions of the table as NDJSON, one Session of the contract a line: what `sessions load` reads."""

from __future__ import annotations

import gzip
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from sessions.contract import Session
from sessions.schema import BY_ORGANIZATION, CREATED_AT_ID, ID, ORGANIZATION_AGENT, Item
from sessions_cli.dynamodb import RateLimiter, approximate_count, parallel_scan
from sessions_cli.errors import CommandError
from sessions_cli.items import InvalidLine, session_line
from sessions_cli.progress import OnProgress, silent
from sessions_cli.sources import STDIN

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

RATE: Final = 5000.0
"""Sessions a second unless told otherwise: at 1.4 kB and a strong read 1,750 read units, over all of the table."""

SEGMENTS: Final = 4

KNOWN: Final = {*Session.__annotations__, ORGANIZATION_AGENT, CREATED_AT_ID}


Writable = BinaryIO | gzip.GzipFile


@dataclass
class ExportReport:
    """What was written, and what was not."""

    sessions: int = 0
    invalid: dict[str, str] = field(default_factory=dict)
    """Items that are not Sessions, and why."""
    left_out: set[str] = field(default_factory=set)
    """Attributes that some sessions have and the contract does not."""


def export(
    dynamodb: DynamoDBClient,
    table: str,
    file: Writable,
    *,
    organization_id: str | None = None,
    segments: int = SEGMENTS,
    rate: float = RATE,
    progress: OnProgress = silent,
    sleep: Callable[[float], None] = time.sleep,
) -> ExportReport:
    """Writes every session, in any order, or those of one organization, newest first.

    All of them are read by a strong Scan, those of an organization by Queries on its index, which is eventually
    consistent. What is created or deleted meanwhile may be there or not.

    Args:
        segments: parts of the table that are read at the same time.
        rate: sessions a second.
    """
    report, limiter, done = ExportReport(), RateLimiter(rate, sleep), 0
    if organization_id is None:
        pages, total = parallel_scan(dynamodb, table, segments), approximate_count(dynamodb, table)
    else:
        pages, total = _of_organization(dynamodb, table, organization_id), None
    for page in pages:
        limiter.wait(len(page))
        for item in page:
            try:
                line = session_line(item)
            except InvalidLine as error:
                report.invalid[item[ID]["S"]] = str(error)
                continue
            report.left_out |= item.keys() - KNOWN
            report.sessions += 1
            file.write(line.encode() + b"\n")
        done += len(page)
        progress("exporting", done, total)
    return report


def _of_organization(dynamodb: DynamoDBClient, table: str, organization_id: str) -> Iterator[list[Item]]:
    pages = dynamodb.get_paginator("query").paginate(
        TableName=table,
        IndexName=BY_ORGANIZATION.name,
        KeyConditionExpression=f"{BY_ORGANIZATION.partition_key} = :organization",
        ExpressionAttributeValues={":organization": {"S": organization_id}},
        ScanIndexForward=False,
    )
    for page in pages:
        yield page["Items"]


@contextmanager
def whole_file(path: str) -> Iterator[Writable]:
    """A file that appears under its name only when everything has been written; compressed if its name ends in `.gz`.

    Args:
        path: `-` for standard output, which is written at once.

    Raises:
        CommandError: it cannot be written.
    """
    if path == STDIN:
        yield sys.stdout.buffer
        return
    unfinished = Path(f"{path}.unfinished")
    try:
        with gzip.open(unfinished, "wb") if path.endswith(".gz") else unfinished.open("wb") as file:
            yield file
        os.replace(unfinished, path)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}.") from None
    finally:
        with suppress(OSError):
            unfinished.unlink()
