"""Fills the tables of the local API: the sample or a file of sessions, with progress, and the counts they make."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from sessions.schema import ORGANIZATION_ID
from sessions_cli.dynamodb import scan
from sessions_cli.load import RejectedLine, load
from sessions_cli.progress import OnProgress, Progress
from sessions_cli.reconcile import rebuild
from sessions_cli.sources import Line, NotLines, Source, UnreadableSource
from sessions_cli.tables import Tables
from sessions_local import sample
from sessions_local.settings import CannotStart

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from sessions_local.stream_poller import StreamPoller

SESSIONS, COUNTS, API_KEYS = "sessions", "counts", "api_keys"
"""The tables, as their logical ids in `template.yaml` name them."""

COUNTING_SECONDS: Final = 600.0
"""How long the data may take to be counted before it is served nevertheless."""

REBUILD_RATE: Final = 1e6
"""Sessions a second: there is no live counting beside it that would have to be spared."""


class Data:
    """The sessions to start with: a file, a folder of files, the sample, or none."""

    def __init__(self, path: str | None) -> None:
        """
        Args:
            path: what `sessions load` takes; '' for none, None for the sample.

        Raises:
            CannotStart: it cannot be read.
        """
        self._path = path
        try:
            self._source = Source(path) if path else None
            self._total = self._source.total() if self._source else None
        except UnreadableSource as error:
            raise CannotStart(f"DATA: {error}") from None

    def load_and_count(self, client: DynamoDBClient, poller: StreamPoller) -> None:
        """Loads it, and waits until the stream has counted it.

        Raises:
            CannotStart: it cannot be read.
        """
        with Progress() as progress:
            loaded = self._load(client, progress)
            counted = poller.catch_up(
                COUNTING_SECONDS, lambda: progress("counting", min(poller.records_read, loaded), loaded)
            )
            if not counted:
                print("Not everything is counted yet; totals will follow.", file=sys.stderr)

    def load_without_stream(self, client: DynamoDBClient) -> None:
        """Loads it into an engine without streams, and counts it by a rebuild.

        Raises:
            CannotStart: it cannot be read.
        """
        with Progress() as progress:
            self._load(client, progress)
            rebuild(Tables(client, SESSIONS, COUNTS), rate=REBUILD_RATE, progress=progress)

    def _load(self, client: DynamoDBClient, progress: OnProgress) -> int:
        """Loads; returns how many sessions were."""
        lines: Iterable[Line]
        total = self._total
        if self._source is not None:
            lines = self._source.lines()
        elif self._path is None:
            lines = [Line(number, json.dumps(each).encode()) for number, each in enumerate(sample.sessions(), 1)]
            total = len(lines)
        else:
            return 0

        name = self._path or "the sample"

        def reject(rejected: RejectedLine) -> None:
            print(f"{name}, {rejected.line.place}: not loaded: {rejected.reason}", file=sys.stderr, flush=True)

        try:
            report = load(client, SESSIONS, lines, reject=reject, progress=progress, total=total)
        except NotLines as error:
            convert = f"`jq -c '{error.jq_filter}' {name} > sessions.ndjson` converts it."
            raise CannotStart(f"DATA: {error}; {convert}") from None
        except UnreadableSource as error:
            raise CannotStart(f"DATA: {error}") from None
        if report.rejected or not report.loaded:
            print(f"{name}: {report.loaded:,} loaded, {report.rejected:,} not", file=sys.stderr, flush=True)
        return report.loaded


def organizations(client: DynamoDBClient) -> Iterator[str]:
    """The organization of every session in the table."""
    for page in scan(client, SESSIONS, [ORGANIZATION_ID]):
        yield from (item[ORGANIZATION_ID]["S"] for item in page if "S" in item.get(ORGANIZATION_ID, {}))
