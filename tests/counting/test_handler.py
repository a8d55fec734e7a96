"""Stream records in, count rows out, through the real handler."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from sessions.client import create_client as client
from sessions.counting.writer import DEADLINE, PAUSE_MAX, TRIES, CountWriter, Limits
from sessions_cli.items import item_of
from tests.conftest import Lines
from tests.counting.rows import expected, markers, numbers
from tests.service import AGENT, CONTEXT, ORGANIZATION, OTHER_AGENT, OTHER_ORGANIZATION, TEMPLATE, Service, session

Reasons = Callable[[list[dict[str, Any]]], list[str]]


def insert(entry: dict[str, Any], sequence: int = 1) -> dict[str, Any]:
    return record("INSERT", entry, sequence, NewImage=item_of(entry))


def remove(entry: dict[str, Any], sequence: int = 1) -> dict[str, Any]:
    return record("REMOVE", entry, sequence, OldImage=item_of(entry))


def record(kind: str, entry: dict[str, Any], sequence: int, **images: Any) -> dict[str, Any]:
    stream = {"Keys": {"id": {"S": entry["id"]}}, "SequenceNumber": str(sequence), **images}
    return {"eventName": kind, "eventSource": "aws:dynamodb", "dynamodb": stream}


def deliver(service: Service, *records: dict[str, Any]) -> list[str]:
    """What the handler reports as failed."""
    outcome = service.function("count_sessions").handler({"Records": list(records)}, CONTEXT)
    assert outcome.keys() == {"batchItemFailures"}
    return [each["itemIdentifier"] for each in outcome["batchItemFailures"]]


class Boundary:
    """Where botocore would send a request: notes it, and answers in DynamoDB's place when told to."""

    def __init__(self, dynamodb: Any) -> None:
        self.dynamodb = dynamodb
        self.transactions: list[list[dict[str, Any]]] = []
        """The actions of every transaction that was sent."""
        self.reads = 0
        self.pauses: list[float] = []
        self.cancel: Reasons = lambda _: []
        """The reasons to cancel a transaction for; none lets it through."""
        self.throttled_reads = 0
        self.unprocessed_reads = 0

    def write(self, params: dict[str, Any], **_: Any) -> Any:
        actions = json.loads(params["body"])["TransactItems"]
        self.transactions.append(actions)
        reasons = self.cancel(actions)
        return refused("TransactionCanceledException", reasons) if reasons else None

    def read(self, params: dict[str, Any], **_: Any) -> Any:
        self.reads += 1
        keys = json.loads(params["body"])["RequestItems"]
        if any(len(key["scope"]["S"]) > 2048 for request in keys.values() for key in request["Keys"]):
            return refused("ValidationException")  # moto has no such limit
        if self.reads <= self.throttled_reads:
            return refused("ProvisionedThroughputExceededException")
        if self.reads <= self.throttled_reads + self.unprocessed_reads:
            return SimpleNamespace(status_code=200), {"Responses": {}, "UnprocessedKeys": keys}
        return None


def refused(code: str, reasons: list[str] | None = None) -> Any:
    parsed: dict[str, Any] = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    if reasons:
        parsed["CancellationReasons"] = [{"Code": reason} for reason in reasons]
    return SimpleNamespace(status_code=400), parsed


def times(number: int, *reasons: str) -> Reasons:
    """Cancels so many transactions."""
    left = iter(range(number))
    return lambda _: list(reasons) if next(left, None) is not None else []


def of_session(*session_ids: str) -> Reasons:
    """Cancels every transaction that writes the marker of one of these sessions, as one that can never succeed."""

    def reasons(actions: list[dict[str, Any]]) -> list[str]:
        written = [(action.get("Put") or action.get("Delete") or {}).get("Item", {}) for action in actions]
        scopes = [item.get("scope", {}).get("S", "") for item in written]
        found = ["ValidationError" if scope.removeprefix("session#") in session_ids else "None" for scope in scopes]
        return found if "ValidationError" in found else []

    return reasons


