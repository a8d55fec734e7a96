"""Rebuild, audit and redrive: sessions that were not counted, or counted wrong, end right."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from sessions_cli.items import item_of
from tests.counting.records import deliver, insert, remove
from tests.counting.repairs import FailureQueue, Repairs
from tests.counting.rows import expected, markers, numbers
from tests.memory import Hooked, client_error
from tests.service import AGENT, ORGANIZATION, OTHER_AGENT, OTHER_ORGANIZATION, Service, session, small_limits

FIRST, OTHER = session(1), session(2)
ELSEWHERE = session(1, organization_id=OTHER_ORGANIZATION, agent_id=OTHER_AGENT)

Proceed = Callable[[], Any]


@pytest.fixture
def repairs(engine: Hooked, monkeypatch: pytest.MonkeyPatch) -> Repairs:
    return Repairs(engine, monkeypatch)


def put(engine: Hooked, *sessions: dict[str, Any]) -> None:
    """Write sessions of which the stream delivers nothing."""
    for fields in sessions:
        engine.memory.put_item("sessions", item_of(fields))


def delete(engine: Hooked, fields: dict[str, Any]) -> None:
    engine.memory.delete_item("sessions", {"id": {"S": fields["id"]}})


def drift(engine: Hooked, number: int) -> None:
    """Set the bin of the organization's first day by hand."""
    row = engine.memory.tables["counts"][ORGANIZATION, "M2026-11"]
    row["01"] = {"N": str(number)}


# ----------------------------------------------------------------------------------------- rebuild


def test_rebuild_counts_a_table_never_counted(engine: Hooked, repairs: Repairs) -> None:
    places = [(ORGANIZATION, AGENT), (OTHER_ORGANIZATION, OTHER_AGENT)] * 70
    sessions = [session(number, organization_id=org, agent_id=agent) for number, (org, agent) in enumerate(places)]
    put(engine, *reversed(sessions))
    report = repairs.rebuild()
    assert numbers(engine) == expected(sessions)
    assert (report.sessions, report.added, report.moved, report.removed, report.unchanged) == (140, 140, 0, 0, 0)
    assert report.transactions == 2, "the bins of an organization merge"
    assert repairs.audit().is_clean
    assert (repairs.rebuild().unchanged, len(engine.called("transact_write_items"))) == (140, 2)


def test_rebuild_corrects_missing_stale_and_orphaned_markers(engine: Hooked, repairs: Repairs) -> None:
    kept, orphaned, missing = OTHER, session(3), session(4)
    deliver(insert(FIRST), insert(kept), insert(orphaned))
    put(engine, ELSEWHERE, kept, missing)
    assert repairs.audit().uncounted == {
        ELSEWHERE["id"]: "counted under other keys",
        orphaned["id"]: "counted, and not in the table",
        missing["id"]: "not counted",
    }
    report = repairs.rebuild()
    assert (report.added, report.moved, report.removed, report.unchanged) == (1, 1, 1, 1)
    assert numbers(engine) == expected([ELSEWHERE, kept, missing])
    assert repairs.audit().is_clean


@pytest.mark.parametrize("is_delivered", [True, False], ids=["delivered at once", "delivered later"])
@pytest.mark.parametrize(
    ("operation", "call"),
    [("batch_get_item", 1), ("transact_write_items", 1), ("batch_get_item", 2)],
    ids=["before markers are read", "before the write", "before the second read"],
)
@pytest.mark.parametrize("last", [None, FIRST, ELSEWHERE], ids=["deleted", "created again", "created elsewhere"])
def test_session_that_changes_during_a_rebuild_ends_right(
    engine: Hooked, repairs: Repairs, last: dict[str, Any] | None, operation: str, call: int, is_delivered: bool
) -> None:
    records = [remove(FIRST), *([insert(last)] if last else [])]

    def change(called: str, _parameters: Any, proceed: Proceed) -> Any:
        if called == operation and len(engine.called(operation)) == call:
            delete(engine, FIRST)
            put(engine, *filter(None, [last]))
            if is_delivered:
                deliver(*records)
        return proceed()

    put(engine, FIRST, OTHER)
    engine.around = change
    repairs.rebuild()
    if not is_delivered:
        deliver(*records)
    assert numbers(engine) == expected([OTHER, *filter(None, [last])])
    assert repairs.audit().is_clean


def test_orphan_created_again_before_its_removal_stays(engine: Hooked, repairs: Repairs) -> None:
    def create(operation: str, _parameters: Any, proceed: Proceed) -> Any:
        if operation == "transact_write_items":
            put(engine, FIRST)
        return proceed()

    deliver(insert(FIRST))
    engine.around = create
    report = repairs.rebuild()
    assert (report.removed, report.added) == (1, 1)
    assert numbers(engine) == expected([FIRST])


