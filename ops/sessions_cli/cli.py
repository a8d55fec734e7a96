"""The `sessions` command: parses options, calls the module that does the work, prints the result."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn
from urllib.parse import urlsplit

import click
from botocore.exceptions import BotoCoreError, ClientError
from click.core import ParameterSource
from rich.console import Console
from rich.table import Table

from sessions_cli import keys
from sessions_cli.errors import CommandError
from sessions_cli.progress import Progress
from sessions_cli.target import API_KEYS, COUNTS, FAILURE_QUEUE, SESSIONS, Target, is_url

Decorator = Callable[[Callable[..., None]], Callable[..., None]]

LOCAL_HOSTS: Final = ("127.0.0.1", "localhost", "::1")

WRONG: Final = 1
NOT_YET: Final = 3
"""Exit status of an audit that found something wrong, and of one that found only what is not counted yet."""


INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, as shells have it."""


class NameOption(NamedTuple):
    """The option that names a table or queue."""

    flag: str
    variable: str
    help: str

    @property
    def option(self) -> Decorator:
        """The same for click."""
        metavar = "URL" if self.flag.endswith("url") else "NAME"
        return click.option(self.flag, metavar=metavar, envvar=self.variable, show_envvar=True, help=self.help)


NAME_OPTIONS: Final = {
    SESSIONS: NameOption("--table", "SESSIONS_TABLE", "Table of the sessions."),
    COUNTS: NameOption("--counts-table", "COUNTS_TABLE", "Table of the counts."),
    API_KEYS: NameOption("--table", "API_KEYS_TABLE", "Table of the API keys."),
    FAILURE_QUEUE: NameOption("--queue-url", "FAILURE_QUEUE_URL", "Failure queue of the stream."),
}


class Commands(click.Group):
    """Commands whose expected faults end in one line on standard error."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CommandError as error:
            raise click.ClickException(str(error)) from None
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sessions")
def main() -> None:
    """Load and export sessions, keep their counts, issue API keys, look at a deployment and check it.

    Tables are those of --stack, or named one by one. Region and credentials come from where every AWS tool
    takes them. With --endpoint-url, or AWS_ENDPOINT_URL_DYNAMODB, the commands work on another DynamoDB-compatible
    engine, and on the tables of `make run` unless told otherwise; then neither credentials nor a region are needed.
    """


@main.group()
def counts() -> None:
    """Rebuild, audit and redrive the counts."""


@main.group(name="keys")
def key_commands() -> None:
    """API keys: issue, list, revoke."""


def on_target(*resources: str) -> Decorator:
    """Options that say what to work on; the command gets the target that they make.

    Args:
        resources: outputs of the stack that name what the command uses.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run_on_target(stack: str | None, endpoint_url: str | None, **parameters: Any) -> None:
            ctx = click.get_current_context()
            given = {}
            for resource in resources:
                parameter = NAME_OPTIONS[resource].flag.removeprefix("--").replace("-", "_")
                name = parameters.pop(parameter)
                # What was typed goes before the stack, and the stack before the environment.
                if not stack or ctx.get_parameter_source(parameter) is ParameterSource.COMMANDLINE:
                    given[resource] = name
            target = Target(endpoint_url, stack, given, session=ctx.obj)
            try:
                command(target, **parameters)
            except (BotoCoreError, ClientError) as error:
                raise CommandError(target.explain(error)) from None

        decorated: Callable[..., None] = run_on_target
        for option in (STACK, ENDPOINT_URL, *(NAME_OPTIONS[resource].option for resource in reversed(resources))):
            decorated = option(decorated)
        return decorated

    return decorate


STACK: Final[Decorator] = click.option("--stack", metavar="NAME", help="CloudFormation stack that names the tables.")
ENDPOINT_URL: Final[Decorator] = click.option(
    "--endpoint-url",
    metavar="URL",
    envvar=["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"],
    show_envvar=True,
    help="DynamoDB-compatible engine to use instead of AWS.",
)