@pytest.fixture
def boundary(service: Service, monkeypatch: pytest.MonkeyPatch) -> Boundary:
    dynamodb = client()
    noted = Boundary(dynamodb)
    dynamodb.meta.events.register("before-call.dynamodb.TransactWriteItems", noted.write)
    dynamodb.meta.events.register("before-call.dynamodb.BatchGetItem", noted.read)
    writer = CountWriter(dynamodb, "counts", noted.pauses.append)
    monkeypatch.setattr(service.function("count_sessions"), "counts", writer)
    return noted


# ------------------------------------------------------------------------------------- what is counted


def test_an_insert_counts_in_three_rows_of_each_scope(service: Service) -> None:
    entry = session(1, created_at="2026-11-23T16:41:46.463925Z")
    assert deliver(service, insert(entry)) == []
    assert numbers(service) == {
        (scope, bucket, name): 1
        for scope in (ORGANIZATION, f"{ORGANIZATION}#{AGENT}")
        for bucket, name in (("M2026-11", "23"), ("D2026-11-23", "164"), ("T2026-11-23T16:4", "1:45"))
    }


def test_a_batch_may_hold_records_of_many_organizations(service: Service) -> None:
    entries = [session(number, organization_id=f"org_{number:032x}") for number in range(40)]
    deliver(service, *(insert(entry, number) for number, entry in enumerate(entries)))
    assert numbers(service) == expected(entries)


def test_put_delete_put_of_one_id_in_one_batch_ends_as_the_last_put_says(service: Service) -> None:
    first = session(1)
    last = session(
        1, organization_id=OTHER_ORGANIZATION, agent_id=OTHER_AGENT, created_at="2025-01-01T00:00:00.000000Z"
    )
    other = session(2)
    deliver(service, insert(first, 1), insert(other, 2), remove(first, 3), insert(last, 4))
    assert numbers(service) == expected([last, other])


def test_delete_put_delete_of_a_counted_session_in_one_batch_leaves_nothing(service: Service) -> None:
    first, last = session(1), session(1, agent_id=OTHER_AGENT)
    deliver(service, insert(first))
    deliver(service, remove(first, 2), insert(last, 3), remove(last, 4))
    assert numbers(service) == {}
    assert markers(service) == set()


def test_a_session_created_again_with_another_agent_at_the_same_time_is_moved(service: Service) -> None:
    first, last = session(1), session(1, agent_id=OTHER_AGENT)
    deliver(service, insert(first))
    deliver(service, remove(first, 2), insert(last, 3))
    assert numbers(service) == expected([last])


def test_a_record_that_is_repeated_counts_once(service: Service) -> None:
    kept, gone = session(1), session(2)
    deliver(service, *[insert(kept)] * 3, *[insert(gone)] * 2, *[remove(gone)] * 2)
    deliver(service, *[insert(kept)] * 2)
    assert numbers(service) == expected([kept])


def test_batches_delivered_again_from_any_record_on_change_nothing(service: Service) -> None:
    again = session(1, agent_id=OTHER_AGENT, created_at="2026-10-01T00:00:00.000000Z")
    history = [insert(session(1), 1), insert(session(2), 2), remove(session(1), 3), insert(again, 4)]
    for start in range(len(history)):
        deliver(service, *history[start:])
        assert numbers(service) == expected([again, session(2)])


