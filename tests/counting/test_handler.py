"""Stream records in, count rows out, through the real handler."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sessions.counting.writer import TRIES
from sessions_cli.items import item_of
from tests.conftest import Lines
from tests.counting.records import Record, deliver, insert, record, remove
from tests.counting.rows import expected, markers, numbers
from tests.memory import Hooked, client_error
from tests.service import AGENT, CONTEXT, ORGANIZATION, OTHER_AGENT, OTHER_ORGANIZATION, Service, session


def transactions(engine: Hooked) -> list[list[dict[str, Any]]]:
    return [call["TransactItems"] for call in engine.called("transact_write_items")]


# ---------------------------------------------------------------------------------- what is counted

FIRST, OTHER = session(1), session(2)
MOVED = session(1, agent_id=OTHER_AGENT)
ELSEWHERE = session(
    1, organization_id=OTHER_ORGANIZATION, agent_id=OTHER_AGENT, created_at="2025-01-01T00:00:00.000000Z"
)
EXPIRED = remove(FIRST) | {"userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}}
MANY = [session(number, organization_id=f"org_{number:032x}") for number in range(6)]

HISTORIES: dict[str, tuple[list[list[Record]], list[dict[str, Any]]]] = {
    "many organizations": ([list(map(insert, MANY))], MANY),
    "repeats": ([[insert(FIRST)] * 3 + [insert(OTHER)] * 2 + [remove(OTHER)] * 2, [insert(FIRST)] * 2], [FIRST]),
    "removal": ([[insert(FIRST), insert(OTHER)], [remove(FIRST)]], [OTHER]),
    "time to live": ([[insert(FIRST), insert(OTHER)], [EXPIRED]], [OTHER]),
    "put, delete, put": ([[insert(FIRST), insert(OTHER), remove(FIRST), insert(ELSEWHERE)]], [OTHER, ELSEWHERE]),
    "delete, put, delete": ([[insert(FIRST)], [remove(FIRST), insert(MOVED), remove(MOVED)]], []),
    "other agent": ([[insert(FIRST)], [remove(FIRST), insert(MOVED)]], [MOVED]),
    "removal of former keys": ([[insert(FIRST), remove(FIRST), insert(MOVED)], [remove(FIRST)]], [MOVED]),
    "removal never delivered": ([[insert(FIRST)], [insert(MOVED)]], [MOVED]),
    "insert never delivered": ([[remove(FIRST)]], []),
}


@pytest.mark.parametrize(("batches", "left"), HISTORIES.values(), ids=HISTORIES)
def test_history_delivered_repeatedly_is_counted_once(
    service: Service, batches: list[list[Record]], left: list[dict[str, Any]]
) -> None:
    for batch in batches:
        deliver(*batch)
    assert numbers(service.dynamodb) == expected(left)
    records = [record for batch in batches for record in batch]
    for start in range(len(records)):
        deliver(*records[start:])
        assert numbers(service.dynamodb) == expected(left)
    assert markers(service.dynamodb) == {each["id"] for each in left}


def test_lone_session_takes_five_actions(engine: Hooked) -> None:
    deliver(insert(session(1, created_at="2026-11-23T16:41:46.463925Z")))
    (actions,) = transactions(engine)
    assert [next(iter(action)) for action in actions] == ["Put"] + ["Update"] * 4
    assert numbers(engine) == {
        (scope, bucket, name): 1
        for scope in (ORGANIZATION, f"{ORGANIZATION}#{AGENT}")
        for bucket, name in (("M2026-11", "23"), ("T2026-11-23T16:4", "1:45"))
    }


@pytest.mark.parametrize(
    ("missing", "scopes", "reason"),
    [
        (["organization_agent"], {ORGANIZATION}, "missing from its agent's list: no usable organization_agent"),
        (
            ["organization_id"],
            {f"{ORGANIZATION}#{AGENT}"},
            "missing from its organization's list: no usable organization_id",
        ),
        (["created_at_id"], set(), "in no list and not counted: no usable created_at_id"),
        (["organization_id", "organization_agent"], set(), "in no list and not counted: no usable partition key"),
    ],
)
def test_item_without_a_key_is_named_and_counted_where_listed(
    engine: Hooked, missing: list[str], scopes: set[str], reason: str, lines: Lines
) -> None:
    item = {name: value for name, value in item_of(FIRST).items() if name not in missing}
    assert deliver(record("INSERT", FIRST["id"], 1, NewImage=item)) == []
    assert {scope for scope, _, _ in numbers(engine)} == scopes
    (line,) = lines()
    assert (line["level"], line["message"]) == ("WARNING", "counted with unlisted items")
    assert (line["uncounted"], line["UncountedItems"]) == ({FIRST["id"]: reason}, [1])


def test_removed_item_without_a_key_is_not_named(engine: Hooked, lines: Lines) -> None:
    item = {"id": {"S": FIRST["id"]}}
    deliver(record("INSERT", FIRST["id"], 1, NewImage=item), record("REMOVE", FIRST["id"], 2, OldImage=item))
    (line,) = lines()
    assert (line["level"], line["UncountedItems"]) == ("INFO", [0])


@pytest.mark.parametrize(("letter", "fits"), [("s", 2040), ("é", 1020)], ids=["ASCII", "two bytes"])
def test_id_too_long_for_a_marker_is_named_and_not_counted(
    engine: Hooked, letter: str, fits: int, lines: Lines
) -> None:
    longest, long = letter * fits, letter * fits + "s"
    assert deliver(*(record("INSERT", each, 1, NewImage=item_of(FIRST)) for each in (longest, long))) == []
    assert markers(engine) == {longest}
    assert lines()[0]["uncounted"] == {long: "in no list and not counted: its id is too long"}


# ------------------------------------------------------------------------------------ what it costs


@pytest.mark.parametrize(
    "sessions",
    [
        [session(number) for number in range(25)],
        [session(number, agent_id=f"agent_{number:032x}") for number in range(25)],
        [
            session(number, agent_id=f"agent_{number:032x}", created_at=f"20{number + 10}-01-01T00:00:00.000000Z")
            for number in range(25)
        ],
        [session(number, organization_id=f"org_{number:032x}") for number in range(25)],
    ],
    ids=["alike", "of 25 agents", "of 25 agents and years", "of 25 organizations"],
)
def test_25_sessions_take_at_most_two_transactions(engine: Hooked, sessions: list[dict[str, Any]]) -> None:
    deliver(*map(insert, sessions))
    assert numbers(engine) == expected(sessions)
    assert len(transactions(engine)) <= 2


@pytest.mark.parametrize(("number", "sizes"), [(96, [100]), (97, [100, 5])])
def test_transaction_is_filled_up_to_100_actions(engine: Hooked, number: int, sizes: list[int], lines: Lines) -> None:
    sessions = [session(each, created_at="2026-11-23T16:41:46.000000Z") for each in range(number)]
    deliver(*map(insert, sessions))
    assert [len(actions) for actions in transactions(engine)] == sizes  # a marker each, and four rows for all
    assert lines()[0]["Transactions"] == [len(sizes)]
    assert numbers(engine) == expected(sessions)


def test_counted_session_takes_no_second_transaction(engine: Hooked) -> None:
    deliver(insert(FIRST))
    deliver(insert(FIRST))
    assert len(transactions(engine)) == 1


def test_update_of_a_session_takes_no_call(engine: Hooked) -> None:
    item = item_of(FIRST)
    assert deliver(record("MODIFY", FIRST["id"], 1, NewImage=item, OldImage=item)) == []
    assert engine.calls == []


# --------------------------------------------------------------------------------- what goes wrong


def test_throttling_throughout_gives_the_first_record_back(engine: Hooked) -> None:
    def throttle(operation: str, _parameters: Any, proceed: Any) -> Any:
        if operation == "transact_write_items":
            raise client_error("TransactionCanceledException", operation, ["None", "ThrottlingError"])
        return proceed()

    records = insert(FIRST, 7), insert(OTHER, 8)
    engine.around = throttle
    assert deliver(*records) == ["7"]
    assert len(transactions(engine)) == TRIES
    engine.around = lambda _operation, _parameters, proceed: proceed()
    assert deliver(*records) == []
    assert numbers(engine) == expected([FIRST, OTHER])


def test_first_record_of_the_earliest_failure_is_retried(engine: Hooked, lines: Lines) -> None:
    def refuse(operation: str, parameters: dict[str, Any], proceed: Any) -> Any:
        refused = FIRST["id"] in str(parameters) or session(4)["id"] in str(parameters)
        if refused and operation == "transact_write_items":
            raise client_error("TransactionCanceledException", operation, ["ValidationError"])
        return proceed()

    engine.around = refuse
    records = [insert(OTHER, 8), insert(FIRST, 9), insert(session(4), 10), remove(FIRST, 11), insert(MOVED, 12)]
    assert deliver(*records) == ["9"]
    assert numbers(engine) == expected([OTHER])
    (line,) = lines()
    assert (line["level"], line["FailedRecords"], line["SessionsCounted"]) == ("ERROR", [4], [1])
    reason = "TransactionCanceledException: ValidationError"
    assert line["failed_sessions"] == {FIRST["id"]: reason, session(4)["id"]: reason}


@pytest.mark.parametrize(("kind", "image"), [("INSERT", "OldImage"), ("REMOVE", "NewImage")])
def test_record_without_its_image_is_retried_alone(engine: Hooked, kind: str, image: str, lines: Lines) -> None:
    without = record(kind, OTHER["id"], 2, **{image: item_of(OTHER)})
    assert deliver(insert(FIRST, 1), without, insert(session(3), 3)) == ["2"]
    assert numbers(engine) == expected([FIRST, session(3)])
    (line,) = lines()
    assert (line["level"], line["message"]) == ("ERROR", "not all counted")
    assert (line["FailedRecords"], line["SessionsCounted"]) == ([1], [2])
    assert line["failed_sessions"] == {OTHER["id"]: "the record has no image"}


SURROGATE = {"created_at_id": {"S": "\ud800"}, "organization_id": {"S": "org_1"}}


@pytest.mark.parametrize(
    ("invalid", "error"),
    [
        ({}, "None: KeyError: 'eventName'"),
        ([], "None: TypeError: "),
        ({"eventID": "7", "eventName": "INSERT"}, "7: KeyError: 'dynamodb'"),
        ({"eventID": "e" * 99, "eventName": "REMOVE"}, "e" * 64 + ": KeyError: 'dynamodb'"),
        ({"eventName": "INSERT", "dynamodb": None}, "None: TypeError: "),
        ({"eventName": "INSERT", "dynamodb": {"NewImage": {}, "SequenceNumber": "7"}}, "None: KeyError: 'Keys'"),
        ({"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"N": "1"}}}}, "None: KeyError: 'S'"),
        (record("INSERT", 5, 7, NewImage={}), "None: TypeError: int instead of a string"),  # type: ignore[arg-type]
        (record("INSERT", "session_\ud800", 7, NewImage={}), "None: UnicodeEncodeError: "),
        (record("INSERT", "session_7", 7, NewImage=SURROGATE), "None: UnicodeEncodeError: "),
        (record("REMOVE", "session_7", 7, OldImage=[]), "None: AttributeError: "),
        ({"eventName": "REMOVE", "dynamodb": {"Keys": {"id": {"S": "x"}}}}, "None: KeyError: 'SequenceNumber'"),
        (record("INSERT", "session_7", "x", NewImage={}), "None: ValueError: "),  # type: ignore[arg-type]
    ],
    ids=range(13),
)
def test_invalid_record_is_named_and_does_not_affect_others(
    engine: Hooked, invalid: Any, error: str, lines: Lines
) -> None:
    assert deliver(insert(FIRST, 1), invalid, insert(OTHER, 3)) == []
    assert numbers(engine) == expected([FIRST, OTHER])
    (line,) = lines()
    assert (line["level"], line["message"]) == ("ERROR", "not all counted")
    assert (line["InvalidRecords"], line["SessionsCounted"]) == ([1], [2])
    (named,) = line["invalid_records"]
    assert named.startswith(error)


# --------------------------------------------------------------------------------- what is logged


def test_batch_is_logged_in_one_line(engine: Hooked, lines: Lines) -> None:
    private = session(1, title="private title", preview="private preview")
    deliver(insert(private), insert(OTHER), record("MODIFY", OTHER["id"], 3, NewImage=item_of(OTHER)))
    (line,) = lines()
    assert "private" not in json.dumps(line)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert {metric["Name"] for metric in directive["Metrics"]} <= line.keys()
    wanted = {
        "level": "INFO",
        "message": "counted",
        "function_request_id": CONTEXT.aws_request_id,
        "records": 3,
        "failed_sessions": {},
        "invalid_records": [],
        "uncounted": {},
        "SessionsCounted": [2],
        "Transactions": [1],
        "Retries": [0],
        "FailedRecords": [0],
        "InvalidRecords": [0],
        "UncountedItems": [0],
    }
    assert {name: line.get(name) for name in wanted} == wanted
