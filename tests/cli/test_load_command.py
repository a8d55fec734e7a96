"""`sessions load`: lines into the table, bad lines set aside, some sessions only."""

import json
import os
import pty
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from sessions_cli import items, load, progress
from sessions_cli.bulk import TRIES
from tests.cli.command import SCRIPT, at, fault, ndjson, refusal, refusing, replace, sessions, stored, written
from tests.running import Running
from tests.service import AGENT, ORGANIZATION, OTHER_AGENT, OTHER_ORGANIZATION, Service, item_of, newest_first, session

FULL = session(
    1,
    status="active",
    started_at="2026-11-23T16:41:46.463925Z",
    finished_at="2026-11-23T16:41:46.463926Z",
    title="Überraschung 🎁",
    preview="",
    output_preview="שלום\u0000\u001b[31m",
    model_id="model_0a",
    tags=["", "b"],
    capabilities=[{"ref": "web"}, {"ref": "sql", "config": {"rows": [1, 0.25, None, True, {}, []]}}],
    usage={"input_tokens": 0, "output_tokens": 2147483647, "cache_read_tokens": 5},
)


def test_a_session_is_stored_as_the_data_layout_says(service: Service) -> None:
    ran = sessions("load", written("a.ndjson", ndjson(FULL)))
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert stored(service) == {FULL["id"]: item_of(FULL)}


def test_fields_without_a_value_are_not_stored(service: Service) -> None:
    least = {name: FULL[name] for name in ("id", "organization_id", "agent_id", "status", "created_at", "updated_at")}
    nothing = dict.fromkeys(("title", "model_id", "started_at", "usage", "tags", "capabilities"))
    assert sessions("load", "-", given=ndjson(least | nothing)).exit_code == 0
    assert stored(service) == {FULL["id"]: item_of(least | {"tags": [], "capabilities": []})}


def line(**fields: Any) -> bytes:
    """A session that would be good but for these fields."""
    return json.dumps(session(1) | fields).encode()


def with_config(text: bytes) -> bytes:
    return line(capabilities=[{"ref": "a", "config": "HERE"}]).replace(b'"HERE"', text)


NOT_SESSIONS = [
    (b"nonsense", "not JSON: Expecting value at character 1"),
    (b'{"id": 1', "not JSON: Expecting ',' delimiter at character 9"),
    (b"\xff{}", "not UTF-8: byte 1 is 0xff"),
    (b"[]", "not a JSON object"),
    (b"null", "not a JSON object"),
    (
        b"{}",
        "id: Field required; organization_id: Field required; agent_id: Field required; status: Field required; "
        "created_at: Field required; updated_at: Field required",
    ),
    (b'{"id": "a", "id": "b"}', "id: given twice"),
    (b'{"\\u001b[31m": 1, "\\u001b[31m": 2}', "?[31m: given twice"),
    (b'{"\\ud800": 1, "\\ud800": 2}', "?: given twice"),
    (line(colour="red"), "colour: the contract has no such field"),
    (line(id="session_"), "id: not of the form session_[0-9a-f]{1,64}"),
    (line(id="session_ABC"), "id: not of the form session_[0-9a-f]{1,64}"),
    (line(organization_id="org_1#"), "organization_id: not of the form org_[0-9a-f]{1,64}"),
    (line(agent_id=None), "agent_id: Input should be a valid string"),
    (line(status="running"), "status: Input should be 'started', 'active' or 'idle'"),
    (line(title=5), "title: Input should be a valid string"),
    (line(model_id="gpt"), "model_id: not of the form model_[0-9a-f]{1,64}"),
    (line(tags="a"), "tags: Input should be a valid list"),
    (line(tags=["a", 1]), "tags.1: Input should be a valid string"),
    (line(usage={"input_tokens": 1}), "usage.output_tokens: Field required"),
    (
        line(usage={"input_tokens": -1, "output_tokens": 2**31}),
        "usage.input_tokens: Input should be greater than or equal to 0; "
        "usage.output_tokens: Input should be less than or equal to 2147483647",
    ),
    (
        line(usage={"input_tokens": 1.0, "output_tokens": True}),
        "usage.input_tokens: Input should be a valid integer; usage.output_tokens: Input should be a valid integer",
    ),
    (line(capabilities=[{"config": 1}]), "capabilities.0.ref: Field required"),
    (line(capabilities=[{"ref": "a", "more": 1}]), "capabilities.0.more: the contract has no such field"),
    (line(created_at=1795452106), "created_at: Input should be a valid string"),
    (line(created_at="2026-11-23"), "created_at: not an RFC 3339 date-time"),
    (line(created_at="1999-12-31T23:59:59.999999Z"), "created_at: not within the years 2000 to 2099"),
    (line(created_at="2099-12-31T23:59:60Z"), "created_at: not within the years 2000 to 2099"),
    (line(updated_at="2026-02-29T00:00:00Z"), "updated_at: day is out of range for month"),
    (line(agent_id="agent_1"), "agent_id: not of the form agent_[0-9a-f]{31,32}"),
    *(
        (with_config(number), "a number has more than 38 digits or is out of DynamoDB's range")
        for number in (b"1" * 39, b"1.5e300", b"1e-300", b"1e999", b"0." + b"1" * 39)
    ),
    (with_config(b"NaN"), "Infinity and NaN not supported"),
    (with_config(b"1" * 5000), "a number that DynamoDB does not store"),
    (with_config(b"1e" + b"9" * 20), "a number that DynamoDB does not store"),
    (with_config(b"[" * 99_999 + b"]" * 99_999), "nested more deeply than DynamoDB stores"),
    (with_config(b"[" * 400 + b"]" * 400), "nested more deeply than DynamoDB stores"),
]


