"""What counting says of sessions that it could not count, and how it tries: reasons, pauses, calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from sessions import client as dynamodb
from sessions.client import TimeLimit
from sessions.counting import writer as transactions
from sessions.counting.transitions import as_observed, stream_changes
from sessions.counting.writer import CountWriter, Limits, Outcome
from sessions.schema import PARTITION_KEY_BYTES, IndexKeys, is_valid_marker_id
from tests.counting.memory import Memory

SESSIONS = [f"session_{number}" for number in range(7)]
KEYS = {each: IndexKeys("org_1", "org_1#agent_1", f"2026-11-23T16:41:46.000000Z#{each}") for each in SESSIONS}


class Client:
    """Tables in memory, with a fault in the place of any operation."""

    def __init__(self, **faults: Callable[..., Any]) -> None:
        self.memory = Memory()
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._faults = faults

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**parameters: Any) -> Any:
            self.calls.append((operation, parameters))
            return self._faults.get(operation, getattr(self.memory, operation))(**parameters)

        return call

    def called(self, operation: str) -> list[dict[str, Any]]:
        return [parameters for name, parameters in self.calls if name == operation]


def count(client: Client, *sessions: str, time_limit: TimeLimit | None = None, **limits: Any) -> Outcome:
    writer = CountWriter(cast(Any, client), "counts", lambda _: None, Limits(**limits), time_limit)
    return writer.apply({each: as_observed(KEYS[each]) for each in sessions or SESSIONS})


def raises(code: str, message: str | None = None, reasons: list[dict[str, str]] | None = None) -> Callable[..., Any]:
    """A call that DynamoDB refuses."""
    said = {"Code": code} | ({} if message is None else {"Message": message})
    response: Any = {"Error": said, "ResponseMetadata": {"HTTPStatusCode": 400}}
    if reasons is not None:
        response["CancellationReasons"] = reasons

    def call(**_: Any) -> Any:
        raise ClientError(response, "TransactWriteItems")

    return call


CANCELLED = "TransactionCanceledException"
PASSING = ["ConditionalCheckFailed", "ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"]


@pytest.mark.parametrize(
    ("refusal", "tries", "reason"),
    [
        (raises("ValidationException", "too long"), 1, "ValidationException: too long"),
        (raises("ValidationException"), 1, "ValidationException"),
        (raises("ThrottlingException", "slow down"), 3, "ThrottlingException: slow down"),
        (
            raises(CANCELLED, "x", [{"Code": "None"}, {"Code": "TransactionConflict"}]),
            3,
            f"{CANCELLED}: TransactionConflict",
        ),
        (
            raises(CANCELLED, "x", [{"Code": "ThrottlingError", "Message": "b"}, {"Code": "TransactionConflict"}]),
            3,
            f"{CANCELLED}: ThrottlingError: b, TransactionConflict",
        ),
        (
            raises(CANCELLED, "x", [{"Code": "ValidationError", "Message": "no"}]),
            1,
            f"{CANCELLED}: ValidationError: no",
        ),
        (raises(CANCELLED, "x", [{}, {"Code": "ConditionalCheckFailed"}]), 3, f"{CANCELLED}: ConditionalCheckFailed"),
        (raises(CANCELLED, "x", [{"Code": code} for code in PASSING]), 3, f"{CANCELLED}: {', '.join(PASSING)}"),
        (raises(CANCELLED, "x"), 3, f"{CANCELLED}: "),
    ],
    ids=range(9),
)
def test_a_session_that_is_not_counted_has_the_reason_in_dynamodbs_words(
    refusal: Callable[..., Any], tries: int, reason: str
) -> None:
    client = Client(transact_write_items=refusal)
    outcome = count(client, SESSIONS[0], tries=3)
    assert outcome.failed == {SESSIONS[0]: reason}
    assert len(client.called("transact_write_items")) == tries
    assert (outcome.transactions, outcome.updated, outcome.attempted) == (0, {}, {SESSIONS[0]})
    assert outcome.retries == (3 if tries == 3 else 0)


def test_of_two_sessions_the_one_that_is_refused_fails_alone() -> None:
    refused, other = SESSIONS[:2]

    def write(TransactItems: list[dict[str, Any]]) -> Any:  # noqa: N803
        if any(refused in str(action) for action in TransactItems):
            raises(CANCELLED, "x", [{"Code": "ValidationError"}])()
        return client.memory.transact_write_items(TransactItems=TransactItems)

    client = Client(transact_write_items=write)
    outcome = count(client, refused, other)
    assert outcome.failed == {refused: f"{CANCELLED}: ValidationError"}
    assert set(outcome.updated) == {other}


def test_a_read_that_fails_keeps_no_other_session_from_being_counted() -> None:
    refusals = iter([raises("ThrottlingException"), raises("ValidationException", "no")])

    def read(**parameters: Any) -> Any:
        refuse = next(refusals, None)
        return client.memory.batch_get_item(**parameters) if refuse is None else refuse()

    client = Client(batch_get_item=read)
    outcome = count(client, reads=2)
    assert outcome.failed == dict.fromkeys(SESSIONS[2:4], "ValidationException: no")
    assert set(outcome.updated) == {*SESSIONS[:2], *SESSIONS[4:]}


def test_what_kept_a_session_waiting_is_told_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(transactions.time, "monotonic", lambda: clock[0])  # type: ignore[attr-defined]

    def sleep(_: float) -> None:
        clock[0] += 20

    client = Client(batch_get_item=raises("ThrottlingException", "slow down"))
    writer = CountWriter(cast(Any, client), "counts", sleep, Limits(deadline=30))
    outcome = writer.apply({each: as_observed(KEYS[each]) for each in SESSIONS})
    assert outcome.failed == dict.fromkeys(SESSIONS, "ThrottlingException: slow down")
    assert len(client.calls) == 2


def test_a_call_without_a_response_is_named_by_its_exception() -> None:
    def unreachable(**_: Any) -> Any:
        raise ConnectTimeoutError(endpoint_url="")

    assert count(Client(batch_get_item=unreachable), SESSIONS[0], tries=2).failed == {
        SESSIONS[0]: "ConnectTimeoutError"
    }


def test_sessions_whose_markers_are_not_read_are_not_written() -> None:
    def unprocessed(RequestItems: dict[str, Any]) -> Any:  # noqa: N803
        return {"Responses": {}, "UnprocessedKeys": RequestItems}

    client = Client(batch_get_item=unprocessed)
    outcome = count(client, tries=2)
    assert outcome.failed == dict.fromkeys(SESSIONS, "throttled")
    assert client.called("transact_write_items") == []


def test_markers_are_read_once_for_each_session_in_as_few_calls_as_fit() -> None:
    client = Client()
    outcome = count(client, reads=3)
    read = [call["RequestItems"]["counts"]["Keys"] for call in client.called("batch_get_item")]
    assert [len(keys) for keys in read] == [3, 3, 1]
    assert [key["scope"]["S"] for keys in read for key in keys] == [f"session#{each}" for each in SESSIONS]
    assert all(call["RequestItems"]["counts"]["ConsistentRead"] for call in client.called("batch_get_item"))
    assert (outcome.transactions, outcome.retries, outcome.failed) == (1, 0, {})
    assert set(outcome.updated) == outcome.attempted == set(SESSIONS)


def test_the_markers_of_100_sessions_are_read_in_one_call_and_of_101_in_two() -> None:
    for sessions, sizes in ((100, [100]), (101, [100, 1])):
        client = Client()
        names = [f"session_{number}" for number in range(sessions)]
        writer = CountWriter(cast(Any, client), "counts", lambda _: None)
        writer.apply({each: as_observed(KEYS[SESSIONS[0]]) for each in names})
        read = [call["RequestItems"]["counts"]["Keys"] for call in client.called("batch_get_item")]
        assert [len(keys) for keys in read] == sizes


def test_a_batch_that_takes_too_long_has_failed_as_a_whole() -> None:
    client = Client(batch_get_item=lambda **_: time.sleep(0.3))
    outcome = count(client, time_limit=TimeLimit(0.05))
    assert outcome.failed == dict.fromkeys(SESSIONS, "out of time")
    assert outcome.attempted == set(SESSIONS)
    assert outcome.transactions == 0
    time.sleep(0.4)  # until what was left behind has ended


def test_past_its_deadline_no_call_begins() -> None:
    client = Client()
    assert count(client, deadline=-1.0).failed == dict.fromkeys(SESSIONS, "out of time")
    assert client.calls == []


def test_pauses_double_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions.random, "uniform", lambda low, high: (low, high))  # type: ignore[attr-defined]
    pauses: list[Any] = [transactions.backoff(tries) for tries in (1, 2, 3, 4, 29)]
    assert pauses == [(0, 0.05), (0, 0.1), (0, 0.2), (0, 0.25), (0, 0.25)]


def test_there_is_a_pause_before_every_try_but_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "backoff", lambda tries: float(tries))
    pauses: list[float] = []
    client = Client(transact_write_items=raises("ThrottlingException"))
    CountWriter(cast(Any, client), "counts", pauses.append, Limits(tries=4)).apply(
        {SESSIONS[0]: as_observed(KEYS[SESSIONS[0]])}
    )
    assert pauses == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"eventID": "e1", "eventName": "INSERT"}, "e1: KeyError: 'dynamodb'"),
        ({"eventID": "e" * 99, "eventName": "REMOVE"}, "e" * 64 + ": KeyError: 'dynamodb'"),
        ({"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": 5}}}}, "None: TypeError: int instead of a string"),
        (
            {"eventID": "e2", "eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "x"}}}},
            "e2: KeyError: 'SequenceNumber'",
        ),
    ],
    ids=range(4),
)
def test_a_record_that_cannot_be_read_is_named_with_what_is_wrong(record: dict[str, Any], said: str) -> None:
    found = stream_changes([record])
    assert (found.invalid, found.by_session, found.without_image) == ([said], {}, {})


def test_unprocessed_keys_are_told_apart_from_items_that_are_not_there() -> None:
    keys: list[Any] = [{"scope": {"S": each}, "bucket": {"S": "S"}} for each in "abc"]
    answers: list[Any] = [
        {"Responses": {"counts": keys[:1]}, "UnprocessedKeys": {"counts": {"Keys": keys[2:]}}},
        {"Responses": {}, "UnprocessedKeys": {}},
        {"Responses": {"other": keys}},
    ]
    client: Any = Client(batch_get_item=lambda **_: answers.pop(0))
    assert dynamodb.batch_get(client, "counts", keys) == (keys[:1], keys[2:])
    assert dynamodb.batch_get(client, "counts", keys, ["scope", "bucket"]) == ([], [])
    assert dynamodb.batch_get(client, "counts", keys) == ([], [])
    plain, projected, _ = (call["RequestItems"]["counts"] for call in client.called("batch_get_item"))
    assert plain == {"Keys": keys, "ConsistentRead": True}
    assert projected == {
        "Keys": keys,
        "ConsistentRead": True,
        "ProjectionExpression": "#scope, #bucket",
        "ExpressionAttributeNames": {"#scope": "scope", "#bucket": "bucket"},
    }


def test_sessions_of_a_refused_transaction_are_tried_one_by_one_and_keep_the_reason_until_then() -> None:
    refusal = raises(CANCELLED, "x", [{"Code": "ValidationError", "Message": "no"}])
    client = Client(transact_write_items=refusal)
    assert count(client, tries=1).failed == dict.fromkeys(SESSIONS, f"{CANCELLED}: ValidationError: no")
    count(client, tries=2)
    sizes = [sum("Put" in action for action in call["TransactItems"]) for call in client.called("transact_write_items")]
    assert sizes == [7, 7] + [1] * 7


def test_no_transaction_has_more_actions_than_allowed() -> None:
    client = Client()
    outcome = count(client, actions=8)
    sizes = [len(call["TransactItems"]) for call in client.called("transact_write_items")]
    assert sizes == [8, 8, 8, 7]  # six rows and one or two markers
    assert (outcome.transactions, set(outcome.updated)) == (4, set(SESSIONS))


def test_the_first_record_to_deliver_again_is_the_least_number() -> None:
    stream = [
        {
            "eventName": "INSERT",
            "dynamodb": {
                "Keys": {"id": {"S": f"session_{number}"}},
                "SequenceNumber": number,
                "NewImage": {"id": {"S": "x"}},
            },
        }
        for number in ("10", "9", "100")
    ]
    changes = stream_changes(stream)
    assert changes.first_to_repeat({"session_10", "session_9", "session_100"}) == "9"
    assert changes.first_to_repeat({"session_10", "session_100"}) == "10"
    assert changes.first_to_repeat(set()) is None


@pytest.mark.parametrize(
    ("session_id", "fits"),
    [("s" * 2040, True), ("s" * 2041, False), ("é" * 1020, True), ("é" * 1020 + "s", False), ("session_\ud800", False)],
    ids=range(5),
)
def test_an_id_fits_a_marker_up_to_the_bytes_of_a_key(session_id: str, fits: bool) -> None:
    assert len(b"session#") + 2040 == PARTITION_KEY_BYTES
    assert is_valid_marker_id(session_id) is fits
