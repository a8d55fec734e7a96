"""The writer's retries: which failures are retried, when, and the reason that is reported in the end."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from sessions import client
from sessions.counting import writer
from sessions.counting.writer import CountWriter, Outcome
from sessions.schema import IndexKeys
from tests.counting.rows import numbers
from tests.memory import Hooked
from tests.service import TEMPLATE

SESSIONS = [f"session_{number}" for number in range(7)]
KEYS = IndexKeys("org_1", "org_1#agent_1", "2026-11-23T16:41:46.000000Z#session")
CANCELLED = "TransactionCanceledException"

Fault = Callable[[], Any]


def as_given(_: IndexKeys | None, keys: IndexKeys | None) -> IndexKeys | None:
    """Return the keys of a session as its next marker."""
    return keys


class Clock:
    """The writer's clock: pauses take no time, and are noted."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(writer, "time", clock)
    return clock


def count(engine: Hooked, *sessions: str) -> Outcome:
    counts = CountWriter(cast(Any, engine), "counts")
    return counts.apply(dict.fromkeys(sessions or SESSIONS, KEYS), as_given)


def failing(*operations: str, faults: list[Fault | None] | Fault) -> Hooked:
    """Return an engine whose calls of these operations meet the faults, one after another or one for ever."""
    left = iter(faults) if isinstance(faults, list) else iter(lambda: faults, None)

    def around(operation: str, _parameters: dict[str, Any], proceed: Callable[[], Any]) -> Any:
        fault = next(left, None) if operation in operations else None
        return fault() if fault else proceed()

    return Hooked(around=around)


def refusal(code: str, message: str | None = None, *reasons: dict[str, str]) -> Fault:
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 400}}

    def raise_it() -> Any:
        raise ClientError(response | {"CancellationReasons": list(reasons)}, "TransactWriteItems")

    return raise_it


def unreachable() -> Any:
    raise ConnectTimeoutError(endpoint_url="")


def cancellation(*codes: str, message: str = "no") -> Fault:
    return refusal(CANCELLED, "x", *({"Code": code} | ({"Message": message} if message else {}) for code in codes))


RETRYABLE = ["ConditionalCheckFailed", "ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"]


@pytest.mark.parametrize(
    ("fault", "tries", "reason"),
    [
        (refusal("ValidationException", "too long"), 1, "ValidationException: too long"),
        (refusal("ValidationException"), 1, "ValidationException"),
        (refusal("ThrottlingException", "slow down"), 3, "ThrottlingException: slow down"),
        (cancellation("ValidationError"), 1, f"{CANCELLED}: ValidationError: no"),
        (cancellation("TransactionConflict", "ValidationError", message=""), 1, "TransactionConflict, ValidationError"),
        (cancellation("None", "TransactionConflict", message=""), 3, f"{CANCELLED}: TransactionConflict"),
        (cancellation(*RETRYABLE, message=""), 3, f"{CANCELLED}: {', '.join(RETRYABLE)}"),
        (refusal(CANCELLED, "x", {}, {"Code": "ThrottlingError"}), 3, f"{CANCELLED}: ThrottlingError"),
        (refusal(CANCELLED, "x"), 3, f"{CANCELLED}: "),
        (unreachable, 3, "ConnectTimeoutError"),
    ],
    ids=range(10),
)
def test_uncounted_session_has_dynamodbs_reason(
    monkeypatch: pytest.MonkeyPatch, fault: Fault, tries: int, reason: str
) -> None:
    monkeypatch.setattr(writer, "TRIES", 3)
    engine = failing("transact_write_items", faults=fault)
    outcome = count(engine, SESSIONS[0])
    assert outcome.failed[SESSIONS[0]].endswith(reason)
    assert len(engine.called("transact_write_items")) == tries
    assert (outcome.transactions, outcome.updated, outcome.attempted) == (0, {}, {SESSIONS[0]})
    assert outcome.retries == (tries if tries > 1 else 0)