def test_bad_lines_are_set_aside_while_the_rest_loads(service: Service) -> None:
    good = [session(number) for number in range(100, 103)]
    bad = b"".join(text + b"\n" for text, _ in NOT_SESSIONS)
    ran = sessions("load", written("mixed.ndjson", ndjson(good[0]) + bad + ndjson(*good[1:])))
    assert ran.exit_code == 1
    *complaints, last = ran.stderr.splitlines()
    assert sorted(complaints) == sorted(
        f"line {number}: {reason}" for number, (_, reason) in enumerate(NOT_SESSIONS, 2)
    )
    assert last == "The rejected lines are in mixed.rejects.ndjson."
    assert ran.stdout.startswith(f"loaded 3, rejected {len(NOT_SESSIONS)}, in ")
    assert set(Path("mixed.rejects.ndjson").read_bytes().splitlines()) == set(bad.splitlines())
    assert stored(service).keys() == {each["id"] for each in good}


def test_a_line_that_is_too_long_is_not_said_to_be_kept(service: Service) -> None:
    long = line(preview="x" * items.LINE_BYTES)
    ran = sessions("load", written("a.ndjson", long + b"\n" + ndjson(session(2))))
    assert ran.stderr.splitlines() == [
        "line 1: longer than 4194304 bytes, which no session is",
        "Lines that are too long to be kept there: 1.",
    ]
    assert os.listdir() == ["a.ndjson"]
    assert stored(service).keys() == {session(2)["id"]}


@pytest.mark.parametrize(
    ("arguments", "given", "rejects"),
    [
        (("-",), b"nonsense", {"stdin.rejects.ndjson": b"nonsense\n"}),
        (("-", "--rejects", "elsewhere"), b"nonsense", {"elsewhere": b"nonsense\n"}),
        (("-",), ndjson(FULL), {}),
        (("-",), b"", {}),
        (("-",), b"\n\r\n  \n", {}),
        (("-",), b"\xef\xbb\xbf", {}),
    ],
)
def test_rejected_lines_are_kept_in_a_file_if_there_are_any(
    service: Service, arguments: tuple[str, ...], given: bytes, rejects: dict[str, bytes]
) -> None:
    ran = sessions("load", *arguments, given=given)
    assert ran.exit_code == (1 if rejects else 0)
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == rejects


@pytest.mark.parametrize("path", [".", "..", "folder"])
def test_a_folder_is_loaded_and_its_rejects_are_here(service: Service, path: str) -> None:
    Path("folder/below").mkdir(parents=True)
    folder = Path("folder") if path == "folder" else Path("folder/below") / path
    (folder / "a.ndjson").write_bytes(b"nonsense\n")
    os.chdir("folder/below" if path != "folder" else ".")
    assert sessions("load", path).stderr.splitlines()[0] == "line 1: not JSON: Expecting value at character 1"
    assert len(list(Path().glob("*.rejects.ndjson"))) == 1


