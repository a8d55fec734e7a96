"""Every fault of the network and of DynamoDB, once for a page, once for the authorizer and once for counting."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError

from sessions import client
from sessions.counting import writer
from sessions.errors import Unavailable
from sessions.paging import finder
from tests.counting.rows import Numbers, expected, numbers_of
from tests.proof.faulty_engine import (
    Fault,
    FaultyEngine,
    chunked,
    error,
    half,
    instead,
    part_of_body,
    part_of_head,
    response,
    spoiled,
)
from tests.service import CONTEXT, KEY, Service, item_of, load, newest_first, session, stream_record

AWS_VARIABLES: Final = {
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
}
READ_TIMEOUT: Final = 0.4
ALWAYS: Final = 10**6

SESSIONS: Final = [
    session(number, created_at=f"2026-11-{20 + number // 60}T16:41:46.{number:06}Z") for number in range(120)
]
DEEP: Final = "offset=55&limit=10"
"""A page across two days: months, the rows of the day, and two walks at the same time."""

HTML: Final = b"<html><body>503 Service Temporarily Unavailable</body></html>"
NOT_UTF_8: Final = b"\xff\xfe\x00"

RETRIED: Final[dict[str, Fault]] = {
    "throttled: throughput": error(400, "ProvisionedThroughputExceededException"),
    "throttled: rate": error(400, "ThrottlingException"),
    "throttled: account": error(400, "RequestLimitExceeded"),
    "throttled: limit": error(400, "LimitExceededException"),
    "500": error(500, "InternalServerError"),
    "500 without a body": instead(b"", 500),
    "502 in HTML": instead(HTML, 502, "text/html"),
    "503": error(503, "ServiceUnavailable"),
    "503 without a body": instead(b"", 503),
    "503 in HTML": instead(HTML, 503, "text/html"),
    "504 in HTML": instead(HTML, 504, "text/html"),
    "reset before the response": spoiled(lambda _: b"", "reset"),
    "reset in the head": spoiled(part_of_head, "reset"),
    "reset in the body": spoiled(part_of_body, "reset"),
    "closed before the response": spoiled(lambda _: b"", "close"),
    "chunks without an end": spoiled(chunked, "close"),
    "no first byte": spoiled(lambda _: b"", "wait"),
    "no body": spoiled(lambda body: response(body)[: -len(body)], "wait"),
}
"""Faults after which botocore tries again."""

NOT_RETRIED: Final[dict[str, Fault]] = {
    "503 that is not UTF-8": instead(NOT_UTF_8, 503),
    "closed in the head": spoiled(part_of_head, "close"),
    "closed in the body": spoiled(part_of_body, "close"),
    "half a body": spoiled(lambda body: response(half(body))),
    "half a body in chunks": spoiled(lambda body: chunked(body, b"0\r\n\r\n")),
    "half a body without a length": spoiled(lambda body: response(half(body), framing="Connection: close"), "close"),
    "an empty body": instead(b""),
    "HTML": instead(HTML, 200, "text/html"),
    "not UTF-8": instead(NOT_UTF_8),
    "garbled": spoiled(lambda body: response(bytes((byte * 7 + 13) % 256 for byte in body))),
    "a list": instead(b"[]"),
    "null": instead(b"null"),
}
"""Faults after which botocore does not try again: the caller gets 503 at once."""

REFUSED: Final[dict[str, Fault]] = {
    f"{code}Exception": error(400, f"{code}Exception")
    for code in ("Validation", "AccessDenied", "ResourceNotFound", "UnrecognizedClient")
}
"""Faults of ours, which no retry mends."""

FAULTS: Final = RETRIED | NOT_RETRIED | REFUSED

each_fault = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name == "no body" else name for name in FAULTS]
)

PAGE: Final = (200, {"data": newest_first(SESSIONS)[55:65], "total": len(SESSIONS), "offset": 55, "limit": 10})
BUSY: Final = "The service is busy or cannot be reached; try again shortly."
UNAVAILABLE: Final = (503, {"error": {"code": "unavailable", "message": BUSY}})
INTERNAL_ERROR: Final = (500, {"error": {"code": "internal_error", "message": "Internal server error"}})


class Wire(Service):
    """The service with clients of its own, on an engine that they reach over HTTP."""

    def __init__(self) -> None:
        self.engine = FaultyEngine()
        super().__init__(self.engine.memory)
        self.functions = {name: self.load(name) for name in ("list_sessions", "authorize", "count_sessions")}
        self.put(*SESSIONS)
        self.issue()
        self.drain()

    def load(self, name: str) -> Any:
        url = f"http://127.0.0.1:{self.engine.server_port}"
        return load(name, AWS_ENDPOINT_URL_DYNAMODB=url, **AWS_VARIABLES)

    def function(self, name: str) -> Any:
        return self.functions[name]

    def page(self) -> tuple[int, Any]:
        """Return status and body of the deep page."""
        response = self.get(DEEP)
        assert response.headers.get("Retry-After") == ("1" if response.status == 503 else None)
        return response.status, response.body

    def effect(self) -> str:
        """Return the effect of the policy for a live key, or what was raised."""
        try:
            policy = self.authorize(KEY)
        except Unavailable:
            return "unavailable"
        except ClientError:
            return "refused"
        return str(policy["policyDocument"]["Statement"][0]["Effect"])

    def deliver(self, *sessions: dict[str, Any]) -> list[str]:
        """Return what counting reports as failed when these sessions are inserted."""
        records = [stream_record(1, "INSERT", new=item_of(each)) for each in sessions]
        outcome = self.function("count_sessions").handler({"Records": records}, CONTEXT)
        return [each["itemIdentifier"] for each in outcome["batchItemFailures"]]

    def counted(self, organization: str) -> Numbers:
        found = numbers_of(self.engine.memory.tables["counts"].values())
        return {place: number for place, number in found.items() if place[0].startswith(organization)}


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(client, "READ_TIMEOUT", READ_TIMEOUT)
        monkeypatch.setattr(finder, "SCAN_MAX", 1)
        monkeypatch.setattr(writer, "TRIES", 2)
        monkeypatch.setattr(writer, "PAUSE_MAX", 0)
        # Neither botocore's pauses nor its quota of retries, which hundreds of faults would use up.
        monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)
        monkeypatch.setattr("botocore.retries.quota.RetryQuota.acquire", lambda *_: True)
        wire = Wire()
        yield wire
        wire.engine.kill()


@each_fault
def test_page_is_right_or_unavailable(wire: Wire, name: str) -> None:
    bad = INTERNAL_ERROR if name in REFUSED else UNAVAILABLE
    wire.engine.plan(FAULTS[name], "Query", ALWAYS)
    assert wire.page() == bad
    wire.engine.plan(FAULTS[name], "Query", 1)
    assert wire.page() == (PAGE if name in RETRIED else bad)
    assert wire.engine.met == 1
    assert wire.page() == PAGE


@each_fault
def test_authorizer_never_turns_a_fault_into_a_denial(wire: Wire, name: str) -> None:
    bad = "refused" if name in REFUSED else "unavailable"
    wire.engine.plan(FAULTS[name], "GetItem", ALWAYS)
    assert wire.effect() == bad
    wire.engine.plan(FAULTS[name], "GetItem", 1)
    assert wire.effect() == ("Allow" if name in RETRIED else bad)
    assert wire.engine.met == 1
    assert wire.effect() == "Allow"


@each_fault
def test_counting_is_exact_after_the_next_delivery(wire: Wire, name: str) -> None:
    number = 1000 + 10 * list(FAULTS).index(name)
    organization = f"org_{number:032x}"
    sessions = [session(number + each, organization_id=organization) for each in range(3)]
    wire.engine.plan(FAULTS[name], "TransactWriteItems", ALWAYS)
    failed = wire.deliver(*sessions)
    # A transaction that was carried out is found done by the next try, although every response was lost.
    assert failed or wire.counted(organization) == expected(sessions)
    wire.engine.plan(FAULTS[name], "BatchGetItem", 1)
    assert bool(wire.deliver(*sessions)) == (name in REFUSED)
    assert wire.deliver(*sessions) == []
    assert wire.counted(organization) == expected(sessions)


def test_changed_body_is_read_again_by_its_checksum(wire: Wire) -> None:
    changed = spoiled(lambda body: response(body.replace(b"idle", b"Idle"), checksum_of=body))
    wire.engine.plan(changed, "Query", 1)
    assert wire.page() == PAGE
    assert wire.engine.met == 1


def warm(wire: Wire) -> int:
    """Return how many connections the engine has accepted once pages open no more of them: two, for two walks."""
    before = -1
    while wire.engine.accepted > before:
        before = wire.engine.accepted
        assert [wire.page() for _ in range(5)] == [PAGE] * 5
    return before


@pytest.mark.parametrize("breaking", [FaultyEngine.reset_connections, FaultyEngine.drop_connections])
def test_page_after_its_idle_connections_broke_is_right(wire: Wire, breaking: Callable[[FaultyEngine], None]) -> None:
    before = warm(wire)
    breaking(wire.engine)
    assert wire.page() == PAGE
    assert wire.engine.accepted > before


def test_engine_that_is_killed_and_started_again_is_an_outage(wire: Wire) -> None:
    organization = "org_" + "e" * 32
    late = session(2000, organization_id=organization)
    for _ in range(3):
        assert (wire.page(), wire.effect()) == (PAGE, "Allow")
        wire.engine.kill()
        assert (wire.page(), wire.effect()) == (UNAVAILABLE, "unavailable")
        assert wire.deliver(late) != []
        wire.engine.start_again()
    assert (wire.page(), wire.effect(), wire.deliver(late)) == (PAGE, "Allow", [])
    assert wire.counted(organization) == expected([late])


def test_restored_snapshot_opens_new_connections(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks: list[Callable[[], object]] = []
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", SimpleNamespace(register_after_restore=hooks.append))
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    monkeypatch.setitem(wire.functions, "list_sessions", wire.load("list_sessions"))
    before = warm(wire)
    for hook in hooks:
        hook()
    assert wire.page() == PAGE
    assert wire.engine.accepted > before
