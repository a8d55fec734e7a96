"""A native DynamoDB engine for the benchmarks: dynoxide, DynamoDB's API over SQLite in one binary.

moto runs in this process and slows down with the size of a table; measured against it, every
implementation would seem to grow. Only the benchmarks need this engine, and only it needs Node, for npm.
"""

import importlib.util
import io
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Final

from sessions import client as dynamodb
from sessions.contract import PageRequest
from sessions_local.sam_template import Template

VERSION: Final = "1.2.1"
PACKAGE: Final = "@dynoxide/linux-x64"

ROOT: Final = Path(__file__).parents[2]
BUILD: Final = ROOT / "build"
STARTUP_SECONDS: Final = 600.0
"""A million entries are imported in about a minute on an idle machine."""

SESSIONS_TABLE: Final = "sessions"
COUNTS_TABLE: Final = "counts"
TEMPLATE: Final = Template.read()


def binary() -> Path:
    """The engine's program; the first call installs it below `build/`.

    `DYNOXIDE` names another one, for machines that the npm package is not made for.
    """
    if "DYNOXIDE" in os.environ:
        return Path(os.environ["DYNOXIDE"])
    home = BUILD / "engine"
    program = home / "node_modules" / PACKAGE / "dynoxide"
    if not program.exists():
        if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            sys.exit("The benchmarks need dynoxide (github.com/nubo-db/dynoxide); DYNOXIDE=... says where it is.")
        npm = shutil.which("npm")
        if npm is None:
            sys.exit("The benchmarks need Node (nodejs.org): their DynamoDB engine is installed with npm.")
        home.mkdir(parents=True, exist_ok=True)
        options = ["--silent", "--no-audit", "--no-fund", "--prefix", str(home)]
        subprocess.run([npm, "install", *options, f"{PACKAGE}@{VERSION}"], check=True)
    return program


@contextmanager
def running(export: Path | None = None) -> Iterator[None]:
    """The engine on a free port, with its tables in memory; this process' clients use it for as long as it runs.

    Args:
        export: tables in DynamoDB's export format (`TABLE/data/*.json`) to begin with, and their `schema.json`.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(binary()), "serve"]
    if export is not None:
        command = [str(binary()), "import", "--source", str(export), "--schema", str(export / "schema.json"), "--serve"]
    process = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    before = os.environ.copy()
    os.environ.update(
        AWS_ENDPOINT_URL_DYNAMODB=f"http://127.0.0.1:{port}",
        AWS_DEFAULT_REGION="eu-west-1",
        AWS_ACCESS_KEY_ID="local",
        AWS_SECRET_ACCESS_KEY="local",
    )
    try:
        _wait_for(process, port)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        process.terminate()
        process.wait()


def create_tables() -> None:
    """The tables of `template.yaml`, empty."""
    client = dynamodb.create_client()
    for table in TEMPLATE.tables:
        client.create_table(**table.arguments)


def write_schema(export: Path) -> None:
    """Put beside exported tables what the engine must know of them."""
    (export / "schema.json").write_text(json.dumps([{"Table": table.arguments} for table in TEMPLATE.tables]))


def function(name: str) -> Any:
    """The module of a function, loaded as a cold start does, on the engine that runs."""
    os.environ.update(TEMPLATE.function(name).environment)
    spec = importlib.util.spec_from_file_location(f"{name}_app", ROOT / "functions" / name / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with redirect_stdout(io.StringIO()):  # the log goes where it went when its handler was made
        spec.loader.exec_module(module)
    return module


def list_event(organization_id: str, request: PageRequest) -> dict[str, Any]:
    """What the gateway hands to `list_sessions`, as far as it matters there."""
    given = {name: str(value) for name, value in request.model_dump().items() if value is not None}
    return {
        "resource": "/v1/sessions",
        "path": "/v1/sessions",
        "httpMethod": "GET",
        "headers": {"Accept": "application/json"},
        "multiValueHeaders": {"Accept": ["application/json"]},
        "queryStringParameters": given,
        "multiValueQueryStringParameters": {name: [value] for name, value in given.items()},
        "requestContext": {
            "requestId": "benchmark",
            "stage": "live",
            "path": "/live/v1/sessions",
            "authorizer": {"organization_id": organization_id},
        },
        "body": None,
        "isBase64Encoded": False,
    }


def _wait_for(process: "subprocess.Popen[bytes]", port: int) -> None:
    ends_at = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < ends_at:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    sys.exit(f"The engine did not start ({process.args!r}).")