def test_stack_with_day_rows_moves_to_two_levels(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def put_item(table: str, item: dict[str, Any]) -> None:
        service.dynamodb.put_item(TableName=table, Item=item)

    sessions = [session(number, created_at=f"2026-11-23T16:4{number}:46.000000Z") for number in range(1, 7)]
    for each in sessions:
        item = item_of(each)
        marker = {name: item[name] for name in ("organization_id", "organization_agent", "created_at_id")}
        put_item("sessions", item)
        put_item("counts", {"scope": {"S": f"session#{each['id']}"}, "bucket": {"S": "S"}, **marker})
    five_seconds = {f"{minute}:45": {"N": "1"} for minute in range(1, 7)}
    earlier = {"M2026-11": {"23": {"N": "6"}}, "D2026-11-23": {"164": {"N": "6"}}, "T2026-11-23T16:4": five_seconds}
    for scope, (bucket, bins) in product([ORGANIZATION, f"{ORGANIZATION}#{AGENT}"], earlier.items()):
        put_item("counts", {"scope": {"S": scope}, "bucket": {"S": bucket}, **bins})
    small_limits(monkeypatch, scan_max=0)
    repairs = Repairs(service.dynamodb, monkeypatch)

    def pages() -> list[tuple[str, int]]:
        responses = [service.get(f"offset={offset}&limit=1") for offset in range(len(sessions))]
        return [(response.ids[0], response.body["total"]) for response in responses]

    assert pages() == [(each["id"], 6) for each in reversed(sessions)]
    service.delete(sessions.pop(0)["id"])
    sessions.append(session(7, created_at="2026-11-23T16:47:46.000000Z"))
    service.put(sessions[-1])
    service.drain()
    assert pages() == [(each["id"], 6) for each in reversed(sessions)]
    report = repairs.audit()
    assert (report.earlier_rows, report.is_wrong, report.wrong_bins, report.unknown) == (2, True, {}, [])
    repairs.rebuild()
    assert numbers(service.dynamodb) == expected(sessions)
    assert repairs.audit().is_clean


# ------------------------------------------------------------------------------------------- audit


def test_session_counted_between_two_reads_is_no_difference(engine: Hooked, repairs: Repairs) -> None:
    put(engine, FIRST)
    repairs.on_pause = lambda: deliver(insert(FIRST))
    report = repairs.audit()
    assert (report.is_clean, report.markers) == (True, 1)


@pytest.mark.parametrize("offs", [(3, 3), (3, 1, 3)], ids=["by another number", "by the same number again"])
def test_bin_that_is_being_counted_is_not_wrong(engine: Hooked, repairs: Repairs, offs: tuple[int, ...]) -> None:
    left = iter(offs)
    put(engine, FIRST)
    deliver(insert(FIRST))
    drift(engine, 2)
    repairs.on_pause = lambda: drift(engine, next(left, 9))
    report = repairs.audit()
    assert (report.wrong_bins, [each.name for each in report.changing_bins]) == ({}, ["01"])
    assert (report.is_wrong, report.is_clean) == (False, False)


# ----------------------------------------------------------------------------------------- redrive


def message(first: int, last: int) -> str:
    place = {"shardId": "0", "startSequenceNumber": str(first), "endSequenceNumber": str(last), "streamArn": ""}
    return json.dumps({"DDBStreamBatchInfo": place})


def test_redrive_counts_sessions_as_they_are_now(engine: Hooked, repairs: Repairs) -> None:
    gone, untouched = session(3), session(4)
    put(engine, ELSEWHERE, OTHER, untouched)
    records = [insert(each, number) for number, each in enumerate([untouched, FIRST, OTHER, gone, untouched])]
    queue = FailureQueue([records], {"1": message(1, 3)})
    report = repairs.redrive(queue, queue)
    assert (report.done, report.sessions, report.kept, queue.messages) == (1, 3, {}, {})
    assert markers(engine) == {ELSEWHERE["id"], OTHER["id"]}
    assert numbers(engine) == expected([ELSEWHERE, OTHER])


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("TrimmedDataAccessException", "Its records are no longer in the stream; `sessions counts rebuild` counts"),
        ("ResourceNotFoundException", "Its records are no longer in the stream; `sessions counts rebuild` counts"),
        ("ProvisionedThroughputExceededException", "DynamoDB is busy or cannot be reached"),
    ],
)
def test_message_without_readable_records_is_kept(repairs: Repairs, code: str, reason: str) -> None:
    queue: Any = FailureQueue([[]], {"1": message(1, 3)})

    def fail(**_: Any) -> Any:
        raise client_error(code, "GetRecords")

    queue.get_records = fail
    report = repairs.redrive(queue, queue)
    assert report.kept["1"].startswith(reason)
    assert (report.done, queue.messages) == (0, {"1": message(1, 3)})