def fail(status: int = WRONG) -> NoReturn:
    """Ends the command with an exit status."""
    raise click.exceptions.Exit(status)


def fail_if_any(failed: dict[str, str], what: str) -> None:
    """Lists what failed, and ends the command if anything did."""
    for name, reason in failed.items():
        click.echo(f"{name}: {reason}", err=True)
    if failed:
        click.echo(f"{len(failed):,} {what}.", err=True)
        fail()


# --------------------------------------------------------------------------------- load and export


@main.command(name="load")
@click.argument("file")
@click.option(
    "--rejects",
    metavar="PATH",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where bad lines go; unless given, FILE with .rejects.ndjson for its ending. Made only when there are any.",
)
@on_target(SESSIONS)
def load_command(target: Target, file: str, rejects: Path | None) -> None:
    """Write the sessions of FILE into the table.

    FILE has one Session of the contract a line, as JSON (what `sessions export` writes), or it is what DynamoDB
    exports to S3: one of its data files, or the downloaded folder with its manifest. Gzip files are
    decompressed; - reads standard input. Fields that the contract does not have are refused, since they would be lost;
    DynamoDB's own items keep them. A bad line is reported with its number and set aside, the others are loaded, and
    the exit status is 1.

    An entry of the same id is overwritten, so a file can be loaded again. But organization_id, agent_id and
    created_at of an entry never change, because totals follow insertions and removals alone: a line that would
    change them is refused. They are compared just before writing; do not create the same ids from elsewhere
    meanwhile.

    \b
    Example:
      sessions export sessions.ndjson --endpoint-url http://127.0.0.1:8001
      sessions load sessions.ndjson --endpoint-url http://127.0.0.1:8001
    """
    from sessions_cli import load
    from sessions_cli.dynamodb import approximate_count
    from sessions_cli.sources import STDIN, NotLines, Source

    table, source = target.sessions_table, Source(file)
    approximate_count(target.dynamodb, table)  # a table that is not there, or out of reach, is told at once
    report, started = load.LoadReport(), time.monotonic()
    with load.RejectsFile(file, rejects) as aside, Progress() as progress:

        def reject(rejected: load.RejectedLine) -> None:
            progress.say(f"{rejected.line.place}: {rejected.reason}")
            aside.write(rejected.line)

        total = source.total() if progress.is_terminal else None
        try:
            load.load(
                target.dynamodb, table, source.lines(), reject=reject, progress=progress, total=total, report=report
            )
        except NotLines as error:
            given = "FILE" if file == STDIN else file
            raise CommandError(f"{error}; `jq -c '{error.jq_filter}' {given} | sessions load -` loads it.") from None
        except BaseException:
            if report.loaded:
                progress.say(f"At least {report.loaded:,} were loaded; loading them again does no harm.")
            raise
    seconds = time.monotonic() - started
    click.echo(
        f"loaded {report.loaded:,}, rejected {report.rejected:,}, "
        f"in {seconds:.1f} s ({report.loaded / max(seconds, 0.001):,.0f} a second)"
    )
    if report.rejected:
        click.echo(f"What was not loaded is in {aside.path}.", err=True)
        fail()


