"""The `sessions` command: its groups of commands, and how signals end it."""

from __future__ import annotations

import os
import signal
import sys
from typing import Final

import click

from sessions_cli import counts_commands, data_commands, key_commands, stack_commands

LOOPBACK: Final = "127.0.0.1,localhost,::1,[::1]"
"""Hosts that are called without a proxy."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sessions")
def main() -> None:
    """Load and export sessions, repair counts, issue API keys, check a deployment and roll it back.

    The tables are those of --stack, or named one by one. Region and credentials come from the places where all AWS
    tools look for them. With --endpoint-url, or AWS_ENDPOINT_URL_DYNAMODB, the commands use another
    DynamoDB-compatible engine and, unless told otherwise, the tables of `make run`; this needs neither credentials nor
    a region.
    """
    others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    if others != "*":
        os.environ["no_proxy"] = f"{others},{LOOPBACK}" if others else LOOPBACK


for command in (counts_commands.counts, key_commands.keys_group, *data_commands.ALL, *stack_commands.ALL):
    main.add_command(command)


def run() -> None:
    """Run the command of this process, which cleans up on Ctrl-C and SIGTERM and ends with the status of shells."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    main()


def _end(number: int, _frame: object) -> None:
    click.echo("Interrupted.", err=True)
    sys.exit(128 + number)
