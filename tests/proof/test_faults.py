"""Every fault of the network and of DynamoDB, once for a page, once for the authorizer and once for counting."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, Final

import pytest

from sessions import client
from sessions.counting import writer
from sessions.errors import Unavailable
from sessions.paging import finder
from tests.proof.faulty_engine import (
    Fault,
    FaultyEngine,
    changed,
    ended,
    error,
    fixed,
    half,
    in_chunks,
    late,
    without_length,
)
from tests.service import (
    CONTEXT,
    KEY,
    ORGANIZATION,
    Service,
    authorizer_event,
    event,
    item_of,
    load,
    newest_first,
    response_of,
    session,
    stream_record,
)

READ_TIMEOUT: Final = 0.4
ALWAYS: Final = 10**6

SESSIONS: Final = [
    session(number, created_at=f"2026-11-{20 + number // 60}T16:41:46.{number:06}Z") for number in range(120)
]
DEEP: Final = "offset=55&limit=10"
"""A page across two days: months, the rows of the day, and two walks at the same time."""

HTML: Final = b"<html><body>503 Service Temporarily Unavailable</body></html>"

RETRIED: Final[dict[str, Fault]] = {
    "throttled: throughput": error(400, "ProvisionedThroughputExceededException"),
    "throttled: rate": error(400, "ThrottlingException"),
    "throttled: account": error(400, "RequestLimitExceeded"),
    "throttled: limit": error(400, "LimitExceededException"),
    "500": error(500, "InternalServerError"),
    "500 without a body": fixed(500, b""),
    "502 in HTML": fixed(502, HTML, "text/html"),
    "503": error(503, "ServiceUnavailable"),
    "503 without a body": fixed(503, b""),
    "503 in HTML": fixed(503, HTML, "text/html"),
    "504 in HTML": fixed(504, HTML, "text/html"),
    "reset before the response": ended("start", is_reset=True),
    "reset in the head": ended("head", is_reset=True),
    "reset in the body": ended("body", is_reset=True),
    "closed before the response": ended("start", is_reset=False),
    "chunks without an end": in_chunks(is_ended=False),
    "no first byte": late(has_head=False),
    "no body": late(has_head=True),
}
"""Faults after which botocore tries again."""

NOT_RETRIED: Final[dict[str, Fault]] = {
    "503 that is not UTF-8": fixed(503, b"\xff\xfe\x00"),
    "closed in the head": ended("head", is_reset=False),
    "closed in the body": ended("body", is_reset=False),
    "half a body": changed(half),
    "half a body in chunks": in_chunks(is_ended=True),
    "half a body without a length": without_length,
    "an empty body": fixed(200, b""),
    "HTML": fixed(200, HTML, "text/html"),
    "not UTF-8": fixed(200, b"\xff\xfe\x00"),
    "garbled": changed(lambda body: bytes((byte * 7 + 13) % 256 for byte in body)),
    "a list": fixed(200, b"[]"),
    "null": fixed(200, b"null"),
}
"""Faults after which botocore does not try again: the caller gets 503 at once."""

REFUSED: Final[dict[str, Fault]] = {
    code: error(400, code)
    for code in (
        "ValidationException",
        "AccessDeniedException",
        "ResourceNotFoundException",
        "UnrecognizedClientException",
    )
}
"""Faults of ours, which no retry mends."""

FAULTS: Final = RETRIED | NOT_RETRIED | REFUSED

each_fault = pytest.mark.parametrize("name", FAULTS)


class Wire:
    """The functions, with clients of their own, on an engine that they reach over HTTP."""

    def __init__(self) -> None:
        self.engine = FaultyEngine()
        self.url = f"http://127.0.0.1:{self.engine.port}"
        self.list_sessions, self.authorize_function, self.count_sessions = map(
            self.load, ("list_sessions", "authorize", "count_sessions")
        )
        self._numbers = itertools.count(1)
        service = Service(self.engine.memory)
        service.put(*SESSIONS)
        service.issue()
        assert self.deliver(*map(item_of, SESSIONS)) == []

    def load(self, name: str) -> Any:
        return load(name, AWS_ENDPOINT_URL_DYNAMODB=self.url)

    def page(self) -> tuple[int, Any]:
        """Return status and body of the deep page."""
        made = event(DEEP)
        made["requestContext"]["authorizer"] = {"organization_id": ORGANIZATION}
        response = response_of(self.list_sessions.handler(made, CONTEXT))
        assert response.status != 503 or response.headers["Retry-After"] == "1"
        return response.status, response.body

    def authorize(self) -> str:
        """Return the effect of the policy for a live key, or the name of what was raised."""
        try:
            policy = self.authorize_function.handler(authorizer_event(KEY), CONTEXT)
        except Exception as raised:
            return type(raised).__name__
        return str(policy["policyDocument"]["Statement"][0]["Effect"])

    def deliver(self, *items: dict[str, Any]) -> list[str]:
        """Return what counting reports as failed when these items are inserted."""
        records = [stream_record(next(self._numbers), "INSERT", new=item) for item in items]
        outcome = self.count_sessions.handler({"Records": records}, CONTEXT)
        return [each["itemIdentifier"] for each in outcome["batchItemFailures"]]

    def counted(self, organization: str) -> int:
        rows = [row for (scope, bucket), row in self.engine.memory.tables["counts"].items() if scope == organization]
        return sum(
            int(value["N"]) for row in rows if row["bucket"]["S"][0] == "M" for value in row.values() if "N" in value
        )


@pytest.fixture(scope="module")
def loaded() -> Iterator[Wire]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        monkeypatch.setattr(client, "READ_TIMEOUT", READ_TIMEOUT)
        # Neither botocore's pauses nor its quota of retries, which hundreds of faults would use up.
        monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)
        monkeypatch.setattr("botocore.retries.quota.RetryQuota.acquire", lambda *_: True)
        wire = Wire()
        yield wire
        wire.engine.refuse()


@pytest.fixture
def wire(loaded: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    monkeypatch.setattr(finder, "SCAN_MAX", 1)
    monkeypatch.setattr(writer, "TRIES", 2)
    monkeypatch.setattr(writer, "PAUSE_MAX", 0)
    yield loaded
    loaded.engine.heal()


PAGE: Final = (
    200,
    {"data": newest_first(SESSIONS)[55:65], "total": len(SESSIONS), "offset": 55, "limit": 10},
)
INTERNAL_ERROR: Final = (500, {"error": {"code": "internal_error", "message": "Internal server error"}})
UNAVAILABLE: Final = (503, "unavailable")


@each_fault
def test_page_is_right_or_unavailable(wire: Wire, name: str) -> None:
    wire.engine.plan(FAULTS[name], "Query", ALWAYS)
    status, body = wire.page()
    if name in REFUSED:
        assert (status, body) == INTERNAL_ERROR
    else:
        assert (status, body["error"]["code"]) == UNAVAILABLE
    wire.engine.plan(FAULTS[name], "Query", 1)
    status, body = wire.page()
    assert (status, body) == PAGE if name in RETRIED else status == (500 if name in REFUSED else 503)
    assert wire.engine.met == 1
    assert wire.page() == PAGE


@each_fault
def test_authorizer_never_turns_a_fault_into_a_denial(wire: Wire, name: str) -> None:
    wire.engine.plan(FAULTS[name], "GetItem", ALWAYS)
    always = wire.authorize()
    assert always not in ("Allow", "Deny")
    assert (always == Unavailable.__name__) == (name not in REFUSED)
    wire.engine.plan(FAULTS[name], "GetItem", 1)
    assert wire.authorize() == ("Allow" if name in RETRIED else always)
    assert wire.engine.met == 1
    assert wire.authorize() == "Allow"


@each_fault
def test_counting_is_exact_after_the_next_delivery(wire: Wire, name: str) -> None:
    organization = f"org_{list(FAULTS).index(name):032x}"
    items = [item_of(session(1000 + number, organization_id=organization)) for number in range(3)]
    for number, item in enumerate(items):
        item["id"] = {"S": f"{organization}{number}"}
    wire.engine.plan(FAULTS[name], "TransactWriteItems", ALWAYS)
    failed = wire.deliver(*items)
    # A transaction that was carried out is found done by the next try, although every response was lost.
    assert failed or wire.counted(organization) == 3
    wire.engine.plan(FAULTS[name], "BatchGetItem", 1)
    assert bool(wire.deliver(*items)) == (name in REFUSED)
    assert wire.deliver(*items) == []
    assert wire.counted(organization) == 3


def test_changed_body_is_read_again_by_its_checksum(wire: Wire) -> None:
    wire.engine.plan(changed(lambda body: body.replace(b"idle", b"Idle"), keeps_checksum=True), "Query", 1)
    assert wire.page() == PAGE
    assert wire.engine.met == 1


@pytest.mark.parametrize("breaking", [FaultyEngine.reset_connections, FaultyEngine.drop_connections])
def test_page_after_its_idle_connections_broke_is_right(wire: Wire, breaking: Callable[[FaultyEngine], None]) -> None:
    assert wire.page() == PAGE  # by two connections, which are used again
    before = wire.engine.accepted
    assert (wire.page(), wire.engine.accepted) == (PAGE, before)
    breaking(wire.engine)
    assert wire.page() == PAGE
    assert wire.engine.accepted > before


def test_engine_that_is_killed_and_started_again_is_an_outage(wire: Wire) -> None:
    items = [item_of(session(2000, organization_id="org_" + "e" * 32))]
    for _ in range(3):
        assert (wire.page(), wire.authorize()) == (PAGE, "Allow")
        wire.engine.refuse()
        status, body = wire.page()
        assert (status, body["error"]["code"]) == UNAVAILABLE
        assert wire.authorize() == Unavailable.__name__
        assert wire.deliver(*items) != []
        wire.engine.listen()
    assert (wire.page(), wire.authorize(), wire.deliver(*items)) == (PAGE, "Allow", [])
    assert wire.counted("org_" + "e" * 32) == 1


def test_restored_snapshot_opens_new_connections(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks: list[Callable[[], object]] = []
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", SimpleNamespace(register_after_restore=hooks.append))
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    monkeypatch.setattr(wire, "list_sessions", wire.load("list_sessions"))
    assert wire.page() == PAGE
    before = wire.engine.accepted
    assert wire.page() == PAGE
    assert wire.engine.accepted == before
    for hook in hooks:
        hook()
    assert wire.page() == PAGE
    assert wire.engine.accepted > before