@main.command(name="export")
@click.argument("file")
@click.option("--organization", metavar="ORG", help="Only the sessions of this organization, newest first.")
@click.option("--rate", type=click.FloatRange(min=1), help="Sessions a second at most; 5000 unless given.")
@click.option(
    "--segments", type=click.IntRange(1, 64), help="Parts of the table that are read at once; 4 unless given."
)
@on_target(SESSIONS)
def export_command(
    target: Target, file: str, organization: str | None, rate: float | None, segments: int | None
) -> None:
    """Write the sessions of the table to FILE, one Session of the contract a line.

    It is what `sessions load` reads. FILE appears when everything has been written; one that ends in .gz is
    compressed, and - is standard output. Numbers keep every digit; binary values become base64 text, as in the API's
    responses. Items that are not Sessions are reported and left out, and the exit status is 1. What is written
    meanwhile may be there or not.

    \b
    Example:
      sessions export sessions.ndjson.gz --endpoint-url http://127.0.0.1:8001
    """
    from sessions_cli import export

    table = target.sessions_table
    with Progress() as progress, export.whole_file(file) as writable:
        report = export.export(
            target.dynamodb,
            table,
            writable,
            organization_id=organization,
            segments=segments or export.SEGMENTS,
            rate=rate or export.RATE,
            progress=progress,
        )
    if report.left_out:
        names = ", ".join(sorted(report.left_out))
        click.echo(f"Left out, since the contract does not have them: {names}.", err=True)
    click.echo(f"exported {report.sessions:,}", err=True)
    fail_if_any(report.invalid, "are not Sessions")


# ------------------------------------------------------------------------------------------ counts


@counts.command()
@click.option("--rate", type=click.FloatRange(min=1), help="Sessions a second at most; 500 unless given.")
@click.option("--workers", type=click.IntRange(1, 32), help="Organizations at the same time; 4 unless given.")
@click.option("--empty-first", is_flag=True, help="Delete every count before; only with the stream turned off.")
@click.option("--yes", is_flag=True, help="Do not ask before emptying.")
@on_target(SESSIONS, COUNTS)
def rebuild(target: Target, rate: float | None, workers: int | None, empty_first: bool, yes: bool) -> None:
    """Recount every session in the table: the backfill and the repair.

    Safe at any time beside live traffic, and as often as you like; what was correct stays untouched. If interrupted,
    run it again.

    --empty-first is for bins that are wrong although `sessions counts audit` finds every marker right, and for rows
    of an earlier version. Turn the stream's event source mapping off before, and on after the emptying.

    \b
    Example:
      sessions counts rebuild --rate 200 --endpoint-url http://127.0.0.1:8001
    """
    from sessions_cli import reconcile

    tables = target.tables
    if empty_first and not yes:
        click.confirm(f"The stream must be turned off. Delete every row of {tables.counts}?", abort=True, err=True)
    started = time.monotonic()
    with Progress() as progress:
        report = reconcile.rebuild(
            tables,
            rate=rate or reconcile.RATE,
            workers=workers or reconcile.WORKERS,
            empty_first=empty_first,
            progress=progress,
        )
    click.echo(f"{report}, {time.monotonic() - started:.1f} s")
    fail_if_any(report.failed, "could not be counted")


@counts.command(name="audit")
@click.option("--wait", is_flag=True, help="Wait until the stream has delivered what is not counted yet.")
@click.option("--all", "is_complete", is_flag=True, help="Show every difference, not only the first 50.")
@on_target(SESSIONS, COUNTS)
def audit_command(target: Target, wait: bool, is_complete: bool) -> None:
    """Compare counts with sessions, and report every difference.

    Tells what is wrong from what the stream has not delivered yet. The exit status is 1 when something is wrong, and
    3 when some sessions are only not counted yet; --wait stays until they are, or until nothing has been counted for
    a minute. Reads both tables from end to end and writes nothing.

    \b
    Example:
      sessions counts audit --wait --endpoint-url http://127.0.0.1:8001
    """
    from sessions_cli import audit

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
        fail(WRONG if report.is_wrong else NOT_YET)
    click.echo("no difference")


@counts.command(name="redrive")
@on_target(SESSIONS, COUNTS, FAILURE_QUEUE)
def redrive_command(target: Target) -> None:
    """Count what the stream could not, out of the failure queue.

    Nothing is replayed as it was: each session is looked at as it is now. Messages that are done are deleted, the
    others stay in the queue and are reported, and the exit status is 1. `make run` has no such queue.

    \b
    Example:
      sessions counts redrive --stack sessions-production
    """
    from sessions_cli import redrive

    tables, queue = target.tables, target.failure_queue
    with Progress() as progress:
        report = redrive.redrive(tables, target.streams, target.sqs, queue, progress=progress)
    click.echo(f"{report.done:,} messages done, {report.sessions:,} sessions recounted")
    fail_if_any(report.kept, "stay in the queue")


