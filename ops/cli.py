"""The `sessions` command: what an operator does beside deploying."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar
from urllib.parse import urlsplit

import click
from botocore.exceptions import BotoCoreError, ClientError
from click.core import ParameterSource
from rich.console import Console
from rich.table import Table

from ops import aws, keys
from ops import load as loading
from ops.console import Shown
from sessions.api_keys import Denial, parse_key

Command = TypeVar("Command", bound=Callable[..., Any])

STDIN: Final = "stdin"
"""What standard input is called in messages, and its rejects file after it."""

LOCAL_HOSTS: Final = ("127.0.0.1", "localhost", "::1")

DIFFERENCES: Final = 50
"""Differences that an audit shows unless it is asked for all."""


class Commands(click.Group):
    """Commands whose expected faults end in one line on standard error."""

    def invoke(self, ctx: click.Context) -> Any:
        ctx.obj = aws.Place()
        try:
            return super().invoke(ctx)
        except (BotoCoreError, ClientError) as error:
            raise click.ClickException(aws.sentence_of(error, ctx.obj)) from None
        except (aws.Unclear, keys.NotPossible) as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sessions")
def main() -> None:
    """Load sessions, keep their counts, issue API keys, and check a deployment.

    Tables are those of --stack, or named one by one. Region and credentials come from where every AWS tool
    takes them. With --endpoint-url, or AWS_ENDPOINT_URL_DYNAMODB, the commands work on an engine of your own,
    and on the tables of `make run` unless told otherwise; then neither credentials nor a region are needed.
    """


@main.group()
def counts() -> None:
    """The counts that totals and pages are found by."""


@main.group(name="keys")
def key_commands() -> None:
    """API keys: issue, list, revoke."""


def at_a_place(command: Command) -> Command:
    """Options that say where to work."""
    for option in (
        click.option("--stack", metavar="NAME", help="CloudFormation stack that names the tables."),
        click.option(
            "--endpoint-url",
            metavar="URL",
            envvar=["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"],
            show_envvar=True,
            help="DynamoDB-compatible engine to use instead of AWS.",
        ),
    ):
        command = option(command)
    return command


def table_option(name: str, variable: str, what: str) -> Callable[[Command], Command]:
    """An option for the name of a table."""
    return click.option(f"--{name}", metavar="NAME", envvar=variable, show_envvar=True, help=what)


sessions_table = table_option("table", "SESSIONS_TABLE", "Table of the sessions.")
counts_table = table_option("counts-table", "COUNTS_TABLE", "Table of the counts.")
api_keys_table = table_option("table", "API_KEYS_TABLE", "Table of the API keys.")


def place_of(ctx: click.Context, endpoint_url: str | None, stack: str | None) -> aws.Place:
    """Where to work, which messages about faults mention too."""
    place = aws.Place(endpoint_url, stack)
    ctx.find_root().obj = place
    return place


def named(ctx: click.Context, place: aws.Place, output: str, option: str, given: str | None) -> str:
    """The name of a table; one on the command line goes before the stack, the stack before the environment."""
    parameter = option.removeprefix("--").replace("-", "_")
    is_typed = ctx.get_parameter_source(parameter) == ParameterSource.COMMANDLINE
    return place.name(output, given if is_typed or not ctx.params["stack"] else None, option)


# -------------------------------------------------------------------------------------------- load


@main.command()
@click.argument("file", type=click.File("rb"))
@sessions_table
@click.option(
    "--rejects",
    metavar="PATH",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where bad lines go; FILE with .rejects.ndjson for its ending unless given. Made only when there are any.",
)
@at_a_place
@click.pass_context
def load(
    ctx: click.Context,
    file: BinaryIO,
    table: str | None,
    rejects: Path | None,
    endpoint_url: str | None,
    stack: str | None,
) -> None:
    """Write the sessions of FILE into the table.

    FILE has one Session of the contract a line, as JSON; - reads standard input. Fields that the contract does
    not have are refused, since they would be lost. A bad line is reported with its number and set aside, the
    others are loaded, and the exit status is 1.

    An entry of the same id is overwritten, so a file can be loaded again. But organization_id, agent_id and
    created_at of an entry never change, because totals follow insertions and removals alone: a line that would
    change them is refused. They are compared just before writing; do not create the same ids from elsewhere
    meanwhile.

    \b
    Example:
      sessions load sessions.ndjson --stack sessions-production
      AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:8001 sessions load sessions.ndjson
    """
    place = place_of(ctx, endpoint_url, stack)
    name = named(ctx, place, aws.SESSIONS, "--table", table)
    report, started = loading.Report(), time.monotonic()
    with Rejects(file, rejects) as aside, Shown() as shown:

        def reject(rejected: loading.Rejected) -> None:
            shown.say(f"line {rejected.line.number}: {rejected.reason}")
            aside.write(rejected.line)

        of = _lines_in(file) if shown.is_terminal else None
        try:
            loading.load(
                place.dynamodb,
                name,
                loading.read_lines(file),
                reject=reject,
                progress=shown,
                of=of,
                report=report,
            )
        except BaseException as error:
            if report.loaded:
                shown.say(f"Broken off: at least {report.loaded:,} were loaded. Loading them again does no harm.")
            if isinstance(error, OSError):
                raise click.ClickException(f"{_name_of(file)}: {error.strerror}") from None
            raise
    seconds = time.monotonic() - started
    click.echo(
        f"loaded {report.loaded:,}, rejected {report.rejected:,}, "
        f"in {seconds:.1f} s ({report.loaded / max(seconds, 0.001):,.0f} a second)"
    )
    if report.rejected:
        click.echo(f"What was not loaded is in {aside.path}.", err=True)
        ctx.exit(1)


class Rejects:
    """The file of the lines that were not loaded, made with the first of them."""

    def __init__(self, source: BinaryIO, path: Path | None) -> None:
        name = _name_of(source)
        self.path = path or Path(name).with_suffix(".rejects.ndjson")
        self._file: BinaryIO | None = None
        if name != STDIN and self.path.exists() and self.path.samefile(name):
            raise click.UsageError(f"--rejects {self.path} is FILE itself.")

    def __enter__(self) -> Rejects:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, line: loading.Line) -> None:
        """Adds a line as it was; one that is longer than any entry was not read to its end, and is left out."""
        try:
            if self._file is None:
                self._file = self.path.open("wb")
            if len(line.text) <= loading.LINE_BYTES:
                self._file.write(line.text + b"\n")
                self._file.flush()
        except OSError as error:
            raise click.ClickException(f"{self.path}: {error.strerror}; --rejects chooses another file.") from None


def _name_of(file: BinaryIO) -> str:
    """The path of a file as it was given."""
    name = getattr(file, "name", None)
    return name if isinstance(name, str) and name != "<stdin>" else STDIN


def _lines_in(file: BinaryIO) -> int | None:
    """How many lines a regular file has; None for a pipe, which can be read only once."""
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return None
    lines = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    file.seek(0)
    return lines


# ------------------------------------------------------------------------------------------ counts


@counts.command()
@sessions_table
@counts_table
@click.option("--rate", type=click.FloatRange(min=1), help="Sessions a second at most; 500 unless given.")
@click.option("--workers", type=click.IntRange(1, 32), help="Organizations at the same time; 4 unless given.")
@click.option("--empty-first", is_flag=True, help="Delete every count before; only with the stream turned off.")
@click.option("--yes", is_flag=True, help="Do not ask before emptying.")
@at_a_place
@click.pass_context
def rebuild(
    ctx: click.Context,
    table: str | None,
    counts_table: str | None,
    rate: float | None,
    workers: int | None,
    empty_first: bool,
    yes: bool,
    endpoint_url: str | None,
    stack: str | None,
) -> None:
    """Count every session of the table anew: the backfill and the repair.

    Safe at any time beside live traffic, and as often as you like; what was right stays untouched. Broken off,
    it is simply run again.

    --empty-first is for counters that drifted although `sessions counts audit` finds every marker right. Turn
    the stream's event source mapping off before, and on after the emptying.

    \b
    Example:
      sessions counts rebuild --stack sessions-production --rate 200
    """
    from ops import rebuild as rebuilding

    place = place_of(ctx, endpoint_url, stack)
    sessions_name = named(ctx, place, aws.SESSIONS, "--table", table)
    counts_name = named(ctx, place, aws.COUNTS, "--counts-table", counts_table)
    if empty_first and not yes:
        click.confirm(f"Is the stream off, and shall every row of {counts_name} be deleted?", abort=True, err=True)
    started = time.monotonic()
    with Shown() as shown:
        try:
            report = rebuilding.rebuild(
                place.dynamodb,
                sessions_name,
                counts_name,
                rate=rate or rebuilding.RATE,
                workers=workers or rebuilding.WORKERS,
                empty_first=empty_first,
                progress=shown,
            )
        except (rebuilding.StillCounting, rebuilding.Unreadable) as error:
            raise click.ClickException(str(error)) from None
    click.echo(
        f"{report.sessions:,} sessions: {report.unchanged:,} were counted right, {report.added:,} added, "
        f"{report.moved:,} moved, {report.removed:,} removed, in {report.transactions:,} transactions "
        f"and {time.monotonic() - started:.1f} s"
    )
    _end_with(ctx, report.failed, "could not be counted")


@counts.command()
@sessions_table
@counts_table
@click.option("--all", "is_complete", is_flag=True, help=f"Show every difference, not the first {DIFFERENCES} alone.")
@at_a_place
@click.pass_context
def audit(
    ctx: click.Context,
    table: str | None,
    counts_table: str | None,
    is_complete: bool,
    endpoint_url: str | None,
    stack: str | None,
) -> None:
    """Compare counts with sessions, and report every difference.

    The exit status is 1 when there is one. Reads both tables from end to end and writes nothing. A difference
    is looked at a second time a few seconds later, so that live traffic is not taken for one. `sessions counts
    rebuild` mends markers, and the counters with them; counters that are wrong although every marker is right
    need --empty-first.

    \b
    Example:
      sessions counts audit --stack sessions-production
    """
    from ops import audit as auditing

    place = place_of(ctx, endpoint_url, stack)
    sessions_name = named(ctx, place, aws.SESSIONS, "--table", table)
    counts_name = named(ctx, place, aws.COUNTS, "--counts-table", counts_table)
    with Shown() as shown:
        report = auditing.audit(place.dynamodb, sessions_name, counts_name, progress=shown)
    click.echo(f"{report.sessions:,} sessions, {report.markers:,} markers, {report.bins:,} bins compared")
    differences = [
        f"bin {each.scope} {each.bucket} {each.bin}: {'no number' if each.counted is None else each.counted}"
        f" and not {each.actual}"
        for each in report.wrong_bins
    ]
    differences += [f"marker of {each.session_id}: {each.kind}" for each in report.wrong_markers]
    shown_ones = differences if is_complete else differences[:DIFFERENCES]
    for line in shown_ones:
        click.echo(line)
    if len(shown_ones) < len(differences):
        click.echo(f"... and {len(differences) - len(shown_ones):,} more (--all shows them)")
    if differences:
        mending = "sessions counts rebuild" + ("" if report.wrong_markers else " --empty-first")
        click.echo(f"{len(differences):,} differences; `{mending}` mends them (docs/operations.md).", err=True)
        ctx.exit(1)
    click.echo("no difference")


@counts.command()
@sessions_table
@counts_table
@click.option("--queue-url", metavar="URL", help="Failure queue of the stream.")
@at_a_place
@click.pass_context
def redrive(
    ctx: click.Context,
    table: str | None,
    counts_table: str | None,
    queue_url: str | None,
    endpoint_url: str | None,
    stack: str | None,
) -> None:
    """Count what the stream could not, out of the failure queue.

    Nothing is replayed as it was: each session is looked at as it is now. Messages that are done are deleted,
    the others stay in the queue and are reported, and the exit status is 1.

    \b
    Example:
      sessions counts redrive --stack sessions-production
    """
    from ops import redrive as redriving

    place = place_of(ctx, endpoint_url, stack)
    sessions_name = named(ctx, place, aws.SESSIONS, "--table", table)
    counts_name = named(ctx, place, aws.COUNTS, "--counts-table", counts_table)
    queue = named(ctx, place, aws.FAILURE_QUEUE, "--queue-url", queue_url)
    with Shown() as shown:
        report = redriving.redrive(
            place.sqs, place.streams, place.dynamodb, queue, sessions_name, counts_name, progress=shown
        )
    click.echo(f"{report.done:,} messages done, {report.sessions:,} sessions looked at")
    _end_with(ctx, report.kept, "stay in the queue")


def _end_with(ctx: click.Context, failed: dict[str, str], what: str) -> None:
    for name, reason in failed.items():
        click.echo(f"{name}: {reason}", err=True)
    if failed:
        click.echo(f"{len(failed):,} {what}.", err=True)
        ctx.exit(1)


# -------------------------------------------------------------------------------------------- keys


@key_commands.command()
@click.option("--organization", metavar="ORG", required=True, help="Organization that the key belongs to.")
@click.option("--name", default="", help="What the key is for; it is in the authorizer's context.")
@click.option("--expires", metavar="WHEN", help="90d, 12h or 30m from now, or a date; never unless given.")
@api_keys_table
@at_a_place
@click.pass_context
def create(
    ctx: click.Context,
    organization: str,
    name: str,
    expires: str | None,
    table: str | None,
    endpoint_url: str | None,
    stack: str | None,
) -> None:
    """Issue a key, and print it once: the table keeps only its hash.

    The key alone goes to standard output, so that it can be captured.

    \b
    Example:
      KEY=$(sessions keys create --organization org_00000000000000000000000000000001 --expires 90d)
    """
    expires_at = None if expires is None else keys.moment(expires)
    place = place_of(ctx, endpoint_url, stack)
    table_name = named(ctx, place, aws.API_KEYS, "--table", table)
    key, issued = keys.issue(place.dynamodb, table_name, organization, name, expires_at)
    click.echo(
        f"Key of {issued.organization_id}, fingerprint {issued.fingerprint}, "
        + (f"until {keys.as_text(expires_at)}" if expires_at else "without end")
        + ". It cannot be shown again:",
        err=True,
    )
    click.echo(key)


@key_commands.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array instead of a table.")
@api_keys_table
@at_a_place
@click.pass_context
def list_keys(
    ctx: click.Context, as_json: bool, table: str | None, endpoint_url: str | None, stack: str | None
) -> None:
    """Show every key's organization, name, times, state and fingerprint; never the key.

    The fingerprint is the beginning of the key's SHA-256: printf %s "$KEY" | sha256sum | cut -c1-16

    \b
    Example:
      sessions keys list --stack sessions-production
    """
    place = place_of(ctx, endpoint_url, stack)
    found = keys.listed(place.dynamodb, named(ctx, place, aws.API_KEYS, "--table", table))
    if as_json:
        click.echo(json.dumps([key.as_json for key in found], indent=2, ensure_ascii=False))
        return
    shown = Table(box=None, pad_edge=False)
    shown.add_column("fingerprint", no_wrap=True)
    for title in ("state", "organization", "name", "created", "expires"):
        shown.add_column(title, overflow="fold")
    for key in found:
        expires = "never" if key.expires_at is None else keys.as_text(key.expires_at)
        shown.add_row(key.fingerprint, key.state, key.organization_id, key.name, key.created_at[:19] + "Z", expires)
    # Lines that a program reads are not folded to the width of a terminal that is not there.
    width = None if sys.stdout.isatty() else 500
    Console(markup=False, highlight=False, width=width).print(shown)


@key_commands.command()
@click.argument("fingerprint")
@api_keys_table
@at_a_place
@click.pass_context
def revoke(
    ctx: click.Context, fingerprint: str, table: str | None, endpoint_url: str | None, stack: str | None
) -> None:
    """Delete the key of a FINGERPRINT, or of the first digits of one.

    The gateway may remember the key for as long as the stack's AuthorizerCacheSeconds says.

    \b
    Example:
      sessions keys revoke 9f86d081884c7d65 --stack sessions-production
    """
    place = place_of(ctx, endpoint_url, stack)
    gone = keys.revoke(place.dynamodb, named(ctx, place, aws.API_KEYS, "--table", table), fingerprint)
    called = f" ({gone.name})" if gone.name else ""
    click.echo(f"revoked {gone.fingerprint}{called} of {gone.organization_id}")


# ------------------------------------------------------------------------------------------- smoke


@main.command()
@click.argument("url")
@click.option("--key", metavar="KEY", envvar="SESSIONS_API_KEY", show_envvar=True, help="API key to call with.")
def smoke(url: str, key: str | None) -> None:
    """Check that the API at URL answers as it should.

    The exit status is 1 when it does not. URL is what stands before /v1/sessions, the stage included. Nothing
    is written. For `make run` on this machine the key of the sample's first organization is used unless another one is
    given.

    \b
    Example:
      SESSIONS_API_KEY=$KEY sessions smoke https://abcdef1234.execute-api.eu-west-1.amazonaws.com/live
      sessions smoke http://127.0.0.1:8080
    """
    from ops import smoke as smoking

    if not aws.is_address(url) or "?" in url or "#" in url:
        raise click.BadParameter(f"{url!r} is not an address such as https://api.example.com/live.", param_hint="URL")
    if not key and urlsplit(url).hostname in LOCAL_HOSTS:
        key = keys.demo_key(f"org_{1:032x}")
    if not key:
        raise click.UsageError("Which key? --key or SESSIONS_API_KEY.")
    if isinstance(parse_key([key]), Denial):
        raise click.UsageError("What was given as the key has not the form of one: evr_ and letters and digits.")
    failed = 0
    try:
        for result in smoking.smoke(url, key):
            failed += not result.passed
            remark = f": {result.remark}" if result.remark else ""
            click.echo(f"{'✓' if result.passed else '✗'} {result.name}{remark}")
    except smoking.Unreachable as error:
        raise click.ClickException(f"No answer from {error}") from None
    if failed:
        raise click.ClickException(f"{failed} of {len(smoking.CHECKS)} checks failed.")
    click.echo(f"all {len(smoking.CHECKS)} checks passed")