def test_a_time_to_live_deletion_is_a_removal(service: Service) -> None:
    deliver(service, insert(session(1)), insert(session(2)))
    expired = remove(session(1)) | {"userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}}
    deliver(service, expired)
    assert numbers(service) == expected([session(2)])


def test_a_removal_with_other_keys_than_were_counted_changes_nothing(service: Service) -> None:
    first, last = session(1), session(1, agent_id=OTHER_AGENT)
    deliver(service, insert(first, 1), remove(first, 2), insert(last, 3))
    deliver(service, remove(first, 2))
    assert numbers(service) == expected([last])


def test_an_insert_moves_what_was_counted_when_the_removal_before_it_was_set_aside(service: Service) -> None:
    first, last = session(1), session(1, agent_id=OTHER_AGENT)
    deliver(service, insert(first, 1))
    deliver(service, insert(last, 3))
    assert numbers(service) == expected([last])


def test_a_removal_of_what_was_never_counted_changes_nothing(service: Service) -> None:
    deliver(service, remove(session(1)))
    assert numbers(service) == {}


def test_changes_of_a_session_cost_nothing(service: Service, boundary: Boundary) -> None:
    item = item_of(session(1))
    assert deliver(service, record("MODIFY", session(1), 1, NewImage=item, OldImage=item)) == []
    assert (boundary.reads, boundary.transactions) == (0, [])


@pytest.mark.parametrize("missing", ["organization_agent", "organization_id", "created_at_id"])
def test_a_session_is_counted_where_an_index_holds_it(service: Service, missing: str, lines: Lines) -> None:
    item = {name: value for name, value in item_of(session(1)).items() if name != missing}
    deliver(service, record("INSERT", session(1), 1, NewImage=item))
    scopes = {
        "organization_agent": {ORGANIZATION},
        "organization_id": {f"{ORGANIZATION}#{AGENT}"},
        "created_at_id": set(),
    }[missing]
    assert {scope for scope, _, _ in numbers(service)} == scopes
    (line,) = lines()
    assert (line["level"], line["uncounted"]) == (("INFO", []) if scopes else ("WARNING", [session(1)["id"]]))


def test_an_id_too_long_for_a_marker_takes_no_other_session_with_it(service: Service, boundary: Boundary) -> None:
    item = item_of(session(1)) | {"id": {"S": "s" * 2045}}
    assert deliver(service, record("INSERT", {"id": "s" * 2045}, 1, NewImage=item), insert(session(2), 2)) == []
    assert numbers(service) == expected([session(2)])


# ------------------------------------------------------------------------------------- what it costs


@pytest.mark.parametrize(
    "entries",
    [
        [session(number) for number in range(25)],
        [session(number, agent_id=f"agent_{number:032x}") for number in range(25)],
        [
            session(number, agent_id=f"agent_{number:032x}", created_at=f"20{number + 10}-01-01T00:00:00.000000Z")
            for number in range(25)
        ],
    ],
    ids=["alike", "of 25 agents", "of 25 agents and years"],
)
def test_25_sessions_of_one_organization_take_at_most_two_transactions(
    service: Service, boundary: Boundary, entries: list[dict[str, Any]]
) -> None:
    deliver(service, *(insert(entry) for entry in entries))
    assert numbers(service) == expected(entries)
    assert 1 <= len(boundary.transactions) <= 2


def test_no_transaction_has_more_than_100_actions_or_two_on_one_row(service: Service, boundary: Boundary) -> None:
    entries = [session(number, organization_id=f"org_{number % 20:032x}") for number in range(60)]
    deliver(service, *(insert(entry) for entry in entries))
    assert numbers(service) == expected(entries)
    for actions in boundary.transactions:
        targets = [
            json.dumps(next(iter(action.values()))["Key" if "Update" in action else "Item"]) for action in actions
        ]
        assert len(actions) <= 100
        assert len(set(targets)) == len(targets)


@pytest.mark.parametrize(("sessions", "sizes"), [(94, [100]), (95, [100, 7])])
def test_a_transaction_is_filled_up_to_100_actions(
    service: Service, boundary: Boundary, sessions: int, sizes: list[int]
) -> None:
    entries = [session(number, created_at="2026-11-23T16:41:46.000000Z") for number in range(sessions)]
    deliver(service, *(insert(entry) for entry in entries))
    # A marker each, and the six rows that they share.
    assert [len(actions) for actions in boundary.transactions] == sizes
    assert numbers(service) == expected(entries)


def test_what_is_counted_already_takes_no_transaction(service: Service, boundary: Boundary) -> None:
    deliver(service, insert(session(1)))
    deliver(service, insert(session(1)))
    assert len(boundary.transactions) == 1


# ------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("reason", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_transaction_that_was_cancelled_in_passing_is_tried_again_after_a_pause(
    service: Service, boundary: Boundary, reason: str, lines: Lines
) -> None:
    boundary.cancel = times(4, "None", reason)
    assert deliver(service, insert(session(1)), insert(session(2))) == []
    assert numbers(service) == expected([session(1), session(2)])
    assert [line["Retries"] for line in lines()] == [[4]]
    assert len(boundary.pauses) == 4
    assert all(0 <= pause <= PAUSE_MAX for pause in boundary.pauses)
    assert len(set(boundary.pauses)) > 1, "without jitter, all who collided collide again"