# -------------------------------------------------------------------------------------------- keys


@key_commands.command()
@click.option("--organization", metavar="ORG", required=True, help="Organization that the key belongs to.")
@click.option("--name", default="", help="What the key is for; it is in the authorizer's context.")
@click.option("--expires", metavar="WHEN", help="90d, 12h or 30m from now, or a date; never unless given.")
@on_target(API_KEYS)
def create(target: Target, organization: str, name: str, expires: str | None) -> None:
    """Issue a key, and print it once: the table keeps only its hash.

    The key alone goes to standard output, so that it can be captured.

    \b
    Example:
      KEY=$(sessions keys create --organization org_00000000000000000000000000000001 --expires 90d \\
            --endpoint-url http://127.0.0.1:8001)
    """
    expires_at = None if expires is None else keys.parse_expiry(expires)
    table = target.api_keys_table
    key, issued = keys.issue(target.dynamodb, table, organization, name, expires_at)
    until = f"expires at {keys.format_time(expires_at)}" if expires_at else "never expires"
    click.echo(
        f"Key of {issued.organization_id}, fingerprint {issued.fingerprint}, {until}. It cannot be shown again:",
        err=True,
    )
    click.echo(key)


@key_commands.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array instead of a table.")
@on_target(API_KEYS)
def list_keys(target: Target, as_json: bool) -> None:
    """Show every key's organization, name, times, state and fingerprint; never the key.

    The fingerprint is the beginning of the key's SHA-256: printf %s "$KEY" | sha256sum | cut -c1-16

    \b
    Example:
      sessions keys list --endpoint-url http://127.0.0.1:8001
    """
    table = target.api_keys_table
    found = keys.list_keys(target.dynamodb, table)
    if as_json:
        click.echo(json.dumps([key.as_json for key in found], indent=2, ensure_ascii=False))
        return
    shown = Table(box=None, pad_edge=False)
    shown.add_column("fingerprint", no_wrap=True)
    for title in ("state", "organization", "name", "created", "expires"):
        shown.add_column(title, overflow="fold")
    for key in found:
        expires = "never" if key.expires_at is None else keys.format_time(key.expires_at)
        shown.add_row(key.fingerprint, key.state, key.organization_id, key.name, key.created_at[:19] + "Z", expires)
    _print(shown)


@key_commands.command()
@click.argument("fingerprint")
@on_target(API_KEYS)
def revoke(target: Target, fingerprint: str) -> None:
    """Delete the key of a FINGERPRINT, or of the first digits of one.

    The gateway may have the key cached for as long as the stack's AuthorizerCacheSeconds says.

    \b
    Example:
      KEY=$(sessions keys create --organization org_00000000000000000000000000000001 \\
            --endpoint-url http://127.0.0.1:8001)
      sessions keys revoke $(printf %s "$KEY" | sha256sum | cut -c1-16) --endpoint-url http://127.0.0.1:8001
    """
    table = target.api_keys_table
    gone = keys.revoke(target.dynamodb, table, fingerprint)
    called = f" ({gone.name})" if gone.name else ""
    click.echo(f"revoked {gone.fingerprint}{called} of {gone.organization_id}")


# --------------------------------------------------------------------------------- status and smoke


