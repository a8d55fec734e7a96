"""Every fault of the network and of the engine that is tried, and what a function must make of it."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import Final

from tests.faults.proxy import Exchange, Fault, Reply, trickled

READ_TIMEOUT: Final = 0.5
TIME_LIMIT: Final = 3.0
"""Seconds in these tests, where production waits for 3 and 15."""

PASSES: Final = "passes"
"""Another try mends it; without one the caller gets 503."""
REFUSED: Final = "refused"
"""No try mends it, and it is no outage: the caller gets 500, and nobody is let in."""
SLOW: Final = "slow"
"""There is no other try, since the first one takes all the time there is."""


@dataclass(frozen=True)
class Row:
    """One fault."""

    name: str
    fault: Fault
    outcome: str = PASSES
    is_hidden_in: tuple[str, ...] = ()
    """Operations whose response is the same with the fault in it."""


def error(status: int, code: str) -> Fault:
    """An error as DynamoDB sends it."""
    body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "secret"}).encode()
    return lambda exchange: exchange.send(Reply(status, {"content-type": "application/x-amz-json-1.0"}, body))


def body_of(status: int, body: bytes, content_type: str = "application/x-amz-json-1.0") -> Fault:
    """A response that the engine did not make, with a length and a checksum that are right."""
    return lambda exchange: exchange.send(Reply(status, {"content-type": content_type}, body))


def reset_before(exchange: Exchange) -> None:
    exchange.reset()


def reset_in_head(exchange: Exchange) -> None:
    exchange.client.sendall(exchange.forward().head[:20])
    exchange.reset()


def reset_in_body(exchange: Exchange) -> None:
    reply = exchange.forward()
    reply = reply.with_headers(content_length=str(len(reply.body)))
    exchange.client.sendall(reply.head + reply.body[: len(reply.body) // 2])
    exchange.reset()


def closed_before(exchange: Exchange) -> None:
    exchange.close()


def closed_in_head(exchange: Exchange) -> None:
    exchange.client.sendall(exchange.forward().head[:40])
    exchange.close()


def closed_in_body(exchange: Exchange) -> None:
    reply = exchange.forward()
    reply = reply.with_headers(content_length=str(len(reply.body)))
    exchange.client.sendall(reply.head + reply.body[: len(reply.body) // 2])
    exchange.close()


def cut(*, checksum: bool) -> Fault:
    """Half of a body, with the length of that half."""

    def fault(exchange: Exchange) -> None:
        reply = exchange.forward()
        half = reply._replace(body=reply.body[: max(1, len(reply.body) // 2)])
        exchange.send(half if checksum else half.with_headers(x_amz_crc32=None))

    return fault


def chunked(exchange: Exchange) -> None:
    """Half of a body in chunks, the last of which never comes."""
    reply = exchange.forward().with_headers(transfer_encoding="chunked")
    half = reply.body[: max(1, len(reply.body) // 2)]
    exchange.client.sendall(reply.head + f"{len(half):x}\r\n".encode() + half + b"\r\n")
    exchange.close()


def chunked_without_checksum(exchange: Exchange) -> None:
    """Half of a body, that ends as a whole one does."""
    reply = exchange.forward().with_headers(transfer_encoding="chunked", x_amz_crc32=None)
    half = reply.body[: max(1, len(reply.body) // 2)]
    exchange.client.sendall(reply.head + f"{len(half):x}\r\n".encode() + half + b"\r\n0\r\n\r\n")


def without_length(exchange: Exchange) -> None:
    """Half of a body on a connection that is closed at its end."""
    reply = exchange.forward().with_headers(connection="close", x_amz_crc32=None)
    exchange.client.sendall(reply.head + reply.body[: len(reply.body) // 2])
    exchange.close()


def wrong_checksum(exchange: Exchange) -> None:
    reply = exchange.forward()
    exchange.send(reply.with_headers(x_amz_crc32=str(zlib.crc32(reply.body) ^ 1)))


def flipped(exchange: Exchange) -> None:
    """One bit of the body is another one, which the checksum shows."""
    reply = exchange.forward()
    middle = len(reply.body) // 2
    body = reply.body[:middle] + bytes([reply.body[middle] ^ 1]) + reply.body[middle + 1 :]
    exchange.send(reply._replace(body=body).with_headers(x_amz_crc32=str(zlib.crc32(reply.body))))


def garbled(exchange: Exchange) -> None:
    """Bytes that are neither JSON nor text, as many as there were."""
    reply = exchange.forward()
    body = bytes((byte * 7 + 13) % 256 for byte in reply.body)
    exchange.send(reply._replace(body=body).with_headers(x_amz_crc32=None))


def wrong_shape(exchange: Exchange) -> None:
    """JSON that no such operation returns."""
    body = b'{"Item": [], "Items": {}, "Count": 1, "ScannedCount": -1, "Responses": []}'
    exchange.send(exchange.forward()._replace(body=body).with_headers(x_amz_crc32=None))


def late(exchange: Exchange) -> None:
    """Nothing comes until the client has given up."""
    exchange.forward()
    exchange.wait(READ_TIMEOUT * 10)
    exchange.close()


def late_body(exchange: Exchange) -> None:
    """The head comes, and then nothing."""
    reply = exchange.forward()
    exchange.client.sendall(reply.with_headers(content_length=str(len(reply.body))).head)
    exchange.wait(READ_TIMEOUT * 10)
    exchange.close()


def trickle(exchange: Exchange) -> None:
    """A byte now and then, each sooner than the read timeout."""
    reply = exchange.forward()
    reply = reply.with_headers(content_length=str(len(reply.body)))
    trickled(exchange, reply.head + reply.body, every=READ_TIMEOUT / 4, until=TIME_LIMIT * 2)
    exchange.close()


def trickle_of_blanks(exchange: Exchange) -> None:
    """A body of blanks that never ends."""
    exchange.client.sendall(Reply(200, {"content-type": "application/x-amz-json-1.0"}, b"").head)
    trickled(exchange, b" " * 1000, every=READ_TIMEOUT / 4, until=TIME_LIMIT * 2)
    exchange.close()


THROTTLING: Final = (
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "LimitExceededException",
)
HTML: Final = b"<html><body>503 Service Temporarily Unavailable</body></html>"

ROWS: Final = (
    *(Row(f"throttled: {code}", error(400, code)) for code in THROTTLING),
    Row("500", error(500, "InternalServerError")),
    Row("500 without body", body_of(500, b"")),
    Row("500 of another code", error(500, "SomethingNew")),
    Row("502 in HTML", body_of(502, HTML, "text/html")),
    Row("503", error(503, "ServiceUnavailable")),
    Row("503 without body", body_of(503, b"")),
    Row("503 in HTML", body_of(503, HTML, "text/html")),
    Row("503 that is not UTF-8", body_of(503, b"\xff\xfe\x00")),
    Row("504 in HTML", body_of(504, HTML, "text/html")),
    Row("reset before the response", reset_before),
    Row("reset in the head", reset_in_head),
    Row("reset in the body", reset_in_body),
    Row("closed before the response", closed_before),
    Row("closed in the head", closed_in_head),
    Row("closed in the body", closed_in_body),
    Row("cut, with the length of what is left", cut(checksum=True)),
    Row("cut, with that length and no checksum", cut(checksum=False)),
    Row("chunked and cut", chunked),
    Row("chunked, cut and ended", chunked_without_checksum),
    Row("without a length, and cut", without_length),
    Row("empty", body_of(200, b"")),
    Row("HTML", body_of(200, HTML, "text/html")),
    Row("not UTF-8", body_of(200, b"\xff\xfe\x00")),
    Row("garbled", garbled),
    Row("a bit flipped", flipped),
    Row("a list", body_of(200, b"[]")),
    Row("null", body_of(200, b"null")),
    Row("another shape", wrong_shape, is_hidden_in=("TransactWriteItems",)),
    Row("another checksum", wrong_checksum),
    Row("no first byte", late),
    Row("no body", late_body),
    Row("a byte now and then", trickle, SLOW),
    Row("a blank now and then", trickle_of_blanks, SLOW),
    Row("refused: ValidationException", error(400, "ValidationException"), REFUSED),
    Row("refused: AccessDeniedException", error(400, "AccessDeniedException"), REFUSED),
    Row("refused: ResourceNotFoundException", error(400, "ResourceNotFoundException"), REFUSED),
    Row("refused: UnrecognizedClientException", error(400, "UnrecognizedClientException"), REFUSED),
)