def test_markers_that_could_not_be_read_are_read_again(service: Service, boundary: Boundary) -> None:
    boundary.throttled_reads, boundary.unprocessed_reads = 2, 2  # botocore tries the throttled ones twice
    assert deliver(service, insert(session(1)), insert(session(2))) == []
    assert numbers(service) == expected([session(1), session(2)])


def test_a_transaction_whose_answer_was_lost_counts_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    dynamodb = client()

    class Losing:
        lost = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(dynamodb, name)

        def transact_write_items(self, **parameters: Any) -> Any:
            answer = dynamodb.transact_write_items(**parameters)
            if not self.lost:
                self.lost += 1
                raise ReadTimeoutError(endpoint_url="")
            return answer

    losing: Any = Losing()
    monkeypatch.setattr(service.function("count_sessions"), "counts", CountWriter(losing, "counts", lambda _: None))
    assert deliver(service, insert(session(1))) == []
    assert numbers(service) == expected([session(1)])


def test_throttling_throughout_gives_the_first_record_back(service: Service, boundary: Boundary) -> None:
    boundary.cancel = lambda _: ["ThrottlingError"]
    assert deliver(service, insert(session(1), 7), insert(session(2), 8)) == ["7"]
    assert len(boundary.transactions) == TRIES
    boundary.cancel = lambda _: []
    assert deliver(service, insert(session(1), 7), insert(session(2), 8)) == []
    assert numbers(service) == expected([session(1), session(2)])


def test_a_session_that_can_never_be_counted_takes_no_other_one_with_it(
    service: Service, boundary: Boundary, lines: Lines
) -> None:
    boundary.cancel = of_session(session(3)["id"])
    records = [insert(session(number), 10 + number) for number in range(6)]
    assert deliver(service, *records) == ["13"]
    assert numbers(service) == expected(session(number) for number in range(6) if number != 3)
    (line,) = lines()
    assert (line["level"], line["FailedRecords"], line["SessionsCounted"]) == ("ERROR", [1], [5])
    assert line["failed_sessions"] == {session(3)["id"]: "TransactionCanceledException: ValidationError"}


def test_of_several_failures_the_first_record_of_the_earliest_is_reported(
    service: Service, boundary: Boundary, lines: Lines
) -> None:
    boundary.cancel = of_session(session(2)["id"], session(4)["id"])
    moved = session(2, agent_id=OTHER_AGENT)
    records = [
        insert(session(1), 11),
        insert(session(2), 12),
        insert(session(4), 13),
        remove(session(2), 14),
        insert(moved, 15),
        insert(session(5), 16),
    ]
    assert deliver(service, *records) == ["12"]
    assert numbers(service) == expected([session(1), session(5)])
    assert [line["FailedRecords"] for line in lines()] == [[4]]


def test_a_refusal_that_concerns_no_session_alone_fails_them_all_at_once(service: Service, boundary: Boundary) -> None:
    service.dynamodb.delete_table(TableName="counts")
    assert deliver(service, insert(session(1), 1), insert(session(2), 2)) == ["1"]
    assert boundary.pauses == []