@pytest.mark.parametrize(
    ("rejects", "said"),
    [
        ("./a.ndjson", "Error: --rejects a.ndjson is FILE itself."),
        ("no/such/folder", "Error: no/such/folder: No such file or directory; --rejects chooses another file."),
    ],
)
def test_a_rejects_file_that_cannot_be_is_refused(service: Service, rejects: str, said: str) -> None:
    ran = sessions("load", written("a.ndjson", b"nonsense\n"), "--rejects", rejects)
    assert (ran.exit_code, ran.stderr.splitlines()[-1]) == (1, said)
    assert Path("a.ndjson").read_bytes() == b"nonsense\n"


def test_line_breaks_and_marks_of_other_systems_do_not_matter(service: Service) -> None:
    lines = [b"\xef\xbb\xbf" + line(id="session_1"), b"", b"  " + line(id="session_2") + b"\t", b"oops"]
    ran = sessions("load", written("a.ndjson", b"\r\n".join(lines)))
    assert ran.stderr.startswith("line 4: not JSON")
    assert Path("a.rejects.ndjson").read_bytes() == b"oops\n"
    assert stored(service).keys() == {"session_1", "session_2"}


def test_a_file_that_is_not_there_is_named() -> None:
    assert fault("load", "nowhere") == "nowhere: No such file or directory."


def test_of_two_lines_with_one_id_the_first_is_loaded(service: Service) -> None:
    far = [session(number) for number in range(2, 40)]
    given = ndjson(session(1, title="first"), session(1, title="second"), *far, session(1, title="third"))
    ran = sessions("load", "-", given=given)
    assert ran.exit_code == 1
    assert ran.stderr.splitlines()[:2] == [
        f"line 2: id: {session(1)['id']} is already in line 1",
        f"line 41: id: {session(1)['id']} is already in line 1",
    ]
    assert stored(service)[session(1)["id"]]["title"] == {"S": "first"}
    assert len(stored(service)) == 39


def test_a_file_can_be_loaded_again_with_changes(service: Service) -> None:
    for title in ("before", "after"):
        assert sessions("load", "-", given=ndjson(session(1, title=title))).exit_code == 0
    assert stored(service)[session(1)["id"]]["title"] == {"S": "after"}