@pytest.mark.parametrize("name", IndexKeys._fields)
@pytest.mark.parametrize(
    "before", [None, KEYS, KEYS._replace(organization_agent=None)], ids=["not counted", "counted", "without an agent"]
)
def test_marker_changed_after_it_was_read_is_read_again(before: IndexKeys | None, name: str) -> None:
    def around(operation: str, _parameters: dict[str, Any], proceed: Callable[[], Any]) -> Any:
        if operation == "transact_write_items" and len(engine.called(operation)) == 1:
            elsewhere.apply({"session": KEYS._replace(**{name: "other"})}, as_given)
        return proceed()

    engine = Hooked()
    elsewhere = CountWriter(cast(Any, engine.memory), "counts")
    elsewhere.apply({"session": before}, as_given)
    engine.around = around
    last = IndexKeys("org_2", None, "2026")
    outcome = CountWriter(cast(Any, engine), "counts").apply({"session": last}, as_given)
    assert (outcome.retries, outcome.transactions) == (1, 1)
    assert {scope for scope, _, _ in numbers(engine)} == {"org_2"}


def test_sessions_of_a_refused_transaction_are_retried_alone() -> None:
    engine = failing("transact_write_items", faults=[cancellation("ValidationError")] * 2)
    outcome = count(engine)
    sizes = [sum("Put" in action for action in call["TransactItems"]) for call in engine.called("transact_write_items")]
    assert sizes == [7] + [1] * 7
    assert outcome.failed == {SESSIONS[0]: f"{CANCELLED}: ValidationError: no"}
    assert set(outcome.updated) == set(SESSIONS[1:])


def test_refused_read_does_not_affect_other_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BATCH_GET_KEYS", 2)
    engine = failing("batch_get_item", faults=[refusal("ThrottlingException"), refusal("ValidationException", "no")])
    outcome = count(engine)
    assert outcome.failed == dict.fromkeys(SESSIONS[2:4], "ValidationException: no")
    assert set(outcome.updated) == {*SESSIONS[:2], *SESSIONS[4:]}


def test_sessions_with_unread_markers_are_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "TRIES", 2)

    def around(_operation: str, parameters: dict[str, Any], _proceed: Callable[[], Any]) -> dict[str, Any]:
        return {"Responses": {}, "UnprocessedKeys": parameters["RequestItems"]}

    engine = Hooked(around=around)
    assert count(engine).failed == dict.fromkeys(SESSIONS, "throttled")
    assert engine.called("transact_write_items") == []


@pytest.mark.parametrize(("number", "sizes"), [(100, [100]), (101, [100, 1])])
def test_markers_are_read_strongly_100_at_a_time(number: int, sizes: list[int]) -> None:
    engine = Hooked()
    outcome = count(engine, *(f"session_{each}" for each in range(number)))
    requests = [call["RequestItems"]["counts"] for call in engine.called("batch_get_item")]
    assert [len(request["Keys"]) for request in requests] == sizes
    assert all(request["ConsistentRead"] for request in requests)
    assert len(outcome.updated) == len(outcome.attempted) == number


@pytest.mark.parametrize("session_id", ["s" * 2041, "\ud800"], ids=["too long", "not UTF-8"])
def test_id_that_no_marker_can_have_is_passed_over(session_id: str) -> None:
    engine = Hooked()
    assert count(engine, session_id).failed == {}
    assert engine.calls == []


def test_no_call_starts_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "DEADLINE", -1.0)
    engine = Hooked()
    assert count(engine).failed == dict.fromkeys(SESSIONS, "out of time")
    assert engine.calls == []


def test_reason_of_the_last_failure_is_kept_at_the_deadline(clock: Clock) -> None:
    def throttle() -> Any:
        clock.now += 30
        refusal("ThrottlingException", "slow down")()

    engine = failing("batch_get_item", faults=throttle)
    assert count(engine).failed == dict.fromkeys(SESSIONS, "ThrottlingException: slow down")
    assert len(engine.calls) == 2


def test_pauses_are_random_and_double_up_to_the_longest(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(writer, "random", SimpleNamespace(uniform=lambda low, high: low + high / 2))
    count(failing("batch_get_item", faults=[refusal("ThrottlingException")] * 5))
    assert clock.pauses == [0.025, 0.05, 0.1, 0.125, 0.125]


def test_last_call_ends_before_lambdas_timeout() -> None:
    longest_call = client.ATTEMPTS * (client.CONNECT_TIMEOUT + client.READ_TIMEOUT) + 1
    assert writer.DEADLINE + longest_call < TEMPLATE.function("count_sessions").timeout
