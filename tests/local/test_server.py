"""`make run` as a process: how it starts, what keeps it from starting, how it ends; and what is in the sample."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from sessions.contract import read_session
from sessions_cli.items import item_of
from sessions_local import sample
from sessions_local import start as server
from sessions_local.settings import CannotStart, Settings
from tests.local.test_http import client, get, within_two_seconds
from tests.running import ROOT, Running, free_port, local_api
from tests.service import newest_first, session

ORIGIN = "https://console.example.com"


@pytest.fixture(scope="module")
def bare() -> Iterator[Running]:
    """A local API without data, on ports that the system chose, open to one web console."""
    with local_api(PORT="0", DATA="", CORS_ORIGINS=f"https://other.example.com,{ORIGIN}") as api:
        yield api


def ask(running: Running, method: str, **headers: str) -> tuple[int, Message, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"{running.url}/v1/sessions", headers=named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_without_data_it_says_so_and_which_keys_there_will_be(bare: Running) -> None:
    text = "\n".join(bare.screen)
    assert "No sessions yet. An organization that gets one has the key evr_local_ and its hex digits." in text
    assert "curl" not in text


def test_port_zero_is_any_free_port_and_the_ready_line_names_it(bare: Running) -> None:
    found = re.fullmatch(r"ready: http://127\.0\.0\.1:([1-9][0-9]*)", bare.screen[-1])
    assert found is not None
    assert bare.screen.count(bare.screen[-1]) == 1
    with socket.create_connection(("127.0.0.1", int(found[1])), timeout=5):
        pass


def test_an_organization_that_is_written_later_can_be_listed(bare: Running) -> None:
    table: Any = client(bare)
    key, organization_id = "evr_local_" + "be" * 16, "org_" + "be" * 16
    entries = newest_first(
        session(number, organization_id=organization_id, agent_id="agent_" + f"{number % 2}" * 32)
        for number in range(30)
    )
    assert get(bare, key=key)[0] == 401

    items = [{"PutRequest": {"Item": item_of(entry)}} for entry in entries]
    for start in (0, 15):
        table.batch_write_item(RequestItems={"sessions": items[start : start + 15]})
    within_two_seconds(lambda: get(bare, key=key)[0] == 200 and get(bare, key=key)[2]["total"] == 30)
    assert get(bare, "/v1/sessions?offset=10&limit=10", key)[2]["data"] == entries[10:20]
    agent = f"agent_id=agent_{'1' * 32}"
    assert get(bare, f"/v1/sessions?limit=1&offset=14&{agent}", key)[2]["total"] == 15

    for entry in entries[:10]:
        table.delete_item(TableName="sessions", Key={"id": {"S": entry["id"]}})
    within_two_seconds(lambda: get(bare, "/v1/sessions?offset=19", key)[2]["total"] == 20)
    assert get(bare, "/v1/sessions?limit=100", key)[2]["data"] == entries[10:]
    assert get(bare, f"/v1/sessions?limit=1&offset=9&{agent}", key)[2]["total"] == 10


def test_a_preflight_needs_no_key(bare: Running) -> None:
    status, headers, body = ask(
        bare,
        "OPTIONS",
        Origin=ORIGIN,
        Access_Control_Request_Method="GET",
        Access_Control_Request_Headers="authorization",
    )
    assert (status, body) == (204, b"")
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "GET" in headers["Access-Control-Allow-Methods"]
    allowed = headers["Access-Control-Allow-Headers"].lower().split(",")
    assert {"authorization", "content-type", "x-org-id"} <= set(allowed)


def test_a_page_lets_an_allowed_origin_read_its_headers(bare: Running) -> None:
    table: Any = client(bare)
    table.put_item(TableName="sessions", Item=item_of(session(1, organization_id="org_" + "c0" * 16)))
    key = "evr_local_" + "c0" * 16
    within_two_seconds(lambda: ask(bare, "GET", Origin=ORIGIN, Authorization=key)[0] == 200)
    _, headers, _ = ask(bare, "GET", Origin=ORIGIN, Authorization=key)
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    assert headers["Link"]
    assert set(re.split(r", *", headers["Access-Control-Expose-Headers"])) == {"Link", "Retry-After", "X-Request-Id"}


def test_a_gateway_response_lets_an_allowed_origin_read_the_same_headers(bare: Running) -> None:
    status, headers, _ = ask(bare, "GET", Origin=ORIGIN)
    assert (status, headers["Access-Control-Allow-Origin"], headers["Vary"]) == (401, ORIGIN, "Origin")
    assert headers["Access-Control-Expose-Headers"] == "Link,Retry-After,X-Request-Id"


def test_another_origin_is_not_let_in(bare: Running) -> None:
    status, headers, _ = ask(bare, "OPTIONS", Origin="https://evil.example.com", Access_Control_Request_Method="GET")
    assert status in (204, 405)
    assert headers["Access-Control-Allow-Origin"] is None


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "kill"])
def test_it_ends_at_once_and_without_a_word(kind: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    port, dynamodb_port = free_port(), free_port()
    with local_api(PORT=str(port), DYNAMODB_PORT=str(dynamodb_port), DATA="") as running:
        assert running.screen[-1] == f"ready: http://127.0.0.1:{port}"
        assert get(running, key=None)[0] == 401
        running.process.send_signal(kind)
        assert running.process.wait(timeout=20) == 0
        assert running.process.stdout is not None
        assert running.process.stdout.read() == ""
    requests_only = re.sub(
        r"^\d\d:\d\d:\d\d 401 GET /v1/sessions \d+ ms$", "", capfd.readouterr().err, flags=re.MULTILINE
    )
    assert requests_only.strip() == ""
    for each in (port, dynamodb_port):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", each))


@pytest.mark.parametrize("seconds", [0.1, 1.0, 3.0], ids=["importing", "starting", "loading"])
def test_it_ends_within_a_second_while_it_starts(tmp_path: Path, seconds: float) -> None:
    path = tmp_path / "many.ndjson"
    path.write_text("".join(json.dumps(session(number)) + "\n" for number in range(20_000)))
    variables = {"PORT": "0", "DYNAMODB_PORT": "0", "DATA": str(path)}
    with subprocess.Popen(
        [sys.executable, "-m", "sessions_local"], cwd=ROOT, env=os.environ | variables, stdout=subprocess.PIPE
    ) as process:
        time.sleep(seconds)
        sent = time.monotonic()
        process.terminate()
        # While Python itself starts there is nobody to handle the signal.
        assert process.wait(timeout=10) in (0, -signal.SIGTERM)
        assert time.monotonic() - sent < 1


def test_a_broken_session_is_reported_as_one_line_for_people(capfd: pytest.CaptureFixture[str]) -> None:
    key, organization_id = "evr_local_" + "ba" * 16, "org_" + "ba" * 16
    item = item_of(session(1, organization_id=organization_id)) | {"status": {"S": "nonsense"}}
    with local_api(DATA="") as api:
        client(api).put_item(TableName="sessions", Item=item)
        within_two_seconds(lambda: get(api, key=key)[0] == 200)
        within_two_seconds(lambda: get(api, key=key)[2]["total"] == 1)
    lines = [line for line in capfd.readouterr().err.splitlines() if item["id"]["S"] in line]
    assert lines
    assert all(re.match(r"\d\d:\d\d:\d\d (WARNING|ERROR) list_sessions: ", line) for line in lines)


def test_an_open_address_is_warned_of(capfd: pytest.CaptureFixture[str]) -> None:
    with local_api(DATA="", HOST="0.0.0.0") as api:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", api.url)
        assert get(api, key=None)[0] == 401
    warning = capfd.readouterr().err
    assert "warning: listening on 0.0.0.0, not only on this machine." in warning
    assert "demo keys can be guessed" in warning


def test_without_moto_speedups_pages_and_totals_are_the_same() -> None:
    with local_api(DATA="", PLAIN_MOTO="1") as api:
        table: Any = client(api)
        key, organization_id = "evr_local_" + "af" * 16, "org_" + "af" * 16
        entries = newest_first(session(number, organization_id=organization_id) for number in range(5))
        for entry in entries:
            table.put_item(TableName="sessions", Item=item_of(entry))
        within_two_seconds(lambda: get(api, key=key)[0] == 200 and get(api, key=key)[2]["total"] == 5)
        assert get(api, "/v1/sessions?offset=1&limit=3", key)[2]["data"] == entries[1:4]


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """What is said, in the one line, when it cannot be started with these variables."""

    def start(**variables: str) -> str:
        for name in ("HOST", "PORT", "DYNAMODB_PORT", "DATA"):
            monkeypatch.delenv(name, raising=False)
        for name, value in ({"PORT": "0", "DYNAMODB_PORT": "0"} | variables).items():
            monkeypatch.setenv(name, value)
        assert server.main() == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        return printed.err.removeprefix("cannot start: ").rstrip("\n")

    return start


@pytest.mark.parametrize("name", ["PORT", "DYNAMODB_PORT"])
def test_a_busy_port_is_named_with_the_way_out(refusal: Any, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert refusal(**{name: port}) == f"port {port} is in use; choose another with {name}=..."


@pytest.mark.parametrize("host", ["nowhere.invalid", "203.0.113.7", "1.2.3"])
def test_a_host_that_is_not_of_this_machine_is_refused(refusal: Any, host: str) -> None:
    assert refusal(HOST=host).startswith(f"HOST is {host!r}, which is not an address")


@pytest.mark.parametrize("name", ["PORT", "DYNAMODB_PORT"])
@pytest.mark.parametrize("value", ["http", "-1", "65536", "80.0", "8_080", "٨٠", "1" * 5000])
def test_a_port_that_is_none_is_refused(refusal: Any, name: str, value: str) -> None:
    assert refusal(**{name: value}) == f"{name} is {value!r}; it must be a number from 0 to 65535."


def test_one_port_for_both_is_refused(refusal: Any) -> None:
    assert refusal(PORT="8190", DYNAMODB_PORT="8190") == "PORT and DYNAMODB_PORT are both 8190."


@pytest.mark.parametrize(
    ("name", "reason"), [("nowhere.ndjson", ": No such file or directory."), ("", " has no file that ends in ")]
)
def test_data_that_cannot_be_read_is_named(refusal: Any, tmp_path: Path, name: str, reason: str) -> None:
    path = str(tmp_path / name).rstrip("/")
    assert refusal(DATA=path).startswith(f"DATA: {path}{reason}")


@pytest.mark.parametrize("url", ["nonsense", "ftp://engine:8000", "http://[::1", "http://engine:port"])
def test_an_engine_at_no_address_is_refused(refusal: Any, url: str) -> None:
    assert refusal(AWS_ENDPOINT_URL_DYNAMODB=url) == (
        f"AWS_ENDPOINT_URL_DYNAMODB is {url!r}, not a URL such as http://127.0.0.1:8000."
    )


def test_aws_itself_is_no_engine_for_one_machine() -> None:
    with pytest.raises(CannotStart, match=r"is AWS itself"):
        Settings.read({"AWS_ENDPOINT_URL_DYNAMODB": "https://dynamodb.eu-west-1.amazonaws.com"})


def test_a_process_that_cannot_start_says_why_and_has_status_one(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AssertionError, match=r"ended before it was ready"), local_api(PORT="http"):
        pass
    assert capfd.readouterr().err == "cannot start: PORT is 'http'; it must be a number from 0 to 65535.\n"


def test_settings_that_are_not_given_or_empty_have_their_defaults() -> None:
    for environment in ({}, {"PORT": "", "DYNAMODB_PORT": " ", "AWS_ENDPOINT_URL_DYNAMODB": ""}):
        settings = Settings.read(environment)
        assert (settings.port, settings.dynamodb_port, settings.endpoint) == (8080, 8001, None)
    assert Settings.read({}).data is None
    assert Settings.read({"DATA": ""}).data == ""


def test_the_sample_is_the_same_every_time() -> None:
    assert list(sample.sessions()) == list(sample.sessions())


def test_the_sample_is_worth_paging_through() -> None:
    everything = list(sample.sessions())
    by_organization = Counter(entry["organization_id"] for entry in everything)
    assert len(by_organization) >= 3
    (largest, size), *_ = by_organization.most_common()
    assert size >= 400
    entries = [entry for entry in everything if entry["organization_id"] == largest]
    assert len({entry["agent_id"] for entry in entries}) >= 3
    assert len({entry["created_at"] for entry in entries}) < size
    assert {entry["status"] for entry in entries} == {"started", "active", "idle"}
    assert len({entry["id"] for entry in everything}) == len(everything)


def test_every_session_of_the_sample_is_one_of_the_contract() -> None:
    for entry in sample.sessions():
        assert read_session(entry, extra="forbid") == entry


def test_origins_are_separated_by_commas() -> None:
    assert Settings.read({"CORS_ORIGINS": " https://a.example ,https://b.example,"}).cors_origins == [
        "https://a.example",
        "https://b.example",
    ]
