"""A native DynamoDB engine: dynoxide, DynamoDB's API over SQLite in one binary.

An engine in Python slows down with the size of a table, so that every implementation would seem to grow. Benchmarks and
proof need this engine, and it alone needs Node, for npm.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import boto3

from tests.running import free_port
from tests.service import ROOT, TEMPLATE

VERSION: Final = "1.2.1"
PACKAGE: Final = "@dynoxide/linux-x64"

BUILD: Final = ROOT / "build"


def binary() -> Path:
    """Return the engine's program, installed below `build/` by the first call.

    `DYNOXIDE` names another program, for machines that the npm package is not made for.
    """
    if "DYNOXIDE" in os.environ:
        return Path(os.environ["DYNOXIDE"])
    home = BUILD / "engine"
    program = home / "node_modules" / PACKAGE / "dynoxide"
    if not program.exists():
        if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            sys.exit("dynoxide is needed (github.com/nubo-db/dynoxide); DYNOXIDE=... says where it is.")
        npm = shutil.which("npm")
        if npm is None:
            sys.exit("Node is needed (nodejs.org): the DynamoDB engine is installed with npm.")
        home.mkdir(parents=True, exist_ok=True)
        options = ["--silent", "--no-audit", "--no-fund", "--prefix", str(home)]
        subprocess.run([npm, "install", *options, f"{PACKAGE}@{VERSION}"], check=True)
    return program


@contextmanager
def running(export: Path | None = None) -> Iterator[Any]:
    """Provide a client of a new engine that keeps its tables in memory; clients made meanwhile use it as well.

    Args:
        export: folder of `write_export` to begin with; None: empty tables.
    """
    port = free_port()
    command = [str(binary()), "serve"]
    if export is not None:
        command = [str(binary()), "import", "--source", str(export), "--schema", str(export / "schema.json"), "--serve"]
    variables = {
        "AWS_ENDPOINT_URL_DYNAMODB": f"http://127.0.0.1:{port}",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    process = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(process, port)
        with patch.dict(os.environ, variables):
            client = boto3.client("dynamodb")
            if export is None:
                for table in TEMPLATE.tables:
                    client.create_table(**table.arguments)
            yield client
    finally:
        process.terminate()
        process.wait()


def write_export(home: Path, name: str, table: str, items: Iterator[dict[str, Any]]) -> int:
    """Write items as DynamoDB exports a table, and return their number."""
    folder = home / table / "data"
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    with open(folder / f"{name}.json", "w") as file:
        for item in items:
            file.write(json.dumps({"Item": item}) + "\n")
            written += 1
    (home / "schema.json").write_text(json.dumps([{"Table": each.arguments} for each in TEMPLATE.tables]))
    return written


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    """Return when the engine listens; importing the lists of `paging` takes it two minutes of CPU."""
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    sys.exit(f"The engine did not start ({process.args!r}).")
