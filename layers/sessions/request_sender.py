"""Sends botocore's requests over connections of its own, at botocore's event `before-send`.

botocore's way to the network, through urllib3 and Python's HTTP client, takes half of the CPU of a call, for what
DynamoDB never needs: redirects, streams, headers that are repeated. What it does need fits on this page: a request with
a body, and a response with one. TLS is Python's, with its own checks of certificate and host name; faults are those
that botocore raises and tries again.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from botocore.awsrequest import AWSResponse
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import wait_for_read

LINE_BYTES_MAX: Final = 65_536
HEADERS_MAX: Final = 100
"""Of a response, as in Python's `http.client`."""
BODY_BYTES_MAX: Final = 64 * 1024 * 1024
"""Several times what any operation returns (16 MB, BatchGetItem); room for a body is made before it is there."""


class RequestSender:
    """A handler of `before-send`: it returns the response, and botocore sends nothing itself."""

    def __init__(self, *, connect_timeout: float, read_timeout: float, ca_file: str) -> None:
        """
        Args:
            connect_timeout: seconds for a connection, and for each step of its TLS handshake.
            read_timeout: seconds between two pieces of a response.
            ca_file: the certificates to trust.
        """
        self._connect_timeout: Final = connect_timeout
        self._read_timeout: Final = read_timeout
        self._ca_file: Final = ca_file
        self._tls: ssl.SSLContext | None = None
        self._endpoints: Final[dict[str, _Endpoint]] = {}

    def __call__(self, request: Any, **_: Any) -> AWSResponse:
        """The response to a request.

        Args:
            request: botocore's AWSPreparedRequest.

        Raises:
            ConnectTimeoutError, EndpointConnectionError, SSLError, ReadTimeoutError, ConnectionClosedError:
                of botocore.
        """
        url = request.url
        endpoint = self._endpoints.get(url) or self._endpoints.setdefault(url, _Endpoint.of(url))
        try:
            connection = endpoint.idle_connection() or self._connect(endpoint)
        except TimeoutError as error:
            raise ConnectTimeoutError(endpoint_url=url, error=error) from error
        except ssl.SSLError as error:
            raise SSLError(endpoint_url=url, error=error) from error
        except OSError as error:
            raise EndpointConnectionError(endpoint_url=url, error=error) from error
        stays_open = False
        try:
            connection.send(endpoint.beginning, request.headers, request.body)
            response = connection.receive()
            stays_open = response.headers.get("connection", "").lower() != "close" and not connection.has_more()
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=url, error=error) from error
        except (OSError, ValueError) as error:
            raise ConnectionClosedError(endpoint_url=url, request=request, error=error) from error
        finally:
            if stays_open:
                endpoint.idle.append(connection)
            else:
                connection.close()
        headers: Any = response.headers  # botocore takes any mapping
        return AWSResponse(url, response.status, headers, response)

    def close(self) -> None:
        """Closes the connections that are not in use."""
        for endpoint in self._endpoints.values():
            while endpoint.idle:
                endpoint.idle.pop().close()

    def _connect(self, endpoint: _Endpoint) -> _Connection:
        connected = socket.create_connection(endpoint.address, self._connect_timeout)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if endpoint.is_encrypted:
                self._tls = self._tls or ssl.create_default_context(cafile=self._ca_file)
                connected = self._tls.wrap_socket(connected, server_hostname=endpoint.address[0])
            connected.settimeout(self._read_timeout)
        except BaseException:
            connected.close()
            raise
        return _Connection(connected)


class _Endpoint(NamedTuple):
    """Where requests to one URL go, and the connections that are open to there."""

    address: tuple[str, int]
    is_encrypted: bool
    beginning: str
    """The lines of a request before botocore's headers."""
    idle: list[_Connection]
    """Those that no thread is using; `append` and `pop` are atomic."""

    @classmethod
    def of(cls, url: str) -> _Endpoint:
        parts = urlsplit(url)
        is_encrypted = parts.scheme == "https"
        usual_port = 443 if is_encrypted else 80
        name, port = parts.hostname or "", parts.port or usual_port
        # The very host that botocore has signed (botocore.auth): in lower case, and without the usual port.
        host = (f"[{name}]" if ":" in name else name) + ("" if port == usual_port else f":{port}")
        beginning = f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: identity\r\n"
        return cls((name, port), is_encrypted, beginning, [])

    def idle_connection(self) -> _Connection | None:
        while self.idle:
            try:
                connection = self.idle.pop()
            except IndexError:  # another thread took it
                return None
            # What can be read before anything was asked is the end of the connection.
            if not wait_for_read(connection.socket, timeout=0):
                return connection
            connection.close()
        return None


class _Response(NamedTuple):
    status: int
    headers: dict[str, str]
    """By names in lower case."""
    body: bytes

    def stream(self) -> Sequence[bytes]:
        """The body, as botocore reads it."""
        return (self.body,)


class _Connection:
    """One request after the other (RFC 9112)."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket: Final = connected
        self._reader: Final = connected.makefile("rb")

    def send(self, beginning: str, headers: Mapping[str, str | bytes], body: bytes) -> None:
        """A request, head and body at once."""
        lines = "".join(f"{name}: {_text(value)}\r\n" for name, value in headers.items())
        self.socket.sendall(f"{beginning}{lines}\r\n".encode("ascii") + body)

    def receive(self) -> _Response:
        """The response to the request that was sent last.

        Raises:
            ValueError: this is not HTTP, or a body without a length.
            OSError: the connection ended.
        """
        version, status, *_ = self._line().split(" ", 2)
        if version != "HTTP/1.1":
            raise ValueError(f"a response in {version[:16]}")
        headers: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
            if len(headers) > HEADERS_MAX:
                raise ValueError("too many headers")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = self._chunks()
        elif "content-length" in headers:
            body = self._bytes(int(headers["content-length"]), BODY_BYTES_MAX)
        else:
            raise ValueError("a body without a length")
        return _Response(int(status), headers, body)

    def _chunks(self) -> bytes:
        """A body in pieces, as some engines send it; DynamoDB does not."""
        chunks, room = [], BODY_BYTES_MAX
        while size := int(self._line().partition(";")[0], 16):
            chunks.append(self._bytes(size, room))
            room -= size
            self._line()
        while self._line():
            pass  # trailers
        return b"".join(chunks)

    def _bytes(self, length: int, room: int) -> bytes:
        read = self._reader.read(length) if 0 <= length <= room else b""
        if len(read) != length:
            raise ValueError(f"{len(read)} of {length} bytes")
        return read

    def has_more(self) -> bool:
        """Whether more has come than the response: the next request would take it for its own response."""
        timeout = self.socket.gettimeout()
        self.socket.settimeout(0)
        try:
            return bool(self._reader.peek(1))
        except ssl.SSLWantReadError:
            return False
        finally:
            self.socket.settimeout(timeout)

    def close(self) -> None:
        self._reader.close()
        self.socket.close()

    def _line(self) -> str:
        line = self._reader.readline(LINE_BYTES_MAX)
        if not line.endswith(b"\n"):
            raise ValueError("a line of a response that does not end")
        return line.rstrip(b"\r\n").decode("latin-1")


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("ascii")