def test_past_the_deadline_no_further_call_begins(
    service: Service, boundary: Boundary, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = CountWriter(boundary.dynamodb, "counts", boundary.pauses.append, Limits(deadline=-1.0))
    monkeypatch.setattr(service.function("count_sessions"), "counts", writer)
    assert deliver(service, insert(session(1), 1)) == ["1"]
    assert (boundary.reads, boundary.transactions) == (0, [])


def test_past_the_deadline_the_reason_stays_the_one_that_was_met(
    service: Service, boundary: Boundary, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def throttle_until_it_is_over(_: list[dict[str, Any]]) -> list[str]:
        time.sleep(0.2)
        return ["ThrottlingError"]

    boundary.cancel = throttle_until_it_is_over
    writer = CountWriter(boundary.dynamodb, "counts", boundary.pauses.append, Limits(deadline=0.2))
    monkeypatch.setattr(service.function("count_sessions"), "counts", writer)
    assert deliver(service, insert(session(1), 1)) == ["1"]
    assert (len(boundary.transactions), boundary.pauses) == (1, [])
    (line,) = lines()
    assert line["failed_sessions"] == {session(1)["id"]: "TransactionCanceledException: ThrottlingError"}
    assert line["Retries"] == [1]


@pytest.mark.parametrize(("kind", "image"), [("INSERT", "OldImage"), ("REMOVE", "NewImage")])
def test_a_record_without_its_image_takes_no_other_one_with_it(
    service: Service, kind: str, image: str, lines: Lines
) -> None:
    without = record(kind, session(2), 2, **{image: item_of(session(2))})
    assert deliver(service, insert(session(1), 1), without, insert(session(3), 3)) == ["2"]
    assert numbers(service) == expected([session(1), session(3)])
    (line,) = lines()
    assert (line["level"], line["message"]) == ("ERROR", "not all counted")
    assert (line["FailedRecords"], line["SessionsCounted"]) == ([1], [2])
    assert line["failed_sessions"] == {session(2)["id"]: "the record has no image"}


@pytest.mark.parametrize(
    "spoilt",
    [
        {},
        {"eventID": "7", "eventName": "INSERT"},
        {"eventID": "7", "eventName": "INSERT", "dynamodb": None},
        {"eventID": "7", "eventName": "INSERT", "dynamodb": {"NewImage": {}, "SequenceNumber": "7"}},
        {"eventID": "7", "eventName": "INSERT", "dynamodb": {"Keys": {"id": {"N": "1"}}, "SequenceNumber": "7"}},
        record("INSERT", {"id": "session_\ud800"}, 7, NewImage={}) | {"eventID": "7"},
        record("INSERT", session(7), 7, NewImage={"created_at_id": {"S": "\ud800"}, "organization_id": {"S": "org_1"}}),
        record("REMOVE", session(7), 7, OldImage=[]),
        record("REMOVE", session(7), 7, OldImage={}) | {"dynamodb": {"Keys": {"id": {"S": "session_7"}}}},
    ],
    ids=[
        "nothing",
        "no change",
        "null",
        "no keys",
        "another key",
        "lone surrogate",
        "lone surrogate in a key",
        "no image",
        "no number",
    ],
)
def test_a_record_that_cannot_be_takes_no_other_one_with_it(
    service: Service, spoilt: dict[str, Any], lines: Lines
) -> None:
    assert deliver(service, insert(session(1), 1), spoilt, insert(session(2), 3)) == []
    assert numbers(service) == expected([session(1), session(2)])
    (line,) = lines()
    assert (line["level"], line["message"]) == ("ERROR", "not all counted")
    assert (line["InvalidRecords"], line["SessionsCounted"]) == ([1], [2])
    (named,) = line["invalid_records"]
    assert named.startswith(f"{spoilt.get('eventID')}: ")


def test_a_batch_is_given_up_before_lambda_ends_it(service: Service, time_limits: list[float]) -> None:
    deliver(service, insert(session(1)))
    (seconds,) = time_limits
    assert DEADLINE < seconds < TEMPLATE.function("count_sessions").timeout - 5


# ------------------------------------------------------------------------------------- what is told


def test_one_line_is_logged_for_a_batch(service: Service, lines: Lines) -> None:
    entry = session(1, title="private title", preview="private preview")
    item = item_of(entry)
    deliver(service, insert(entry), insert(session(2)), record("MODIFY", entry, 3, NewImage=item, OldImage=item))
    (line,) = lines()
    assert "private" not in json.dumps(line)
    metadata = line.pop("_aws")
    for name in ("timestamp", "cold_start", "function_name", "function_memory_size", "function_arn"):
        line.pop(name)
    assert line.pop("function_request_id") == CONTEXT.aws_request_id
    assert line == {
        "level": "INFO",
        "message": "counted",
        "records": 3,
        "failed_sessions": {},
        "invalid_records": [],
        "uncounted": [],
        "SessionsCounted": [2],
        "Transactions": [1],
        "Retries": [0],
        "FailedRecords": [0],
        "InvalidRecords": [0],
        "service": "count_sessions",
        "stack": TEMPLATE.function("count_sessions").environment["STACK_NAME"],
    }
    (directive,) = metadata["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("Sessions", [["stack", "service"]])
    assert {metric["Name"] for metric in directive["Metrics"]} <= line.keys()
    assert isinstance(metadata["Timestamp"], int)
