"""`sessions status`: an engine or a stack on one screen, and what needs attention; tests/stack has a real stack."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sessions_cli.status import problems, rows
from tests.cli.command import fault, sessions
from tests.service import Service, session

STACK: dict[str, Any] = {
    "target": "sessions-production",
    "tables": {
        "sessions": {"name": "one", "status": "ACTIVE", "approximate_items": 1200, "approximate_bytes": 1_680_000}
    },
    "counted": {"sample": 100, "counted": 100},
    "stack": {"status": "UPDATE_COMPLETE", "deployed_at": "2026-11-23T16:41:46Z"},
    "stream": {"states": ["Enabled"], "last_results": ["OK"], "behind_seconds": 1.5},
    "failure_queue": {"waiting": 0, "in_flight": 0},
    "alarms": {"total": 9, "in_alarm": {}},
    "functions": {"list_sessions": {"version": "7", "shifting_to": {}}},
}


def test_a_healthy_stack_is_on_one_screen_without_a_problem() -> None:
    assert list(rows(STACK)) == [
        ("target", "sessions-production"),
        ("table", "one: ACTIVE, about 1,200 items, 1.7 MB"),
        ("counted", "100 of 100 sampled sessions"),
        ("stream", "Enabled, 1.5 s behind, OK"),
        ("failure queue", "0 waiting, 0 in flight"),
        ("alarms", "0 of 9 on"),
        ("list_sessions", "version 7"),
        ("deployed", "2026-11-23T16:41:46Z, UPDATE_COMPLETE"),
    ]


@pytest.mark.parametrize(
    ("part", "change", "problem"),
    [
        (
            "counted",
            {"counted": 99},
            "Not all sessions are counted; `sessions counts audit --wait` tells lag from what ",
        ),
        ("stream", {"states": ["Disabled"]}, "The event source mapping is Disabled."),
        ("stream", {"states": []}, "There is no event source mapping: nothing is counted."),
        ("failure_queue", {"waiting": 1}, "The failure queue is not empty; see `sessions counts redrive`."),
        ("alarms", {"in_alarm": {"latency": "2026-11-23T16:41:46Z"}}, "Alarm latency has been on since 2026-11-23T16:"),
        ("stack", {"status": "UPDATE_ROLLBACK_COMPLETE"}, "The stack is UPDATE_ROLLBACK_COMPLETE."),
        ("stack", {"status": "UPDATE_IN_PROGRESS"}, "The stack is UPDATE_IN_PROGRESS."),
    ],
)
def test_what_needs_attention_is_said_in_the_end(part: str, change: dict[str, Any], problem: str) -> None:
    found = STACK | {part: STACK[part] | change}
    (said,) = problems(found)
    assert said.startswith(problem)
    assert list(rows(found))[-1] == ("!", said)


def test_a_deployment_on_its_way_is_shown_with_its_share() -> None:
    function = {"list_sessions": {"version": "7", "shifting_to": {"8": 0.1}}}
    assert ("list_sessions", "version 7, 10% to 8") in list(rows(STACK | {"functions": function}))


def test_a_stream_that_delivers_nothing_is_no_problem() -> None:
    found = STACK | {"stream": STACK["stream"] | {"behind_seconds": None}}
    assert ("stream", "Enabled, nothing delivered lately, OK") in list(rows(found))
    assert problems(found) == []


def test_the_status_of_an_engine_is_that_of_its_tables(service: Service) -> None:
    service.put(session(1))
    ran = sessions("status", "--json")
    found = json.loads(ran.stdout)
    assert (ran.exit_code, found["counted"], len(found["problems"])) == (1, {"sample": 1, "counted": 0}, 1)
    service.drain()
    ran = sessions("status")
    assert (ran.exit_code, ran.stdout.split()[:3]) == (0, ["target", "region", "eu-west-1"])
    assert "sessions: ACTIVE, about 1 items" in ran.stdout


def test_a_table_of_another_kind_is_refused(service: Service) -> None:
    said = fault("status", "--counts-table", "sessions")
    assert said == "sessions is the wrong table: its key is id and not scope, bucket."
