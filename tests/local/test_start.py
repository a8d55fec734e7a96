"""`make run` as a process: how it starts, what keeps it from starting, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sessions_cli.items import item_of
from sessions_local import start
from sessions_local.settings import CannotStart, Settings
from tests.local.calls import call, client, get, put, total, within_two_seconds
from tests.running import ROOT, free_port, local_api
from tests.service import session

ORIGIN = "https://console.example.com"
KEY_OF_DATA = "evr_local_" + "a" * 32
NEW_ORGANIZATION, NEW_KEY = "org_" + "be" * 16, "evr_local_" + "be" * 16


def test_without_data_it_says_which_keys_there_will_be() -> None:
    with local_api(PORT="0", DATA="", CORS_ORIGINS=f"https://other.example.com,{ORIGIN}") as api:
        text = "\n".join(api.screen)
        assert "No sessions yet. An organization that gets one has the key evr_local_ and its hex digits." in text
        assert re.fullmatch(r"ready: http://127\.0\.0\.1:[1-9][0-9]*", api.screen[-1])
        put(api, session(1, organization_id=NEW_ORGANIZATION))
        within_two_seconds(lambda: total(api, NEW_KEY) == 1)

        url = f"{api.url}/v1/sessions"
        page = call(url, Origin=ORIGIN, Authorization=NEW_KEY).headers
        assert page["Access-Control-Allow-Origin"] == ORIGIN
        exposed = set(re.split(r", *", page["Access-Control-Expose-Headers"]))
        assert exposed == {"Link", "Retry-After", "X-Request-Id"}
        preflight = call(url, "OPTIONS", Origin=ORIGIN, Access_Control_Request_Method="GET")
        assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, ORIGIN)
        stranger = call(url, "OPTIONS", Origin="https://evil.example.com", Access_Control_Request_Method="GET")
        assert stranger.headers["Access-Control-Allow-Origin"] is None


@pytest.mark.parametrize("variables", [{}, {"AWS_ENDPOINT_URL_DYNAMODB_STREAMS": "http://127.0.0.1:9"}])
def test_another_engine_is_used(tmp_path: Path, variables: dict[str, str]) -> None:
    """With its stream, and where the stream cannot be read; it takes two processes, one after the other."""
    path = tmp_path / "data.ndjson"
    path.write_text("".join(json.dumps(session(number)) + "\n" for number in range(5)))
    with local_api(DATA="") as engine:
        put(engine, session(9, organization_id=NEW_ORGANIZATION))
        within_two_seconds(lambda: total(engine, NEW_KEY) == 1)
        shell = {"AWS_PROFILE": "nobody", "AWS_ENDPOINT_URL_DYNAMODB": engine.dynamodb_url} | variables
        with local_api(DATA=str(path), **shell) as api:
            assert [total(each, KEY_OF_DATA) for each in (api, engine)] == [5, 5]
            assert [total(each, NEW_KEY) for each in (api, engine)] == [1, 1]


def test_the_shell_does_not_lead_it_astray() -> None:
    proxy = "http://127.0.0.1:9"
    shell = {"HTTP_PROXY": proxy, "http_proxy": proxy, "HTTPS_PROXY": proxy, "ALL_PROXY": proxy}
    aws = {"AWS_PROFILE": "nobody", "AWS_ENDPOINT_URL": proxy, "AWS_CONFIG_FILE": "/nowhere", "AWS_REGION": "mars-1"}
    with local_api(HOST="::1", DATA="", **shell, **aws) as api:
        assert re.fullmatch(r"http://\[::1\]:\d+", api.url)
        assert get(api, key=None).status == 401


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "kill"])
def test_it_ends_at_once_and_without_a_word(kind: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    ports = free_port(), free_port()
    with local_api(PORT=str(ports[0]), DYNAMODB_PORT=str(ports[1]), DATA="") as running:
        assert get(running, key=None).status == 401
        running.process.send_signal(kind)
        assert running.process.wait(timeout=20) == 0
        assert running.process.stdout is not None
        assert running.process.stdout.read() == ""
    assert re.fullmatch(r"\d\d:\d\d:\d\d 401 GET /v1/sessions \d+ ms\n", capfd.readouterr().err)
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))


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


def test_a_broken_session_is_one_line_for_people(capfd: pytest.CaptureFixture[str]) -> None:
    item = item_of(session(1, organization_id=NEW_ORGANIZATION)) | {"status": {"S": "nonsense"}}
    with local_api(DATA="", HOST="0.0.0.0") as api:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", api.url)
        client(api).put_item(TableName="sessions", Item=item)
        within_two_seconds(lambda: total(api, NEW_KEY) == 1)
    error = capfd.readouterr().err
    lines = [line for line in error.splitlines() if item["id"]["S"] in line]
    assert lines
    assert all(re.match(r"\d\d:\d\d:\d\d (WARNING|ERROR) list_sessions: ", line) for line in lines)
    assert "warning: listening on 0.0.0.0, not only on this machine." in error
    assert "demo keys can be guessed" in error


Refusal = Callable[..., str]


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Returns the one line with which it refuses to start with these variables."""

    def main(**variables: str) -> str:
        for name, value in ({"PORT": "0", "DYNAMODB_PORT": "0"} | variables).items():
            monkeypatch.setenv(name, value)
        assert start.main() == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        return printed.err.removeprefix("cannot start: ").rstrip("\n")

    return main


