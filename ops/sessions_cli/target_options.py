"""The options that choose the target of a command, and exit statuses that commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, NoReturn

import click
from botocore.exceptions import BotoCoreError, ClientError
from click.core import ParameterSource

from sessions_cli.target import API_KEYS, COUNTS, FAILURE_QUEUE, SESSIONS, Target

Decorator = Callable[[Callable[..., None]], Callable[..., None]]

FAILED: Final = 1
NOT_YET: Final = 3
"""Exit statuses of a command that failed in part, and of an audit that found only what is not counted yet."""


NAME_OPTIONS: Final = {
    SESSIONS: ("--table", "SESSIONS_TABLE", "Table of the sessions."),
    COUNTS: ("--counts-table", "COUNTS_TABLE", "Table of the counts."),
    API_KEYS: ("--table", "API_KEYS_TABLE", "Table of the API keys."),
    FAILURE_QUEUE: ("--queue-url", "FAILURE_QUEUE_URL", "URL of the failure queue of the stream."),
}
"""The option, the variable and the help of each output of the stack that may be named by itself."""

STACK: Final[Decorator] = click.option("--stack", metavar="NAME", help="CloudFormation stack that names the tables.")
ENDPOINT_URL: Final[Decorator] = click.option(
    "--endpoint-url",
    metavar="URL",
    envvar=["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"],
    show_envvar=True,
    help="DynamoDB-compatible engine to use instead of AWS.",
)


def on_target(*resources: str) -> Decorator:
    """Add the options that choose a target, and pass the target to the command.

    Args:
        resources: outputs of the stack that name what the command uses.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run_on_target(stack: str | None, endpoint_url: str | None, **parameters: Any) -> None:
            ctx = click.get_current_context()
            given = {}
            for resource in resources:
                parameter = NAME_OPTIONS[resource][0].removeprefix("--").replace("-", "_")
                name = parameters.pop(parameter)
                # The command line takes precedence over the stack, and the stack over the environment.
                if not stack or ctx.get_parameter_source(parameter) is ParameterSource.COMMANDLINE:
                    given[resource] = name
            target = Target(endpoint_url, stack, given, session=ctx.obj)
            try:
                command(target, **parameters)
            except (BotoCoreError, ClientError) as error:
                raise click.ClickException(target.explain(error)) from None

        decorated: Callable[..., None] = run_on_target
        for resource in resources:
            flag, variable, text = NAME_OPTIONS[resource]
            decorated = click.option(flag, metavar="NAME", envvar=variable, show_envvar=True, help=text)(decorated)
        return STACK(ENDPOINT_URL(decorated))

    return decorate


def fail(status: int = FAILED) -> NoReturn:
    """End the command with an exit status."""
    raise click.exceptions.Exit(status)


def fail_if_any(failed: dict[str, str], what: str) -> None:
    """Print what failed and why, and end the command if anything did."""
    for name, reason in failed.items():
        click.echo(f"{name}: {reason}", err=True)
    if failed:
        click.echo(f"{len(failed):,} {what}.", err=True)
        fail()
