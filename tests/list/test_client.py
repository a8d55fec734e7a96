"""The DynamoDB client: its timeouts, tries, parser and connections; and the limit of a request's time."""

from __future__ import annotations

import json
import threading
import time
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from sessions import client as dynamodb
from sessions.client import Reader, TimeLimit
from sessions.contract import utc_timestamp
from sessions.errors import Unavailable
from sessions.response_parser import ItemParserFactory


class Sender:
    """Stands in for the functions' own connections, and notes what it was made with."""

    made: dict[str, Any]

    def __init__(self, **arguments: Any) -> None:
        Sender.made = arguments
        self.closed = 0

    def __call__(self, request: Any, **_: Any) -> Any:
        raise RuntimeError("sent")

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def sender(environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamodb, "RequestSender", Sender)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_a_client_waits_and_tries_as_little_as_its_limits_say() -> None:
    client: Any = dynamodb.client()
    config = client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (1.0, 3.0)
    assert (config.retries["mode"], config.retries["total_max_attempts"]) == ("standard", 2)
    assert config.user_agent.startswith("sessions")
    assert config.tcp_keepalive
    with pytest.raises(RuntimeError, match="sent"):  # and not refused by botocore, which would check as DynamoDB does
        client.query(TableName="sessions", Limit="5")
    assert isinstance(client._endpoint._response_parser_factory, ItemParserFactory)


def test_its_connections_have_the_same_limits_and_the_certificates_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    dynamodb.client()
    assert (Sender.made["connect_timeout"], Sender.made["read_timeout"]) == (1.0, 3.0)
    assert Path(Sender.made["ca_file"]).is_file()
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "own.pem"))
    dynamodb.client()
    assert Sender.made["ca_file"] == str(tmp_path / "own.pem")


def test_a_transaction_has_a_token_and_a_damaged_response_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []

    def respond(self: Sender, request: Any, **_: Any) -> AWSResponse:
        sent.append(json.loads(request.body))
        body = SimpleNamespace(stream=lambda: [b"{}", b"x"][: len(sent) % 2 + 1])
        return AWSResponse(request.url, 200, {"x-amz-crc32": str(zlib.crc32(b"{}"))}, body)

    monkeypatch.setattr(Sender, "__call__", respond)
    client: Any = dynamodb.client()
    client.transact_write_items(TransactItems=[])
    assert len(sent) == 2
    assert sent[0]["ClientRequestToken"] == sent[1]["ClientRequestToken"] != ""


def test_it_sends_by_its_own_connections_unless_there_is_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="sent"):
        dynamodb.client().list_tables()
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    client: Any = dynamodb.client()
    assert client.meta.events.emit_until_response("before-send.dynamodb.ListTables", request=None)[1] is None
    monkeypatch.setenv("NO_PROXY", "amazonaws.com")
    with pytest.raises(RuntimeError, match="sent"):
        dynamodb.client().list_tables()


def test_work_that_takes_too_long_is_left_behind_with_its_threads() -> None:
    limit, release = TimeLimit(0.05), threading.Event()
    before = limit.reads
    with pytest.raises(Unavailable, match=r"^The response took too long; try again shortly\.$"):
        limit.run(lambda: release.wait(5))
    assert limit.reads is not before
    began = time.monotonic()
    assert limit.run(lambda: "next") == "next"
    assert time.monotonic() - began < 1
    release.set()


def test_work_that_ends_in_time_keeps_its_threads_and_its_exceptions() -> None:
    limit = TimeLimit(5)
    before = limit.reads
    with pytest.raises(KeyError, match="mine"):
        limit.run(lambda: {}["mine"])
    assert limit.reads is before


def test_reads_at_the_same_time_are_both_waited_for_when_one_fails() -> None:
    limit, ended = TimeLimit(5), threading.Event()
    reader = Reader(None, limit.reads)  # type: ignore[arg-type]

    def slow() -> None:
        time.sleep(0.1)
        ended.set()

    with pytest.raises(KeyError):
        reader.run_in_parallel(slow, lambda: {}["missing"])
    assert ended.is_set()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yesterday", "not an RFC 3339 date-time"),
        ("2026-11-23T16:41:46", "not an RFC 3339 date-time"),
        ("0001-01-01T00:00:00+01:00", "outside the years 1 to 9999"),
        ("9999-12-31T23:59:60Z", "outside the years 1 to 9999"),
    ],
)
def test_a_time_that_is_none_says_why(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        utc_timestamp(text)
