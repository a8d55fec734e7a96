"""A DynamoDB of prepared responses, so that the contenders are measured and not an engine.

Holds, for each page size, an organization with exactly as many sessions: what the walk costs beyond the
page itself is not held against the idiomatic implementation here. Prints its port when it is ready; `GET /`
tells how many requests it has served.
"""

import json
import sys
import zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any, Final

SIZES: Final = (20, 100)
KEY: Final = "evr_" + "k" * 43
DAYS: Final = 28


def organization(entries: int) -> str:
    return f"org_{entries:032x}"


def sessions(entries: int) -> list[dict[str, Any]]:
    """Items of the sessions table, newest first, of 1.4 kB as DynamoDB counts."""
    random = Random(entries)

    def text(length: int) -> str:
        return "".join(random.choices("abcdefghij klmnopqrstuvwxyz é", k=length))

    items = []
    for rank in range(entries):
        created_at = f"2026-11-{DAYS - rank * DAYS // entries:02d}T16:41:{59 - rank % 60:02d}.463925Z"
        session_id, agent_id = f"session_{random.getrandbits(128):032x}", f"agent_{rank % 7:032x}"
        item: dict[str, Any] = {
            "id": {"S": session_id},
            "organization_id": {"S": organization(entries)},
            "agent_id": {"S": agent_id},
            "organization_agent": {"S": f"{organization(entries)}#{agent_id}"},
            "created_at_id": {"S": f"{created_at}#{session_id}"},
            "status": {"S": random.choice(["started", "active", "idle"])},
            "created_at": {"S": created_at},
            "updated_at": {"S": created_at},
            "started_at": {"S": created_at},
            "finished_at": {"NULL": True},
            "title": {"S": text(40)},
            "preview": {"S": text(280)},
            "output_preview": {"S": text(280)},
            "model_id": {"S": f"model_{rank % 3:032x}"},
            "tags": {"L": [{"S": "production"}, {"S": text(8)}]},
            "capabilities": {
                "L": [
                    {"M": {"ref": {"S": "web_search"}}},
                    {"M": {"ref": {"S": "files"}, "config": {"M": {"depth": {"N": "3"}, "hidden": {"BOOL": False}}}}},
                ]
            },
            "usage": {"M": {"input_tokens": {"N": str(rank * 1000)}, "output_tokens": {"N": "512"}}},
        }
        items.append(item)
    return sorted(items, key=lambda item: str(item["created_at_id"]["S"]), reverse=True)


def responses() -> dict[str, list[dict[str, Any]]]:
    """Items by the value of their partition key."""
    prepared: dict[str, list[dict[str, Any]]] = {organization(size): sessions(size) for size in SIZES}
    for size in SIZES:
        days = Counter(item["created_at"]["S"][8:10] for item in prepared[organization(size)])
        row = {"scope": {"S": organization(size)}, "bucket": {"S": "M2026-11"}}
        prepared[f"counts of {organization(size)}"] = [row | {day: {"N": str(count)} for day, count in days.items()}]
    return prepared


class Engine(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    prepared = responses()
    encoded: dict[bytes, bytes] = {}  # noqa: RUF012
    served = 0

    def do_GET(self) -> None:
        self._send(json.dumps({"served": Engine.served}).encode())

    def do_POST(self) -> None:
        request = self.rfile.read(int(self.headers["Content-Length"]))
        Engine.served += 1
        if request not in self.encoded:
            self.encoded[request] = json.dumps(self._response(json.loads(request)), ensure_ascii=False).encode()
        self._send(self.encoded[request])

    def _response(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.headers["X-Amz-Target"].endswith("GetItem"):
            return {"Item": {"organization_id": {"S": organization(20)}, "name": {"S": "bench"}}}
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
        """Says nothing: the output of this process is its port."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Engine)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()
