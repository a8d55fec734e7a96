"""A native DynamoDB engine that can be killed and started again: dynoxide, on a file."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from tests.benchmarks.engine import binary
from tests.running import free_port


class Engine:
    """dynoxide on a file, so that it remembers."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self._home = home
        self.start()

    def start(self) -> None:
        command = [str(binary()), "serve", "--port", str(self.port), "--db-path", str(self._home / "tables.db")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ends_at = time.monotonic() + 20
        while time.monotonic() < ends_at:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError("the engine did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)