@pytest.mark.parametrize(
    ("change", "differences"),
    [
        (
            {"organization_id": OTHER_ORGANIZATION},
            f"organization_id {ORGANIZATION}",
        ),
        ({"agent_id": OTHER_AGENT}, f"agent_id {AGENT}"),
        (
            {"created_at": "2026-11-01T00:00:01.000001Z"},
            "created_at 2026-11-01T00:00:01.000000Z",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_line_that_would_move_a_stored_session_is_refused(
    service: Service, change: dict[str, str], differences: str
) -> None:
    service.put(session(1))
    ran = sessions("load", "-", given=ndjson(session(1, **change), session(2)))
    assert ran.exit_code == 1
    assert ran.stderr.splitlines()[0] == (
        f"line 1: already stored with {differences}; organization_id, agent_id and created_at never change: "
        "delete the session first"
    )
    assert stored(service)[session(1)["id"]]["created_at_id"]["S"].startswith("2026-11-01T00:00:01.000000Z#")
    assert session(2)["id"] in stored(service)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("operation", ["batch_write_item", "batch_get_item"])
def test_what_is_throttled_for_good_is_set_aside(
    service: Service, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    replace(monkeypatch, service.dynamodb, **{operation: refusing("ThrottlingException", TRIES)})
    ran = sessions("load", "-", given=ndjson(FULL))
    assert (ran.exit_code, ran.stderr.splitlines()[0]) == (1, "line 1: DynamoDB kept throttling")
    assert Path("stdin.rejects.ndjson").read_bytes() == ndjson(FULL)


def test_one_entry_that_dynamodb_refuses_takes_no_other_with_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = session(7)["id"]

    def write(real: Callable[..., Any], **arguments: Any) -> Any:
        if refused in json.dumps(arguments):
            raise refusal("ValidationException")
        return real(**arguments)

    replace(monkeypatch, service.dynamodb, batch_write_item=write)
    ran = sessions("load", "-", given=ndjson(*map(session, range(25))))
    assert ran.stderr.splitlines()[0] == "line 8: refused: no"
    assert stored(service).keys() == {session(number)["id"] for number in range(25)} - {refused}


def test_an_interrupted_load_says_how_far_it_came(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(2))

    def write(real: Callable[..., Any], **arguments: Any) -> Any:
        if next(calls) > 0:
            raise refusal("AccessDeniedException")
        return real(**arguments)

    monkeypatch.setattr(load, "WORKERS", 1)
    replace(monkeypatch, service.dynamodb, batch_write_item=write)
    ran = sessions("load", "-", given=ndjson(*map(session, range(50))))
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr.splitlines() == [
        "At least 25 were loaded; loading them again does no harm.",
        "Error: Operation: AccessDeniedException: no",
    ]


def test_a_file_of_many_batches_is_loaded_into_a_table_in_use(running: Running) -> None:
    loaded = [session(number, id=f"session_b{number}", organization_id="org_" + "ba" * 16) for number in range(260)]
    ran = sessions("load", written("a.ndjson", ndjson(*loaded)), **at(running))
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout.startswith("loaded 260, rejected 0, in ")
    dynamodb: Any = boto3.client("dynamodb", endpoint_url=running.dynamodb_url)
    found = dynamodb.query(
        TableName="sessions",
        IndexName="by_organization",
        KeyConditionExpression="organization_id = :organization",
        ExpressionAttributeValues={":organization": {"S": "org_" + "ba" * 16}},
        ScanIndexForward=False,
    )["Items"]
    assert [item["id"]["S"] for item in found] == [each["id"] for each in newest_first(loaded)]


def test_a_terminal_shows_how_far_the_load_has_come(running: Running) -> None:
    loaded = [session(number, id=f"session_c{number}", organization_id="org_" + "ca" * 16) for number in range(60)]
    written("a.ndjson", b"oops\n" + ndjson(*loaded))
    terminal, end = pty.openpty()
    with subprocess.Popen(
        [SCRIPT, "load", "a.ndjson"],
        env=os.environ | at(running) | {"TERM": "xterm", "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=end,
    ) as process:
        os.close(end)
        shown = b"".join(until_closed(terminal)).decode()
    assert process.returncode == 1
    assert "line 1: not JSON" in shown
    assert "loading" in shown
    assert "61/61" in shown


def until_closed(terminal: int) -> Iterator[bytes]:
    """What a program writes to a terminal; Linux reports an error when its end is closed."""
    try:
        while chunk := os.read(terminal, 65536):
            yield chunk
    except OSError:
        pass
    finally:
        os.close(terminal)


def test_a_log_gets_a_line_of_progress_now_and_then_and_no_bar(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ndjson(session(1))
    # Pipelines set it, so that what they show of a log has colours.
    assert sessions("load", "-", given=given, FORCE_COLOR="1").stderr == ""
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    assert sessions("load", "-", given=given, FORCE_COLOR="1").stderr.splitlines() == ["loading: 1"]


def test_the_selected_sessions_alone_are_loaded(service: Service) -> None:
    ids = written("ids.txt", b"\xef\xbb\xbf" + f"\n{session(1)['id']}\r\n\r\n  {session(3)['id']}\t\n\n".encode())
    lines = ndjson(*map(session, range(3)), {"Item": item_of(session(3))}, session(4))
    ran = sessions("load", written("a.ndjson", lines), "--only", ids)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert stored(service).keys() == {session(1)["id"], session(3)["id"]}


def test_a_selected_session_that_no_line_has_is_named(service: Service) -> None:
    ids = written("ids.txt", f"{session(1)['id']}\nsession_7\n".encode())
    ran = sessions("load", written("a.ndjson", ndjson(session(1))), "--only", ids)
    assert (ran.exit_code, ran.stderr) == (1, "session_7: not in a.ndjson\n1 ids of ids.txt have no line.\n")
    assert stored(service).keys() == {session(1)["id"]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "ids.txt has no ids."),
        (b"\n \r\n", "ids.txt has no ids."),
        (b"session_1\nSESSION_2\n", "ids.txt line 2: 'SESSION_2' is not the id of a session."),
        (b"session_1 session_2\n", "ids.txt line 1: 'session_1 session_2' is not the id of a session."),
        (b"\xff", "ids.txt is not UTF-8 text."),
    ],
)
def test_a_selection_of_something_else_is_refused(service: Service, content: bytes, said: str) -> None:
    given = written("a.ndjson", ndjson(session(1)))
    assert fault("load", given, "--only", written("ids.txt", content)) == said
    assert stored(service) == {}
