"""`sessions load` and `sessions export`."""

from __future__ import annotations

import gzip
import time
from pathlib import Path
from typing import Final

import click

from sessions_cli import export, keys, load
from sessions_cli.atomic_writer import STDOUT, atomic_writer
from sessions_cli.bulk import describe
from sessions_cli.progress import Progress
from sessions_cli.rejects import RejectsFile
from sessions_cli.selection import Selection
from sessions_cli.sources import Source
from sessions_cli.tables import SESSIONS_KEY
from sessions_cli.target import SESSIONS, Target
from sessions_cli.target_options import fail, fail_if_any, on_target


@click.command(name="load")
@click.argument("file")
@click.option(
    "--only",
    metavar="PATH",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Load only the sessions whose ids are in this file, one on each line.",
)
@click.option(
    "--rejects",
    metavar="PATH",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for rejected lines, created with the first; FILE.rejects.ndjson in this folder unless given.",
)
@on_target(SESSIONS)
def load_command(target: Target, file: str, only: Path | None, rejects: Path | None) -> None:
    """Write the sessions of FILE into the table.

    Each line of FILE is a Session of the contract as JSON, or an item in DynamoDB's JSON, as `sessions export` writes
    them. FILE may also be a downloaded export of DynamoDB to S3: the folder with its manifest, or one of its data
    files. Gzip files are decompressed; - reads standard input. A Session with a field that the contract does not have
    is rejected, since the field would be lost; an item keeps all of its attributes. A rejected line is reported with
    its number and kept in a file, the other lines are loaded, and the exit status is 1.

    A stored session of the same id is overwritten, so a file can be loaded again. Its organization_id, agent_id and
    created_at never change, because totals follow insertions and removals alone: a line that would change them is
    rejected. They are compared just before writing; do not create the same ids from elsewhere meanwhile.

    \b
    Example:
      sessions export sessions.ndjson --endpoint-url http://127.0.0.1:8001
      sessions load sessions.ndjson --endpoint-url http://127.0.0.1:8001
    """
    selection = Selection(only) if only else None
    table, source = target.name(SESSIONS), Source(file)
    describe(target.dynamodb, table, SESSIONS_KEY)  # a table that is missing or out of reach is reported at once
    loaded, rejected, started = 0, 0, time.monotonic()
    with RejectsFile(file, rejects) as rejects_file, Progress() as progress:
        total = source.total() if progress.is_terminal and not selection else None

        def on_result(result: load.LoadResult) -> None:
            nonlocal loaded, rejected
            loaded += result.loaded
            rejected += len(result.rejected)
            for line, reason in result.rejected:
                progress.say(f"{line.place}: {reason}")
                rejects_file.write(line)
            progress("loading", loaded + rejected, total)

        lines = selection.choose(source.lines()) if selection else source.lines()
        try:
            load.load(target.dynamodb, table, lines, on_result)
        except BaseException:
            if loaded:
                progress.say(f"At least {loaded:,} were loaded; loading them again does no harm.")
            raise
    seconds = time.monotonic() - started
    click.echo(
        f"loaded {loaded:,}, rejected {rejected:,}, in {seconds:.1f} s ({loaded / max(seconds, 0.001):,.0f} a second)"
    )
    if rejected:
        click.echo(rejects_file.summary, err=True)
    if selection:
        fail_if_any(dict.fromkeys(sorted(selection.missing), f"not in {source.name}"), f"ids of {only} have no line")
    if rejected:
        fail()


@click.command(name="export")
@click.argument("file")
@click.option("--organization", metavar="ORG", help="Only the sessions of this organization, newest first.")
@click.option(
    "--rate", type=click.FloatRange(min=1), default=export.RATE, show_default=True, help="Sessions a second at most."
)
@on_target(SESSIONS)
def export_command(target: Target, file: str, organization: str | None, rate: float) -> None:
    """Write the items of the table to FILE, one on each line, for `sessions load`.

    An export is a backup: loading it makes the same items again. A line is a Session of the contract where that loses
    nothing. Otherwise, if the item has attributes of its own, such as a time-to-live, or values that JSON cannot hold
    exactly, the line is {"Item": ...}, the item in DynamoDB's JSON. Items that `sessions load` would reject are
    written and reported, and the exit status is 1. With nothing to export, FILE is left as it is, and the exit
    status is 1 as well.

    A regular FILE is replaced when everything has been written. FILE is compressed if it ends in .gz; - is standard
    output. Sessions created or deleted in the meantime may or may not be in it.

    \b
    Example:
      sessions export sessions.ndjson.gz --endpoint-url http://127.0.0.1:8001
    """
    if organization is not None:
        keys.check_organization(organization)
    table = target.name(SESSIONS)
    with Progress() as progress, atomic_writer(file) as opened:
        compressed = gzip.GzipFile(fileobj=opened, mode="wb", filename="") if file.endswith(".gz") else None
        report = export.export(
            target.dynamodb,
            table,
            compressed or opened,
            organization_id=organization,
            rate=rate,
            progress=progress,
        )
        if not report.sessions:
            kept = "" if file == STDOUT else f" {file} was not written."
            raise click.ClickException(f"There is nothing to export: no sessions of {organization or table}.{kept}")
        if compressed:
            compressed.close()
    click.echo(f"exported {report.sessions:,}", err=True)
    fail_if_any(report.refused, "would be rejected by `sessions load`")


ALL: Final = (load_command, export_command)
