"""A DynamoDB of prepared responses, so that the contenders are measured and not an engine.

It holds an organization with exactly as many sessions as each page: the walk costs the idiomatic implementation
nothing beyond the page itself. It prints its port when it is ready; `GET /?5` makes it wait for 5 ms before each
response, and answers how many requests it has served.
"""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from botocore import xform_name

from tests.benchmarks import dataset
from tests.memory import Memory
from tests.proof.faulty_engine import response
from tests.service import Service, item_of

SIZES: Final = (20, 100)
LISTS: Final = {size: dataset.spread(size) for size in SIZES}


def filled() -> Memory:
    """Return tables with the lists, their count rows and one key."""
    memory = Memory()
    for each in LISTS.values():
        for session in each.sessions(each.keys):
            memory.put_item("sessions", item_of(session))
        for row in dataset.count_rows(each):
            memory.put_item("counts", row)
    Service(memory).issue()
    return memory


class Engine(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    memory = filled()
    encoded: dict[bytes, bytes] = {}  # noqa: RUF012
    served = 0
    wait = 0.0

    def do_GET(self) -> None:
        Engine.wait = float(self.path.partition("?")[2] or 0) / 1000
        self.wfile.write(response(json.dumps({"served": Engine.served}).encode()))

    def do_POST(self) -> None:
        request = self.rfile.read(int(self.headers["Content-Length"]))
        Engine.served += 1
        if request not in self.encoded:
            operation = getattr(self.memory, xform_name(self.headers["X-Amz-Target"].partition(".")[2]))
            found = {"ConsumedCapacity": {"CapacityUnits": 0.5}} | operation(**json.loads(request))
            self.encoded[request] = response(json.dumps(found, ensure_ascii=False).encode())
        time.sleep(Engine.wait)
        self.wfile.write(self.encoded[request])

    def log_message(self, *_: object) -> None:
        """Print nothing: the output of this process is its port."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()
