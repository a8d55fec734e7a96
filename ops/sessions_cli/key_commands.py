"""`sessions keys`: issue, list and revoke API keys."""

from __future__ import annotations

import json
import time

import click

from sessions.api_keys import hash_key
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
    table = target.name(API_KEYS)
    key = keys.issue(target.dynamodb, table, organization, name, expires_at)
    fingerprint = hash_key(key)[: keys.FINGERPRINT_DIGITS]
    expiry = _describe_expiry(expires_at)
    click.echo(f"Key of {organization}, fingerprint {fingerprint}, {expiry}. It cannot be shown again:", err=True)
    click.echo(key)


def _describe_expiry(expires_at: int | None) -> str:
    if expires_at is None:
        return "never expires"
    minutes = round((expires_at - time.time()) / 60)
    if minutes >= 48 * 60:
        span = f"{minutes // (24 * 60)} days"
    else:
        span = f"{minutes // 60} hours" if minutes >= 120 else f"{minutes} minute{'s' * (minutes != 1)}"
    return f"expires in {span}, at {keys.format_time(expires_at)}"


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
    table = target.name(API_KEYS)
    rows = keys.list_keys(target.dynamodb, table)
    if as_json:
        click.echo(json.dumps([row._asdict() for row in rows], indent=2, ensure_ascii=False))
        return
    shown = ((*row[:4], row.created_at[:19] + "Z", row.expires_at or "never") for row in rows)
    print_table(shown, ("fingerprint", "state", "organization", "name", "created", "expires"))


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
    table = target.name(API_KEYS)
    revoked = keys.revoke(target.dynamodb, table, key)
    name = f" ({revoked.name})" if revoked.name else ""
    click.echo(f"revoked {revoked.fingerprint}{name} of {revoked.organization_id}")
