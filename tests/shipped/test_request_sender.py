"""The request sender: what goes out, which connections are used again, and faults as botocore raises them."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import urllib3.util
from botocore.auth import _host_from_url
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.exceptions import (
    BotoCoreError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.httpsession import URLLib3Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sessions import request_sender
from sessions.request_sender import RequestSender, _Endpoint

BODY = b'{"a": 1}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-amzn-RequestId: A1\r\n\r\n{}"

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;a=b\r\n}\r\n0\r\nx: y\r\n\r\n"


def with_lines(*lines: bytes) -> bytes:
    """`OK` with these lines after its two headers."""
    return OK.replace(b"\r\n\r\n", b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n")


class Server:
    """Sends prepared bytes for each request, one connection after the other, and keeps what it was sent."""

    def __init__(self, responses: list[bytes], *, closes: bool = False, tls: ssl.SSLContext | None = None) -> None:
        self._responses = responses
        self._closes = closes
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.requests: list[bytes] = []
        self.connections = 0
        self._done = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    def close(self) -> None:
        self._done.set()
        self._listening.close()

    def _serve(self) -> None:
        while self._responses:
            try:
                connected, _ = self._listening.accept()
                if self._tls is not None:
                    connected = self._tls.wrap_socket(connected, server_side=True)
            except OSError:
                continue
            self.connections += 1
            with connected:
                self._answer(connected)

    def _answer(self, connected: socket.socket) -> None:
        while self._responses:
            request = connected.recv(65536)
            while request and not request.endswith(BODY):
                request += connected.recv(65536)
            if not request:
                return
            self.requests.append(request)
            response = self._responses.pop(0)
            if not response:
                self._done.wait(5)  # says nothing
                return
            connected.sendall(response)
            if self._closes:
                return


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server with the given responses."""
    servers: list[Server] = []

    def start(*responses: bytes, **options: Any) -> Server:
        servers.append(Server(list(responses), **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def sender() -> Iterator[RequestSender]:
    made = RequestSender(connect_timeout=1, read_timeout=0.3, ca_file="not read without TLS")
    yield made
    made.close()


def send(sender: Callable[..., AWSResponse], url: str) -> AWSResponse:
    headers = {"X-Amz-Target": "DynamoDB_20120810.Query", "Content-Type": "application/x-amz-json-1.0"}
    headers["User-Agent"] = "sessions"
    return sender(request=AWSRequest("POST", url, headers, data=BODY).prepare(), event_name="before-send")


def fault(sender: RequestSender, url: str, kind: type[BotoCoreError]) -> Any:
    """The fault that a request ends in; like botocore's own, it names the endpoint and the cause."""
    with pytest.raises(kind) as raised:
        send(sender, url)
    assert raised.value.kwargs == {"endpoint_url": url, "error": raised.value.__cause__}
    return raised.value


@pytest.mark.parametrize("path", ["/", "", "/local/dynamodb"])
def test_the_request_is_the_one_that_botocore_would_send(path: str, serve: Serve, sender: RequestSender) -> None:
    server = serve(OK, OK)
    url = f"http://127.0.0.1:{server.port}{path}"
    send(sender, url)
    sender.close()
    send(lambda request, **_: URLLib3Session().send(request), url)
    ours, botocores = server.requests[0], server.requests[1]

    def parts(request: bytes) -> tuple[bytes, set[bytes], bytes]:
        head, _, body = request.partition(b"\r\n\r\n")
        line, *headers = head.split(b"\r\n")
        return line, {header.lower() for header in headers}, body

    assert parts(ours) == parts(botocores)


def test_the_response_is_what_botocore_parses(serve: Serve, sender: RequestSender) -> None:
    url = f"http://127.0.0.1:{serve(OK).port}/"
    response = send(sender, url)
    assert (response.url, response.status_code, response.content) == (url, 200, b"{}")
    assert response.headers["X-Amzn-RequestId"] == "A1"


@pytest.mark.parametrize("line", [b"HTTP/1.1 400", b"HTTP/1.1 400 ", b"HTTP/1.1 400 This is bad"])
def test_the_reason_of_a_status_may_be_any_text(line: bytes, serve: Serve, sender: RequestSender) -> None:
    server = serve(OK.replace(b"HTTP/1.1 200 OK", line))
    response = send(sender, f"http://127.0.0.1:{server.port}/")
    assert (response.status_code, response.content) == (400, b"{}")


def test_a_header_is_named_before_its_first_colon(serve: Serve, sender: RequestSender) -> None:
    server = serve(with_lines(b"Date: Tue, 01 Jul 2025 12:00:00 GMT \t", b"x-crc:\t 7X", b"x-flag"))
    headers = send(sender, f"http://127.0.0.1:{server.port}/").headers
    assert (headers["Date"], headers["x-crc"], headers["x-flag"]) == ("Tue, 01 Jul 2025 12:00:00 GMT", "7X", "")


def test_only_an_empty_line_ends_the_headers(serve: Serve, sender: RequestSender) -> None:
    """If one of blanks did as well, the lines after it would be read as the body."""
    server = serve(with_lines(b" ", b"x: y"))
    assert send(sender, f"http://127.0.0.1:{server.port}/").content == b"{}"


def test_a_body_may_be_empty(serve: Serve, sender: RequestSender) -> None:
    server = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", OK)
    assert send(sender, f"http://127.0.0.1:{server.port}/").content == b""
    assert send(sender, f"http://127.0.0.1:{server.port}/").content == b"{}"
    assert server.connections == 1


@pytest.mark.parametrize(
    "lines",
    [[b"x: ".ljust(65_536 - len(b"\r\n"), b"y")], [b"x%d: y" % number for number in range(98)]],
    ids=["a long line", "100 headers"],
)
def test_a_head_within_the_limits_is_read(lines: list[bytes], serve: Serve, sender: RequestSender) -> None:
    server = serve(with_lines(*lines))
    assert send(sender, f"http://127.0.0.1:{server.port}/").content == b"{}"


@pytest.mark.parametrize(("room", "is_read"), [(2, True), (1, False)])
def test_all_chunks_together_are_within_the_limit_of_a_body(
    room: int, is_read: bool, serve: Serve, sender: RequestSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_sender, "BODY_BYTES_MAX", room)
    url = f"http://127.0.0.1:{serve(CHUNKED).port}/"
    if is_read:
        assert send(sender, url).content == b"{}"
    else:
        fault(sender, url, ConnectionClosedError)


def test_the_sizes_of_chunks_are_hexadecimal(serve: Serve, sender: RequestSender) -> None:
    server = serve(CHUNKED.replace(b"1\r\n{", b"1B\r\n" + b"{".ljust(27)))
    assert send(sender, f"http://127.0.0.1:{server.port}/").content == b"{".ljust(27) + b"}"


def test_a_body_in_chunks_is_joined(serve: Serve, sender: RequestSender) -> None:
    server = serve(CHUNKED, OK)
    for _ in range(2):
        assert send(sender, f"http://127.0.0.1:{server.port}/").content == b"{}"
    assert server.connections == 1


def test_a_connection_is_used_again(serve: Serve, sender: RequestSender) -> None:
    server = serve(OK, OK, OK)
    for _ in range(3):
        send(sender, f"http://127.0.0.1:{server.port}/")
    assert server.connections == 1


def test_a_connection_that_is_used_again_is_not_waited_for(
    serve: Serve, sender: RequestSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the server has closed it is asked before each request, and mostly it has not."""
    timeouts = []

    def wait_for_read(connected: socket.socket, timeout: float | None = None) -> bool:
        timeouts.append(timeout)
        return urllib3.util.wait_for_read(connected, timeout)

    monkeypatch.setattr(request_sender, "wait_for_read", wait_for_read)
    server = serve(OK, OK)
    for _ in range(2):
        send(sender, f"http://127.0.0.1:{server.port}/")
    assert timeouts == [0]


def test_requests_leave_at_once_and_idle_connections_are_kept_alive(
    serve: Serve, sender: RequestSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, connected = socket.create_connection, []

    def create_connection(*arguments: Any) -> socket.socket:
        connected.append(connect(*arguments))
        return connected[-1]

    monkeypatch.setattr(socket, "create_connection", create_connection)
    send(sender, f"http://127.0.0.1:{serve(OK).port}/")
    assert connected[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert connected[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_connection_that_the_server_closed_is_not_used_again(serve: Serve, sender: RequestSender) -> None:
    server = serve(OK, OK, closes=True)
    for _ in range(2):
        assert send(sender, f"http://127.0.0.1:{server.port}/").status_code == 200
        threading.Event().wait(0.05)  # until its end has arrived
    assert server.connections == 2


@pytest.mark.parametrize("surplus", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"}"])
def test_what_follows_a_response_is_never_the_response_to_the_next_request(
    surplus: bytes, serve: Serve, sender: RequestSender
) -> None:
    server = serve(OK + surplus, OK)
    for _ in range(2):
        assert send(sender, f"http://127.0.0.1:{server.port}/").content == b"{}"
    assert server.connections == 2


@pytest.mark.parametrize(
    "url",
    [
        "https://dynamodb.example:443/",
        "http://127.0.0.1:80/",
        "https://DynamoDB.example/",
        "https://[::1]:8000/",
        "https://[::1]/",
        "http://localhost:8000/",
    ],
)
def test_the_host_is_the_one_that_botocore_signs(url: str) -> None:
    assert f"\r\nHost: {_host_from_url(url)}\r\n" in _Endpoint.of(url).beginning


def test_a_connection_is_closed_when_the_server_says_so(serve: Serve, sender: RequestSender) -> None:
    server = serve(OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1), OK)
    for _ in range(2):
        send(sender, f"http://127.0.0.1:{server.port}/")
    assert server.connections == 2


def test_after_a_restore_no_old_connection_is_used(serve: Serve, sender: RequestSender) -> None:
    server = serve(OK, OK)
    send(sender, f"http://127.0.0.1:{server.port}/")
    sender.close()
    send(sender, f"http://127.0.0.1:{server.port}/")
    assert server.connections == 2


def test_two_requests_at_the_same_time_have_a_connection_each(sender: RequestSender, serve: Serve) -> None:
    slow, other = serve(b"", OK), serve(OK)

    def wait() -> None:
        with pytest.raises(ReadTimeoutError):
            send(sender, f"http://127.0.0.1:{slow.port}/")

    thread = threading.Thread(target=wait)
    thread.start()
    assert send(sender, f"http://127.0.0.1:{other.port}/").status_code == 200
    thread.join()


@pytest.mark.parametrize(
    "response",
    [
        OK[:-1],
        OK[:20],
        OK.replace(b"Content-Length: 2", b"Content-Length: two"),
        OK.replace(b"Content-Length: 2\r\n", b""),
        OK.replace(b"Content-Length: 2", b"Content-Length: 1" + b"0" * 15),
        OK.replace(b"Content-Length: 2", b"Content-Length: 1" + b"0" * 30),
        OK.replace(b"Content-Length", b"Transfer-Encoding: chunked\r\nContent-Length"),
        CHUNKED[:-5],
        CHUNKED.replace(b"1\r\n{", b"-1\r\n{"),
        OK.replace(b"HTTP/1.1", b"HTTP/2"),
        OK.replace(b"HTTP/1.1 200", b"HTTP/1.1  200"),
        b"SSH-2.0-OpenSSH\r\n",
        b"\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 50_000,
        with_lines(b"x: ".ljust(65_537 - len(b"\r\n"), b"y")),
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"a%d: b\r\n" % number for number in range(200)),
    ],
)
def test_what_is_not_a_whole_response_is_a_closed_connection(
    response: bytes, serve: Serve, sender: RequestSender
) -> None:
    url = f"http://127.0.0.1:{serve(response, closes=True).port}/"
    assert fault(sender, url, ConnectionClosedError).request.url == url


@pytest.mark.parametrize(
    ("response", "cause"),
    [
        (OK[:20], "a line of a response that does not end"),
        (OK[:-1], "1 of 2 bytes"),
        (OK.replace(b"Content-Length: 2\r\n", b""), "a body without a length"),
        (OK.replace(b"HTTP/1.1", b"SSH-2.0-OpenSSH_9.6p1"), "a response in SSH-2.0-OpenSSH_"),
        (with_lines(*(b"x%d: y" % number for number in range(99))), "too many headers"),
    ],
)
def test_the_cause_of_a_closed_connection_is_what_was_wrong_with_the_response(
    response: bytes, cause: str, serve: Serve, sender: RequestSender
) -> None:
    server = serve(response, closes=True)
    closed = fault(sender, f"http://127.0.0.1:{server.port}/", ConnectionClosedError)
    assert str(closed.__cause__) == cause


@pytest.mark.parametrize(("length", "read"), [(64 * 1024 * 1024, 2), (64 * 1024 * 1024 + 1, 0)])
def test_a_body_of_more_than_64_mb_is_not_read(length: int, read: int, serve: Serve, sender: RequestSender) -> None:
    server = serve(OK.replace(b"Content-Length: 2", b"Content-Length: %d" % length), closes=True)
    closed = fault(sender, f"http://127.0.0.1:{server.port}/", ConnectionClosedError)
    assert str(closed.__cause__) == f"{read} of {length} bytes"


def test_silence_is_a_read_timeout(serve: Serve, sender: RequestSender) -> None:
    fault(sender, f"http://127.0.0.1:{serve(b'').port}/", ReadTimeoutError)


def test_a_closed_port_is_an_endpoint_that_cannot_be_reached(sender: RequestSender) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    fault(sender, f"http://127.0.0.1:{port}/", EndpointConnectionError)


def test_a_handshake_that_does_not_come_is_a_connect_timeout(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(certificate(tmp_path))
    sender = RequestSender(connect_timeout=0.2, read_timeout=1, ca_file=str(tmp_path / "ca.pem"))
    fault(sender, f"https://127.0.0.1:{serve(b'').port}/", ConnectTimeoutError)


def certificate(folder: Path, name: str = "localhost") -> bytes:
    """A certificate for the name, signed by its own key, which lies beside it in `key.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (folder / "certificate.pem").write_bytes(pem)
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem


def tls_server(serve: Serve, folder: Path, name: str) -> Server:
    certificate(folder, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return serve(OK, OK, tls=context)


def test_a_trusted_certificate_of_the_right_name_is_accepted(serve: Serve, tmp_path: Path) -> None:
    server = tls_server(serve, tmp_path, "localhost")
    sender = RequestSender(connect_timeout=1, read_timeout=1, ca_file=str(tmp_path / "certificate.pem"))
    for _ in range(2):
        assert send(sender, f"https://localhost:{server.port}/").content == b"{}"
    assert server.connections == 1
    sender.close()


def test_a_certificate_of_another_name_is_refused(serve: Serve, tmp_path: Path) -> None:
    server = tls_server(serve, tmp_path, "example.org")
    sender = RequestSender(connect_timeout=1, read_timeout=1, ca_file=str(tmp_path / "certificate.pem"))
    assert "Hostname mismatch" in str(fault(sender, f"https://localhost:{server.port}/", SSLError))


def test_a_certificate_that_nobody_vouches_for_is_refused(serve: Serve, tmp_path: Path) -> None:
    server = tls_server(serve, tmp_path, "localhost")
    (tmp_path / "other").mkdir()
    certificate(tmp_path / "other", "localhost")
    sender = RequestSender(connect_timeout=1, read_timeout=1, ca_file=str(tmp_path / "other" / "certificate.pem"))
    assert "CERTIFICATE_VERIFY_FAILED" in str(fault(sender, f"https://localhost:{server.port}/", SSLError))
