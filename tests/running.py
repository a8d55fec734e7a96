"""`make run` as a process of its own, for tests that call it as its users do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent

READY_SECONDS = 120.0
"""Seconds that the local API may take to start; on a calm machine it takes 3."""


class Running(NamedTuple):
    """A local API that serves."""

    url: str
    dynamodb_url: str
    process: subprocess.Popen[str]
    screen: list[str]
    """Lines printed up to the ready line."""


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def local_api(**variables: str) -> Iterator[Running]:
    """Start the local API as `make run` does, with these variables, and end it with the block."""
    ports = {"PORT": str(free_port()), "DYNAMODB_PORT": str(free_port())} | variables
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with subprocess.Popen(
        [sys.executable, "-m", "sessions_local"], cwd=ROOT, env=clean | ports, stdout=subprocess.PIPE, text=True
    ) as process:
        too_late = threading.Timer(READY_SECONDS, process.kill)
        try:
            too_late.start()
            assert process.stdout is not None
            screen = []
            for line in process.stdout:
                screen.append(line.rstrip("\n"))
                if line.startswith("ready: "):
                    break
            else:
                raise AssertionError("the local API ended or was too slow before it was ready: " + "\n".join(screen))
            too_late.cancel()
            url = screen[-1].removeprefix("ready: ")
            yield Running(url, f"http://127.0.0.1:{ports['DYNAMODB_PORT']}", process, screen)
        finally:
            too_late.cancel()
            process.kill()
