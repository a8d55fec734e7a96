"""The environment of `make run`, read once.

HOST            address to listen on (127.0.0.1); any other opens the API and the tables to the network
PORT            port of the API (8080; 0 takes any free one)
DYNAMODB_PORT   port of the embedded DynamoDB (8001)
DATA            sessions to serve instead of the sample, in a form that `sessions load` takes; empty for nothing;
                tens of thousands of sessions need another engine, at AWS_ENDPOINT_URL_DYNAMODB
CORS_ORIGINS    origins of web consoles that may call, as the template's parameter CorsOrigins
VERBOSE         anything but empty shows all log lines of the functions, as they are
AWS_ENDPOINT_URL_DYNAMODB   a DynamoDB-compatible engine that already runs, instead of the embedded one
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from sessions_cli.target import is_aws_host, is_url

HOST: Final = "127.0.0.1"
PORT: Final = 8080
DYNAMODB_PORT: Final = 8001
SAMPLE: Final = str(Path(__file__).with_name("sample.ndjson"))

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

PORT_MAX: Final = 65535


class CannotStart(Exception):
    """The local API cannot be started as asked; the message says why."""


class Settings(NamedTuple):
    """The settings of one run."""

    host: str
    port: int
    dynamodb_port: int
    data: str  # path of sessions; '' for none
    endpoint: str | None  # of an engine that already runs
    cors_origins: str  # the template's parameter CorsOrigins
    is_verbose: bool

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Return the settings in an environment, or raise CannotStart."""
        endpoint = environment.get("AWS_ENDPOINT_URL_DYNAMODB") or None
        if endpoint is not None:
            _check_endpoint(endpoint)
        port, dynamodb_port = _port(environment, "PORT", PORT), _port(environment, "DYNAMODB_PORT", DYNAMODB_PORT)
        if port == dynamodb_port != 0 and endpoint is None:
            raise CannotStart(f"PORT and DYNAMODB_PORT are both {port}.")
        return cls(
            host=environment.get("HOST", "").strip() or HOST,
            port=port,
            dynamodb_port=dynamodb_port,
            data=environment.get("DATA", SAMPLE),
            endpoint=endpoint,
            cors_origins=environment.get("CORS_ORIGINS", "").strip(),
            is_verbose=bool(environment.get("VERBOSE")),
        )


def _check_endpoint(endpoint: str) -> None:
    if not is_url(endpoint):
        raise CannotStart(f"AWS_ENDPOINT_URL_DYNAMODB is {endpoint!r}, not a URL such as http://127.0.0.1:8000.")
    if is_aws_host(urlsplit(endpoint).hostname or ""):
        raise CannotStart(f"AWS_ENDPOINT_URL_DYNAMODB is AWS itself ({endpoint}); this is for one machine.")


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if re.fullmatch(r"[0-9]{1,5}", text) is None or int(text) > PORT_MAX:
        raise CannotStart(f"{name} is {text!r}; it must be a number from 0 to {PORT_MAX}.")
    return int(text)
