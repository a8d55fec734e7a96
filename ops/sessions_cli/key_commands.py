"""`sessions keys`: issue, list and revoke API keys."""

from __future__ import annotations

import json
import time

import click

from sessions_cli import keys
from sessions_cli.output import print_table
from sessions_cli.target import API_KEYS, Target
from sessions_cli.target_options import on_target


@click.group(name="keys")
def keys_group() -> None:
    """Issue, list and revoke API keys."""


@keys_group.command()
@click.option("--organization", metavar="ORG", required=True, help="Organization that the key belongs to.")
@click.option("--name", default="", help="What the key is for; the authorizer logs it.")
@click.option("--expires", metavar="WHEN", help="90d, 12h or 30m (minutes) from now, or a date; never unless given.")
@on_target(API_KEYS)
def create(target: Target, organization: str, name: str, expires: str | None) -> None:
    """Issue a key, and print it once: the table keeps only its hash.

    Only the key goes to standard output, so that a script can capture it.

    \b
    Example:
      KEY=$(sessions keys create --organization org_00000000000000000000000000000001 --expires 90d \\
            --endpoint-url http://127.0.0.1:8001)
    """
    expires_at = None if expires is None else keys.parse_expiry(expires)
    table = target.api_keys_table
    key, issued = keys.issue(target.dynamodb, table, organization, name, expires_at)
    click.echo(
        f"Key of {issued.organization_id}, fingerprint {issued.fingerprint}, {_describe_expiry(expires_at)}. It cannot "
        "be shown again:",
        err=True,
    )
    click.echo(key)


def _describe_expiry(expires_at: int | None) -> str:
    if expires_at is None:
        return "never expires"
    minutes = round((expires_at - time.time()) / 60)
    for unit, size in (("days", 24 * 60), ("hours", 60)):
        if minutes >= 2 * size:
            return f"expires in {minutes // size} {unit}, at {keys.format_time(expires_at)}"
    return f"expires in {minutes} minute{'s' * (minutes != 1)}, at {keys.format_time(expires_at)}"


@keys_group.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array instead of a table.")
@on_target(API_KEYS)
def list_command(target: Target, as_json: bool) -> None:
    """Show the fingerprint, state, organization, name and times of every key, never the key.

    The fingerprint is the beginning of the key's SHA-256: printf %s "$KEY" | sha256sum | cut -c1-16. A key is live or
    expired, or invalid if its row has an expiry or an organization that the authorizer does not accept.

    \b
    Example:
      sessions keys list --endpoint-url http://127.0.0.1:8001
    """
    table = target.api_keys_table
    found = keys.list_keys(target.dynamodb, table)
    if as_json:
        click.echo(json.dumps([key.as_json for key in found], indent=2, ensure_ascii=False))
        return
    rows = [
        (
            key.fingerprint,
            key.state,
            key.organization_id,
            key.name,
            key.created_at[:19] + "Z",
            "never" if key.expires_at is None else keys.format_time(key.expires_at),
        )
        for key in found
    ]
    print_table(rows, ("fingerprint", "state", "organization", "name", "created", "expires"))


@keys_group.command()
@click.argument("key")
@on_target(API_KEYS)
def revoke(target: Target, key: str) -> None:
    """Delete a KEY, which may be given as its fingerprint or the first digits of that.

    The gateway may accept the key from its cache for as long as the stack's AuthorizerCacheSeconds says.

    \b
    Example:
      KEY=$(sessions keys create --organization org_00000000000000000000000000000001 \\
            --endpoint-url http://127.0.0.1:8001)
      sessions keys revoke $(printf %s "$KEY" | sha256sum | cut -c1-16) --endpoint-url http://127.0.0.1:8001
    """
    table = target.api_keys_table
    revoked = keys.revoke(target.dynamodb, table, key)
    name = f" ({revoked.name})" if revoked.name else ""
    click.echo(f"revoked {revoked.fingerprint}{name} of {revoked.organization_id}")
