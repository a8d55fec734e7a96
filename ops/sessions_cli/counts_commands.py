"""`sessions counts`: rebuild, audit and redrive the counts."""

from __future__ import annotations

import time

import click

from sessions_cli import audit, rebuild, redrive
from sessions_cli.progress import Progress
from sessions_cli.target import COUNTS, FAILURE_QUEUE, SESSIONS, Target
from sessions_cli.target_options import FAILED, NOT_YET, fail, fail_if_any, on_target


@click.group()
def counts() -> None:
    """Rebuild, audit and redrive the counts."""


@counts.command(name="rebuild")
@click.option(
    "--rate", type=click.FloatRange(min=1), default=rebuild.RATE, show_default=True, help="Sessions a second at most."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 32),
    default=rebuild.WORKERS,
    show_default=True,
    help="Organizations that are counted at the same time.",
)
@click.option("--empty-first", is_flag=True, help="Delete all counts first; only while the stream is disabled.")
@click.option("--yes", is_flag=True, help="Do not ask before emptying.")
@on_target(SESSIONS, COUNTS)
def rebuild_command(target: Target, rate: float, workers: int, empty_first: bool, yes: bool) -> None:
    """Recount every session in the table: the backfill and the repair.

    Safe at any time beside live traffic, and as often as you like; correct counts are left as they are, and rows of
    an earlier version are removed. If interrupted, run it again.

    --empty-first is for bins that are wrong although `sessions counts audit` finds every marker right. Disable the
    stream's event source mapping first, and enable it after the emptying.

    \b
    Example:
      sessions counts rebuild --rate 200 --endpoint-url http://127.0.0.1:8001
    """
    tables = target.tables
    if empty_first and not yes:
        click.confirm(f"The stream must be disabled. Delete every row of {tables.counts}?", abort=True, err=True)
    started = time.monotonic()
    with Progress() as progress:
        report = rebuild.rebuild(tables, rate=rate, workers=workers, empty_first=empty_first, progress=progress)
    click.echo(f"{report}, {time.monotonic() - started:.1f} s")
    fail_if_any(report.failed, "could not be counted")


@counts.command(name="audit")
@click.option("--wait", is_flag=True, help="Wait until the stream has delivered what is not counted yet.")
@click.option("--all", "is_complete", is_flag=True, help="Show all differences, not only the first 50.")
@on_target(SESSIONS, COUNTS)
def audit_command(target: Target, wait: bool, is_complete: bool) -> None:
    """Compare counts with sessions, and report every difference.

    Also reports items that are missing from a list because they lack a key of its index. The exit status is 1 when
    something is wrong, and 3 when some sessions are only not counted yet; --wait waits until they are, or until
    nothing has been counted for a minute. Reads both tables completely and writes nothing.

    \b
    Example:
      sessions counts audit --wait --endpoint-url http://127.0.0.1:8001
    """
    with Progress() as progress:
        report = audit.audit(target.tables, wait=wait, progress=progress)
    click.echo(f"{report.sessions:,} sessions, {report.markers:,} markers, {report.bins:,} bins compared")
    differences = report.differences()
    shown = differences if is_complete else differences[: audit.SHOWN]
    for line in shown:
        click.echo(line)
    if len(shown) < len(differences):
        click.echo(f"... and {len(differences) - len(shown):,} more (--all shows them)")
    for verdict in report.verdicts():
        click.echo(verdict, err=True)
    if not report.is_clean:
        fail(FAILED if report.is_wrong else NOT_YET)
    click.echo("no difference")


@counts.command(name="redrive")
@on_target(SESSIONS, COUNTS, FAILURE_QUEUE)
def redrive_command(target: Target) -> None:
    """Count the sessions that the stream could not count, by the messages of the failure queue.

    Nothing is replayed: each session is counted as it is now. Messages whose sessions are counted are deleted. The
    others stay in the queue and are reported, and the exit status is 1. `make run` has no such queue.

    \b
    Example:
      sessions counts redrive --stack sessions-production
    """
    tables, queue = target.tables, target.name(FAILURE_QUEUE)
    with Progress() as progress:
        report = redrive.redrive(tables, target.streams, target.sqs, queue, progress=progress)
    click.echo(f"{report.done:,} messages done, {report.sessions:,} sessions recounted")
    fail_if_any(report.kept, "stay in the queue")
