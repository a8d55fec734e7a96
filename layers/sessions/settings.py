"""The environment of each function, read once at start; `template.yaml` supplies every value."""

import os
from typing import Final, NamedTuple, TypeVar

from sessions.errors import SettingMissing

NO_STACK: Final = "undefined"
"""Dimension of metrics that are written outside a stack, such as by `make run`."""


class ListSettings(NamedTuple):
    """What `list_sessions` needs."""

    sessions_table: str
    counts_table: str
    cors_origins: str
    """Origins that browsers may call from, separated by commas; empty turns CORS off."""


class AuthorizeSettings(NamedTuple):
    """What `authorize` needs."""

    api_keys_table: str


class CountSettings(NamedTuple):
    """What `count_sessions` needs."""

    counts_table: str


Settings = TypeVar("Settings", ListSettings, AuthorizeSettings, CountSettings)


def read(settings: type[Settings]) -> Settings:
    """Settings from the environment: each field is the variable of its name in capitals.

    Raises:
        SettingMissing: a variable is not set.
    """
    values = {}
    for field in settings._fields:
        name = field.upper()
        if name not in os.environ:
            raise SettingMissing(f"The environment variable {name} is not set.")
        values[field] = os.environ[name]
    return settings(**values)


def stack_name() -> str:
    """The CloudFormation stack that the function belongs to, a dimension of its metrics."""
    return os.environ.get("STACK_NAME") or NO_STACK


def starts_from_snapshot() -> bool:
    """Whether this container is being made into a snapshot ('Lambda environment variables')."""
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"
