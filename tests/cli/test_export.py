"""`sessions export`: every item comes out whole, goes in again unchanged, and no file is lost on the way."""

import gzip
import json
import os
import re
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sessions_cli import bulk
from tests.cli.command import SCRIPT, at, fault, ndjson, refusing, replace, sessions, shell, stored, written
from tests.cli.test_load_command import FULL, with_config
from tests.running import Running
from tests.service import AGENT, ORGANIZATION, OTHER_ORGANIZATION, Service, item_of, newest_first, session

MAX = b"9.9999999999999999999999999999999999999E+125"
EXACT = [
    *(b"0", b"-1", b"12345678901234567890123456789012345678", b"0.1", b"1E-120", b"-0.0", b"1.50", b"1e20"),
    *(b"3.1415926535897932384626433832795028842", MAX, b"-" + MAX),
]
"""Numbers of which a double keeps less than DynamoDB does, and others."""

REQUIRED = ("id", "organization_id", "agent_id", "status", "created_at", "updated_at")
ITEM = item_of(session(1))


def lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(each) for each in Path(path).read_text().splitlines()]


def empty(service: Service) -> None:
    for session_id in stored(service):
        service.dynamodb.delete_item(TableName="sessions", Key={"id": {"S": session_id}})


@pytest.mark.parametrize(
    "stored_as",
    [
        {},
        {"expires": {"N": "1795452106"}, "colour": {"S": "red"}},
        {"capabilities": {"L": [{"M": {"ref": {"S": "a"}, "more": {"S": "b"}}}]}},
        {"capabilities": {"L": [{"M": {"ref": {"S": "a"}, "config": {"N": "0.12345678901234567890123"}}}]}},
        {"capabilities": {"L": [{"M": {"ref": {"S": "a"}, "config": {"B": b"\x00\xff"}}}]}},
        {"capabilities": {"L": [{"M": {"ref": {"S": "a"}, "config": {"NS": ["1.5"]}}}]}},
        {"tags": {"SS": ["a", "b"]}},
        {"parts": {"L": [{"BS": [b"\x00\xff"]}, {"M": {"one": {"B": b"\x00"}}}]}},
    ],
    ids=["nothing more", "attributes", "a nested attribute", "digits", "binary", "numbers", "texts", "nested binary"],
)
def test_an_export_that_is_loaded_makes_the_same_items(service: Service, stored_as: dict[str, Any]) -> None:
    service.put_items(ITEM | stored_as)
    before = stored(service)
    assert sessions("export", "a.ndjson").exit_code == 0
    assert [each.keys() == {"Item"} for each in lines("a.ndjson")] == [stored_as != {}]
    empty(service)
    assert sessions("load", "a.ndjson").exit_code == 0
    assert stored(service) == before


def test_load_export_and_load_again_make_the_same_table(service: Service) -> None:
    least = {name: session(2)[name] for name in REQUIRED}
    config = with_config(b"[" + b",".join(EXACT) + b"]").replace(session(1)["id"].encode(), session(3)["id"].encode())
    assert sessions("load", "-", given=ndjson(FULL, least) + config).exit_code == 0
    before = stored(service)
    assert sessions("export", "a.ndjson").stderr == "exported 3\n"
    empty(service)
    assert sessions("load", "a.ndjson").exit_code == 0
    assert stored(service) == before


@pytest.mark.parametrize("same", [{"title": {"NULL": True}}, {"tags": {"NULL": True}, "capabilities": {"NULL": True}}])
def test_a_line_that_loses_nothing_is_a_session_of_the_contract(service: Service, same: dict[str, Any]) -> None:
    service.put(FULL | {"id": "session_2"})
    service.put_items(ITEM | same)
    service.drain()
    assert sessions("export", "a.ndjson").exit_code == 0
    assert newest_first(lines("a.ndjson")) == service.get().body["data"]


def test_items_that_load_would_reject_are_written_and_reported(service: Service) -> None:
    contradicting = item_of(session(2)) | {"created_at_id": {"S": f"2026-11-01T00:00:09.000000Z#{session(2)['id']}"}}
    unknown_agent = item_of(session(4)) | {
        "agent_id": {"S": "agent_1"},
        "organization_agent": {"S": f"{ORGANIZATION}#agent_1"},
    }
    fragment = {"id": {"S": "session_0"}, "title": {"S": "a fragment"}}
    service.put_items(fragment, contradicting, unknown_agent, item_of(session(3)))
    ran = sessions("export", "a.ndjson")
    assert ran.exit_code == 1
    assert set(ran.stderr.splitlines()) == {
        "exported 4",
        "3 would be rejected by `sessions load`.",
        "session_0: organization_id: Field required; agent_id: Field required; status: Field required; "
        "created_at: Field required; updated_at: Field required",
        f"{session(2)['id']}: created_at_id contradicts the fields that it is composed of",
        f"{session(4)['id']}: agent_id: not of the form agent_[0-9a-f]{{31,32}}",
    }
    written_items = [each["Item"] for each in lines("a.ndjson") if "Item" in each]
    assert sorted(map(str, written_items)) == sorted(map(str, [fragment, contradicting, unknown_agent]))


def test_one_organization_is_exported_newest_first(service: Service) -> None:
    service.put(*map(session, range(5)), session(9, organization_id=OTHER_ORGANIZATION))
    assert sessions("export", "a.ndjson", "--organization", ORGANIZATION).exit_code == 0
    assert lines("a.ndjson") == newest_first(map(session, range(5)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--organization", "foo"), "'foo' is not an organization's id: org_ and lower-case hexadecimal digits."),
        (("--organization", "org_1"), "There is nothing to export: no sessions of org_1. a.ndjson was not written."),
        ((), "There is nothing to export: no sessions of sessions. a.ndjson was not written."),
    ],
)
def test_an_export_of_nothing_keeps_the_file(service: Service, options: tuple[str, ...], said: str) -> None:
    written("a.ndjson", b"what was there before")
    assert fault("export", "a.ndjson", *options) == said
    assert {path.name: path.read_text() for path in Path().iterdir()} == {"a.ndjson": "what was there before"}