@main.command(name="status")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object instead of lines.")
@on_target(SESSIONS, COUNTS)
def show_status(target: Target, as_json: bool) -> None:
    """Look at a stack: tables, counting, failure queue, alarms, versions, the last deployment.

    Without --stack it shows what can be known of the tables. Sizes are DynamoDB's own, up to six hours old. The exit
    status is 1 when something needs a look.

    \b
    Example:
      sessions status --endpoint-url http://127.0.0.1:8001
    """
    from sessions_cli import status

    found = status.status(target)
    if as_json:
        click.echo(json.dumps(found | {"problems": status.problems(found)}, indent=2, ensure_ascii=False))
    else:
        shown = Table(box=None, pad_edge=False, show_header=False)
        for name, text in status.rows(found):
            shown.add_row(name, text)
        _print(shown)
    if status.problems(found):
        fail()


@main.group(name="rollback")
def rollback_commands() -> None:
    """Save what is deployed, and restore it."""


@rollback_commands.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@on_target()
def save(target: Target, file: Path) -> None:
    """Keep in FILE what the stack is made of now: its template and parameters.

    \b
    Example:
      sessions rollback save before.json --stack sessions-production
    """
    from sessions_cli import rollback

    stack = target.required_stack
    snapshot = rollback.save(target.client("cloudformation"), stack)
    file.write_text(json.dumps(snapshot and snapshot._asdict()), encoding="utf-8")
    click.echo(f"Saved {target.stack} to {file}." if snapshot else f"{target.stack} does not exist yet.")


@rollback_commands.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@on_target()
def restore(target: Target, file: Path) -> None:
    """Take the stack back to what FILE has of it, at once and past the alarms.

    \b
    Example:
      sessions rollback restore before.json --stack sessions-production
    """
    from sessions_cli import rollback

    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        snapshot = kept and rollback.Snapshot(**kept)
    except (TypeError, ValueError):
        raise CommandError(f"{file} is not what `sessions rollback save` writes.") from None
    if snapshot is None:
        raise CommandError(f"{target.required_stack} did not exist before; there is nothing to take it back to.")
    click.echo(f"Taking {target.required_stack} back ...")
    done = rollback.restore(target.client("cloudformation"), target.client("s3"), target.required_stack, snapshot)
    click.echo(f"{target.stack} is what it was before." if done else f"{target.stack} has not changed.")


@main.command(name="smoke")
@click.argument("url")
@click.option("--key", metavar="KEY", envvar="SESSIONS_API_KEY", show_envvar=True, help="API key to call with.")
def smoke_command(url: str, key: str | None) -> None:
    """Check that the API at URL behaves as the contract says.

    The exit status is 1 when it does not. URL is what stands before /v1/sessions, the stage included. Nothing is
    written. For `make run` on this machine the key of the sample's first organization is used unless another one is
    given.

    \b
    Example:
      sessions smoke http://127.0.0.1:8080
    """
    from sessions.api_keys import Denial, parse_key
    from sessions_cli import smoke

    if not is_url(url) or "?" in url or "#" in url:
        raise click.BadParameter(f"{url!r} is not a URL such as https://api.example.com/live.", param_hint="URL")
    if not key and urlsplit(url).hostname in LOCAL_HOSTS:
        key = keys.demo_key(f"org_{1:032x}")
    if not key:
        raise click.UsageError("No API key: use --key or set SESSIONS_API_KEY.")
    if isinstance(parse_key([key]), Denial):
        raise click.UsageError("--key is not a valid API key (evr_ and 16 to 128 letters, digits, - or _).")
    failed = 0
    for result in smoke.smoke(url, key):
        failed += not result.passed
        remark = f": {result.remark}" if result.remark else ""
        click.echo(f"{'✓' if result.passed else '✗'} {result.name}{remark}")
    if failed:
        raise CommandError(f"{failed} of {len(smoke.CHECKS)} checks failed.")
    click.echo(f"all {len(smoke.CHECKS)} checks passed")


def _print(table: Table) -> None:
    # Lines that a program reads are not folded to the width of a terminal that is not there.
    width = None if sys.stdout.isatty() else 500
    Console(markup=False, highlight=False, width=width).print(table)
