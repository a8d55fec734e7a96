"""A DynamoDB of prepared responses, so that the contenders are measured and not an engine.

It holds an organization with exactly as many sessions as each page: the walk costs the idiomatic implementation
nothing beyond the page itself. It prints its port when it is ready; `GET /?5` makes it wait for 5 ms before each
response, and answers how many requests it has served.
"""

from __future__ import annotations

import json
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from tests.benchmarks import dataset
from tests.service import item_of

SIZES: Final = (20, 100)
LISTS: Final = {size: dataset.spread(size) for size in SIZES}


def prepared() -> dict[str, list[dict[str, Any]]]:
    """Return items by the value of their partition key, newest first."""
    items = {each.id: [item_of(session) for session in each.sessions(each.keys)] for each in LISTS.values()}
    for each in LISTS.values():
        rows = [row for row in dataset.count_rows(each, of_agents=False) if row["bucket"]["S"].startswith("M")]
        items[f"counts of {each.id}"] = sorted(rows, key=lambda row: str(row["bucket"]["S"]), reverse=True)
    return items


class Engine(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    prepared = prepared()
    encoded: dict[bytes, bytes] = {}  # noqa: RUF012
    served = 0
    wait = 0.0

    def do_GET(self) -> None:
        Engine.wait = float(self.path.partition("?")[2] or 0) / 1000
        self._send(json.dumps({"served": Engine.served}).encode())

    def do_POST(self) -> None:
        request = self.rfile.read(int(self.headers["Content-Length"]))
        Engine.served += 1
        if request not in self.encoded:
            self.encoded[request] = json.dumps(self._response(json.loads(request)), ensure_ascii=False).encode()
        time.sleep(Engine.wait)
        self._send(self.encoded[request])

    def _response(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.headers["X-Amz-Target"].endswith("GetItem"):
            return {"Item": {"organization_id": {"S": LISTS[20].id}, "name": {"S": "bench"}}}
        scope = next(iter(request["ExpressionAttributeValues"].values()))["S"]
        items = self.prepared[scope if "IndexName" in request else f"counts of {scope}"]
        page = items[: request.get("Limit", len(items))]
        response: dict[str, Any] = {"Count": len(page), "Items": page, "ScannedCount": len(page)}
        if "ReturnConsumedCapacity" in request:
            response["ConsumedCapacity"] = {"CapacityUnits": 0.5, "TableName": request["TableName"]}
        if request.get("Limit") == len(page):
            response["LastEvaluatedKey"] = {name: page[-1][name] for name in ("organization_id", "created_at_id", "id")}
        return response

    def _send(self, body: bytes) -> None:
        head = (
            "HTTP/1.1 200 OK\r\nServer: Server\r\nDate: Mon, 23 Nov 2026 16:41:46 GMT\r\n"
            f"Content-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\nConnection: keep-alive\r\n"
            f"x-amzn-RequestId: {'A' * 52}\r\nx-amz-crc32: {zlib.crc32(body)}\r\n\r\n"
        )
        self.wfile.write(head.encode() + body)

    def log_message(self, *_: object) -> None:
        """Print nothing: the output of this process is its port."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()