@pytest.mark.parametrize("name", ["PORT", "DYNAMODB_PORT"])
def test_a_busy_port_is_named_with_the_way_out(refusal: Refusal, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert refusal(**{name: port}) == f"port {port} is in use; choose another with {name}=..."


@pytest.mark.parametrize("host", ["nowhere.invalid", "203.0.113.7", "1.2.3"])
def test_a_host_that_is_not_of_this_machine_is_refused(refusal: Refusal, host: str) -> None:
    assert refusal(HOST=host).startswith(f"HOST is {host!r}, which is not an address")


@pytest.mark.parametrize(
    ("name", "reason"), [("nowhere.ndjson", ": No such file or directory."), ("", " has no file that ends in ")]
)
def test_data_that_cannot_be_read_is_named(refusal: Refusal, tmp_path: Path, name: str, reason: str) -> None:
    path = str(tmp_path / name).rstrip("/")
    assert refusal(DATA=path).startswith(f"DATA: {path}{reason}")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        *(({"PORT": value}, f"PORT is {value!r}; it must be a number from 0 to 65535.") for value in
          ("http", "-1", "65536", "80.0", "8_080", "٨٠", "1" * 5000)),
        ({"DYNAMODB_PORT": "x"}, "DYNAMODB_PORT is 'x'; it must be a number from 0 to 65535."),
        ({"PORT": "8190", "DYNAMODB_PORT": "8190"}, "PORT and DYNAMODB_PORT are both 8190."),
        *(({"AWS_ENDPOINT_URL_DYNAMODB": url},
           f"AWS_ENDPOINT_URL_DYNAMODB is {url!r}, not a URL such as http://127.0.0.1:8000.")
          for url in ("nonsense", "ftp://engine:8000", "http://[::1", "http://engine:port")),
        ({"AWS_ENDPOINT_URL_DYNAMODB": "https://dynamodb.x-y-1.amazonaws.com"},
         "AWS_ENDPOINT_URL_DYNAMODB is AWS itself (https://dynamodb.x-y-1.amazonaws.com); this is for one machine."),
    ],
)  # fmt: skip
def test_a_setting_that_is_not_valid_is_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(CannotStart) as refusal:
        Settings.read(variables)
    assert str(refusal.value) == message


def test_settings_that_are_empty_have_their_defaults() -> None:
    for environment in ({}, {"PORT": "", "DYNAMODB_PORT": " ", "AWS_ENDPOINT_URL_DYNAMODB": ""}):
        settings = Settings.read(environment)
        assert (settings.port, settings.dynamodb_port, settings.endpoint) == (8080, 8001, None)
    assert Settings.read({"DATA": ""}).data == ""


def test_an_origin_that_the_template_refuses_is_refused(refusal: Refusal) -> None:
    said = refusal(CORS_ORIGINS="https://a.example/")
    assert said.startswith("CORS_ORIGINS must be origins as browsers send them, such as https://console.example.com, ")


def test_a_process_that_cannot_start_has_status_one(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AssertionError, match=r"before it was ready"), local_api(PORT="http"):
        pass
    assert capfd.readouterr().err == "cannot start: PORT is 'http'; it must be a number from 0 to 65535.\n"
