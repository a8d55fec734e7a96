"""Every fault on the wire, on every call of every function, at its first try and at all of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from sessions import client as dynamodb
from sessions.client import TimeLimit
from sessions.paging.finder import Limits, Pages
from tests.faults.proxy import Exchange
from tests.faults.table import READ_TIMEOUT, ROWS, SLOW, TIME_LIMIT, Row
from tests.faults.world import DEEP, ENVIRONMENT, SUBJECTS, Subject, World, body_of, meet

CASES = [
    (row, subject, times)
    for row in ROWS
    for subject in SUBJECTS
    for times in (1, None)
    if row.outcome != SLOW or times is None
]


@pytest.mark.parametrize(
    ("number", "row", "subject", "times"),
    [(2 * number, *case) for number, case in enumerate(CASES)],
    ids=[f"{row.name}-{subject.name}-{'first' if times else 'all'}" for row, subject, times in CASES],
)
def test_a_fault_is_mended_or_told_as_what_it_is(
    world: World, number: int, row: Row, subject: Subject, times: int | None
) -> None:
    meet(world, row, subject, times, number)


PLAIN = [subject for subject in SUBJECTS if not subject.name.startswith("counting")]
COUNTING = [subject for subject in SUBJECTS if subject.name.startswith("counting")]


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_a_refused_connection_is_unavailable_and_the_next_one_serves(
    world: World, subject: Subject, number: int
) -> None:
    subject.check(world, "exact", 5_000 + 10 * number)
    world.proxy.refuse()
    try:
        if subject in PLAIN:
            subject.check(world, "unavailable", 0)
        else:
            assert world.deliver([]) == []
    finally:
        world.proxy.listen()
    subject.check(world, "exact", 5_001 + 10 * number)


@pytest.mark.parametrize("is_polite", [True, False], ids=["closed", "reset"])
@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_connections_that_ended_while_nobody_looked_are_replaced_unnoticed(
    world: World, subject: Subject, number: int, is_polite: bool
) -> None:
    first = 6_000 + 20 * number + 10 * is_polite
    subject.check(world, "exact", first)
    world.proxy.drop_connections(politely=is_polite)
    subject.check(world, "exact", first + 1)


def silent(exchange: Exchange) -> None:
    """A connection whose other end has forgotten it: nothing ever comes."""
    exchange.wait(READ_TIMEOUT * 10)
    exchange.close()


@pytest.mark.parametrize("subject", PLAIN, ids=lambda subject: subject.name)
def test_a_connection_that_is_dead_without_a_sign_costs_one_timeout(world: World, subject: Subject) -> None:
    subject.check(world, "exact", 0)
    world.proxy.plan(silent, subject.target, 1)
    began = time.monotonic()
    subject.check(world, "exact", 0)
    assert READ_TIMEOUT <= time.monotonic() - began < READ_TIMEOUT + 1.0
    world.proxy.heal()


def test_a_restore_from_a_snapshot_begins_with_new_connections(
    world: World, real_network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks: list[Callable[[], object]] = []
    runtime = SimpleNamespace(register_after_restore=hooks.append)
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", runtime)
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", world.proxy.url)
    pages = Pages(dynamodb.create_client(), "sessions", "counts", Limits(near=1), TimeLimit(TIME_LIMIT))
    monkeypatch.setattr(world.functions["list_sessions"], "pages", pages)
    assert world.list(DEEP).body == body_of(DEEP)
    before = world.proxy.connections
    assert world.list(DEEP).body == body_of(DEEP)
    assert world.proxy.connections == before
    for hook in hooks:
        hook()
    assert world.list(DEEP).body == body_of(DEEP)
    assert world.proxy.connections > before


def test_slow_requests_leave_a_service_that_serves(world: World) -> None:
    (row,) = [row for row in ROWS if row.name == "a byte now and then"]
    for _ in range(5):
        world.proxy.plan(row.fault, "Query index", None)
        assert world.list(DEEP).status == 503
        world.proxy.heal()
        assert world.list(DEEP).body == body_of(DEEP)