def test_a_file_that_is_compressed_is_loaded_as_it_is(service: Service) -> None:
    service.put(session(1))
    before = stored(service)
    assert sessions("export", "a.ndjson.gz").exit_code == 0
    assert json.loads(gzip.decompress(Path("a.ndjson.gz").read_bytes())) == session(1)
    empty(service)
    assert sessions("load", "a.ndjson.gz").stdout.startswith("loaded 1, ")
    assert stored(service) == before


def test_a_failed_export_leaves_the_file_as_it_was(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.put(session(1))
    written("a.ndjson", b"what was there before")
    replace(monkeypatch, service.dynamodb, scan=refusing("AccessDeniedException"))
    assert fault("export", "a.ndjson") == "Operation: AccessDeniedException: no"
    assert {path.name: path.read_text() for path in Path().iterdir()} == {"a.ndjson": "what was there before"}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("no/such/folder", "no/such/folder: No such file or directory."),
        (".", ".: Is a directory."),
        ("/dev/full", "/dev/full: No space left on device."),
    ],
)
def test_a_file_that_cannot_be_written_is_named(service: Service, path: str, said: str) -> None:
    service.put(session(1))
    assert fault("export", path) == said


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_replaced_file_keeps_its_mode(service: Service, mode: int) -> None:
    service.put(session(1))
    Path(written("a.ndjson", b"")).chmod(mode)
    assert sessions("export", "a.ndjson").exit_code == 0
    assert stat.S_IMODE(os.stat("a.ndjson").st_mode) == mode


def test_a_symbolic_link_keeps_leading_to_the_file(service: Service) -> None:
    service.put(session(1))
    Path("backups").mkdir()
    Path("latest").symlink_to(written("backups/a.ndjson", b"old"))
    assert sessions("export", "latest").exit_code == 0
    assert Path("latest").is_symlink()
    assert lines("backups/a.ndjson") == [session(1)]


def test_a_pipe_is_written_in_place(service: Service) -> None:
    service.put(session(1))
    os.mkfifo("pipe")
    read: list[str] = []
    reading = threading.Thread(target=lambda: read.append(Path("pipe").read_text()))
    reading.start()
    assert sessions("export", "pipe").exit_code == 0
    reading.join()
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)
    assert json.loads(read[0]) == session(1)


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("sessions export /dev/stdout > a.ndjson; wc -l < a.ndjson", 0, "exported N\n"),
        ("sessions export /dev/stdout | wc -l", 0, "exported N\n"),
        ("sessions export >(wc -l)", 0, "exported N\n"),
        ("sessions export - > /dev/full", 1, "Error: standard output: No space left on device.\n"),
        ("set +o pipefail; sessions export - | head -c 1 > a; wc -c < a", 0, ""),
    ],
)
def test_standard_output_is_written_in_place(running: Running, command: str, status: int, said: str) -> None:
    ran = shell(command, dict(os.environ) | at(running))
    last = ran.stderr.splitlines(keepends=True)[-1:]  # after progress, on a slow machine
    assert (ran.returncode, re.sub(r"[0-9]{3,}", "N", "".join(last))) == (status, said)
    assert re.fullmatch(r"([0-9]{3,}|1)?", ran.stdout.strip())


def test_two_exports_to_one_file_do_not_mix(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.put(*map(session, range(3)))
    others = iter([("export", "a.ndjson")])
    ended = []

    def export_as_well(real: Any, **arguments: Any) -> Any:
        ended.extend(sessions(*other).exit_code for other in others)
        return real(**arguments)

    replace(monkeypatch, service.dynamodb, scan=export_as_well)
    assert [sessions("export", "a.ndjson").exit_code, *ended] == [0, 0]
    assert newest_first(lines("a.ndjson")) == newest_first(map(session, range(3)))
    assert os.listdir() == ["a.ndjson"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_at_once(running: Running, number: signal.Signals) -> None:
    def heed_signals() -> None:  # a shell's background job, and its children, ignore Ctrl-C
        signal.signal(number, signal.SIG_DFL)

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": heed_signals}
    with subprocess.Popen([SCRIPT, "export", "-"], env=os.environ | at(running), **pipes) as process:
        assert process.stdout.read(1) == b"{"  # it is at work, and waits for more to be read
        sent = time.monotonic()
        process.send_signal(number)
        assert process.wait(timeout=10) == 128 + number
        assert time.monotonic() - sent < 2
        assert process.stderr.read().endswith(b"Interrupted.\n")


def test_the_rate_is_kept(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    amounts: list[int] = []
    monkeypatch.setattr(bulk.RateLimiter, "wait", lambda _self, amount: amounts.append(amount))
    service.put(*map(session, range(3)))
    assert sessions("export", "a.ndjson", "--rate", "1").exit_code == 0
    assert sum(amounts) == 3


def test_agents_and_times_survive_a_round_trip_in_any_form(service: Service) -> None:
    given = session(1, created_at="2026-11-23T16:41:46+01:00", finished_at="2026-11-23 16:41:46Z")
    assert sessions("load", "-", given=ndjson(given)).exit_code == 0
    assert sessions("export", "a.ndjson").exit_code == 0
    [line] = lines("a.ndjson")
    assert (line["agent_id"], line["created_at"], line["finished_at"]) == (
        AGENT,
        "2026-11-23T15:41:46.000000Z",
        "2026-11-23T16:41:46.000000Z",
    )
