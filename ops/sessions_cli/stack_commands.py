"""`sessions status`, `sessions rollback` and `sessions smoke`: a deployment's status, rollback and smoke test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from sessions.api_keys import Denial, parse_key
from sessions_cli import rollback, smoke, status
from sessions_cli.atomic_writer import atomic_writer
from sessions_cli.keys import demo_key
from sessions_cli.output import print_table
from sessions_cli.target import COUNTS, SESSIONS, Target, is_url
from sessions_cli.target_options import fail, on_target

LOCAL_HOSTS: Final = ("127.0.0.1", "localhost", "::1")


@click.command(name="status")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object instead of lines.")
@on_target(SESSIONS, COUNTS)
def status_command(target: Target, as_json: bool) -> None:
    """Show a stack's tables, counting, failure queue, alarms, versions and last deployment.

    Without --stack it shows the tables alone. Sizes are DynamoDB's own, up to six hours old. The exit
    status is 1 when something needs attention.

    \b
    Example:
      sessions status --endpoint-url http://127.0.0.1:8001
    """
    found = status.status(target)
    problems = status.problems(found)
    if as_json:
        click.echo(json.dumps(found | {"problems": problems}, indent=2, ensure_ascii=False))
    else:
        print_table(status.rows(found))
    if problems:
        fail()


@click.group(name="rollback")
def rollback_group() -> None:
    """Save the deployed template and parameters, and restore them."""


@rollback_group.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@on_target()
def save(target: Target, file: Path) -> None:
    """Save the template and the parameters of the stack to FILE.

    \b
    Example:
      sessions rollback save before.json --stack sessions-production
    """
    stack = _required_stack(target)
    snapshot = rollback.save(target.client("cloudformation"), stack)
    with atomic_writer(str(file)) as opened:
        opened.write(json.dumps(snapshot and snapshot._asdict()).encode())
    click.echo(f"Saved {stack} to {file}." if snapshot else f"{stack} does not exist yet.")


@rollback_group.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@on_target()
def restore(target: Target, file: Path) -> None:
    """Update the stack to the template and parameters in FILE, at once and past the alarms.

    New versions of the functions are published: CloudFormation does not keep the versions from before a release. The
    code comes from the artifacts in S3 that the template names, and cannot be restored once they are deleted there.
    Tables and their data stay as they are.

    \b
    Example:
      sessions rollback restore before.json --stack sessions-production
    """
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
        snapshot = saved and rollback.Snapshot(**saved)
    except (TypeError, ValueError):
        raise click.ClickException(f"{file} is not what `sessions rollback save` writes.") from None
    stack = _required_stack(target)
    if snapshot is None:
        raise click.ClickException(f"{stack} did not exist when {file} was saved; there is nothing to roll back to.")
    click.echo(f"Rolling {stack} back ...")
    changed = rollback.restore(target.client("cloudformation"), target.client("s3"), stack, snapshot)
    click.echo(f"{stack} is rolled back." if changed else f"{stack} has not changed.")


def _required_stack(target: Target) -> str:
    if not target.stack:
        raise click.ClickException("Name the stack with --stack.")
    return target.stack


@click.command(name="smoke")
@click.argument("url")
@click.option("--key", metavar="KEY", envvar="SESSIONS_API_KEY", show_envvar=True, help="API key to call with.")
def smoke_command(url: str, key: str | None) -> None:
    """Check that the API at URL behaves as the contract says.

    URL is the address before /v1/sessions, the stage included. Nothing is written. The exit status is 1 when a check
    fails. For `make run` on this machine, the key of the sample's first organization is used unless another is given.
    Proxies are those of HTTPS_PROXY and NO_PROXY, certificates those of AWS_CA_BUNDLE or REQUESTS_CA_BUNDLE.

    \b
    Example:
      sessions smoke http://127.0.0.1:8080
    """
    if not is_url(url) or "?" in url or "#" in url:
        raise click.BadParameter(f"{url!r} is not a URL such as https://api.example.com/live.", param_hint="URL")
    if not key and urlsplit(url).hostname in LOCAL_HOSTS:
        key = demo_key(f"org_{1:032x}")
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
        raise click.ClickException(f"{failed} of {len(smoke.CHECKS)} checks failed.")
    click.echo(f"all {len(smoke.CHECKS)} checks passed")


ALL: Final = (status_command, rollback_group, smoke_command)
