"""Writes the items of the sessions table as lines that `sessions load` reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from gzip import GzipFile
from typing import TYPE_CHECKING, BinaryIO, Final

from sessions.schema import BY_ORGANIZATION, ID
from sessions_cli.bulk import RateLimiter, describe, pages, scan
from sessions_cli.items import line_of
from sessions_cli.progress import OnProgress
from sessions_cli.tables import SESSIONS_KEY

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

RATE: Final = 5000.0
"""Sessions a second unless told otherwise: at 1.4 kB, 1,750 read units from all of the table."""


@dataclass
class ExportReport:
    """The result of an export."""

    sessions: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """Sessions that `load` would reject, and why."""


def export(
    dynamodb: DynamoDBClient,
    table: str,
    file: BinaryIO | GzipFile,
    *,
    organization_id: str | None,
    rate: float,
    progress: OnProgress,
) -> ExportReport:
    """Write every item of the table in any order, or the items of one organization, newest first.

    All of them are read by a strongly consistent Scan, those of an organization by an eventually consistent Query.
    """
    report, limiter = ExportReport(), RateLimiter(rate)
    total = describe(dynamodb, table, SESSIONS_KEY)["ItemCount"] if organization_id is None else None
    found = (
        scan(dynamodb, table)
        if organization_id is None
        else pages(
            dynamodb.query,
            TableName=table,
            IndexName=BY_ORGANIZATION.name,
            KeyConditionExpression=f"{BY_ORGANIZATION.partition_key} = :organization",
            ExpressionAttributeValues={":organization": {"S": organization_id}},
            ScanIndexForward=False,
        )
    )
    for page in found:
        limiter.wait(len(page))
        for item in page:
            line, refusal = line_of(item)
            if refusal is not None:
                report.refused[item[ID]["S"]] = refusal
            file.write(line + b"\n")
        report.sessions += len(page)
        progress("exporting", report.sessions, total)
    return report
