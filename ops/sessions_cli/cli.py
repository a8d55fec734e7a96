"""The `sessions` command: its groups of commands, and how it ends on a signal."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, Final

import click

from sessions_cli import counts_commands, data_commands, key_commands, stack_commands

INTERRUPTED: Final = 130
TERMINATED: Final = 143
"""Exit statuses after Ctrl-C and after SIGTERM, as shells have them."""

LOOPBACK: Final = "127.0.0.1,localhost,::1,[::1]"
"""Hosts that no proxy is asked for."""


class InterruptibleGroup(click.Group):
    """A group whose commands end with one line on Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None


@click.group(cls=InterruptibleGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sessions")
def main() -> None:
    """Load and export sessions, repair counts, issue API keys, check a deployment and roll it back.

    The tables are those of --stack, or named one by one. Region and credentials come from the places where all AWS
    tools look for them. With --endpoint-url, or AWS_ENDPOINT_URL_DYNAMODB, the commands use another
    DynamoDB-compatible engine and, unless told otherwise, the tables of `make run`; this needs neither credentials nor
    a region.
    """
    others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    os.environ["no_proxy"] = ",".join(filter(None, [others, LOOPBACK]))


for commands in (counts_commands.counts, key_commands.keys_group, *data_commands.ALL, *stack_commands.ALL):
    main.add_command(commands)


def run() -> None:
    """Run the command of this process; SIGTERM lets it clean up as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    main()
