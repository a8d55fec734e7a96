"""`sessions smoke`: the local API passes, and each check fails on a response that breaks what it checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
import requests

from sessions_cli import smoke
from sessions_cli.smoke import CHECKS
from tests.cli.command import sessions
from tests.running import Running, free_port

KEY = "evr_local_00000000000000000000000000000001"
PAGE = "first page: form, order, defaults, headers"

Fault = Callable[[requests.Response], None]


def error(status: int, code: str) -> Fault:
    """Return a fault that makes every response this error."""

    def fault(response: requests.Response) -> None:
        response.status_code = status
        response._content = json.dumps({"error": {"code": code, "message": "No."}}).encode()

    return fault


def header(name: str, value: str | None) -> Fault:
    def fault(response: requests.Response) -> None:
        response.headers.pop(name, None)
        response.headers.update({name: value} if value else {})

    return fault


def page(change: Callable[[dict[str, Any]], object]) -> Fault:
    """Return a fault that changes every page."""

    def fault(response: requests.Response) -> None:
        if response.status_code == 200:
            body = response.json()
            change(body)
            response._content = json.dumps(body).encode()

    return fault


def where(text: str, fault: Fault) -> Fault:
    """Return the fault for requests with this text in their URL or key alone."""

    def chosen(response: requests.Response) -> None:
        if text in f"{response.url} {response.request.headers.get('Authorization', '')}":
            fault(response)

    return chosen


def allowed(response: requests.Response) -> None:
    """Answer everything with an empty page."""
    response.status_code = 200
    response._content = json.dumps({"data": [], "total": 0, "offset": 0, "limit": 20}).encode()


@pytest.fixture
def api(running: Running, monkeypatch: pytest.MonkeyPatch) -> Callable[[Fault], str]:
    """Changes every response of the local API on its way to the command."""

    def begin(fault: Fault) -> str:
        def get(_session: requests.Session, *arguments: Any, **options: Any) -> requests.Response:
            response = request(_session, *arguments, **options)
            fault(response)
            return response

        request = requests.Session.request
        monkeypatch.setattr(requests.Session, "request", get)
        return running.url

    return begin


def test_the_local_api_passes_every_check_with_its_demo_key(running: Running) -> None:
    ran = sessions("smoke", running.url)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [*(f"✓ {name}" for name in CHECKS), f"all {len(CHECKS)} checks passed"]


@pytest.mark.parametrize("form", ["{}/", "{}/v1/sessions", "{}/v1/sessions/"])
def test_the_url_may_have_the_path_and_a_slash(running: Running, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke, "CHECKS", {PAGE: CHECKS[PAGE]})
    assert sessions("smoke", form.format(running.url)).stdout == f"✓ {PAGE}\nall 1 checks passed\n"


def test_without_sessions_some_checks_are_not_judged(api: Callable[[Fault], str]) -> None:
    def empty(response: requests.Response) -> None:
        page(lambda body: body.update(data=[], total=0))(response)
        header("Link", None)(response)

    ran = sessions("smoke", api(empty))
    assert ran.exit_code == 0
    assert [line for line in ran.stdout.splitlines() if line.endswith(": no sessions")] == [
        "✓ rel=last and rel=prev lead back from the end: no sessions",
        "✓ only one agent's sessions: no sessions",
    ]


FAULTS: list[tuple[str, Fault]] = [
    (PAGE, error(500, "internal_error")),
    (PAGE, page(lambda body: body.update(next=None))),
    (PAGE, page(lambda body: body.update(total="480"))),
    (PAGE, page(lambda body: body["data"].pop())),
    (PAGE, page(lambda body: body["data"].reverse())),
    (PAGE, page(lambda body: body["data"].__setitem__(1, body["data"][0]))),
    (PAGE, page(lambda body: body["data"][0].pop("title"))),
    (PAGE, page(lambda body: body["data"][0].update(created_at_id="x"))),
    (PAGE, page(lambda body: body["data"][0].update(status="running"))),
    (PAGE, page(lambda body: body["data"][3].update(organization_id="org_2"))),
    (PAGE, header("Content-Type", "text/html")),
    (PAGE, header("Cache-Control", "max-age=60")),
    (PAGE, header("X-Request-Id", None)),
    ("empty and null mean not given", error(400, "invalid_parameter")),
    ("limit 1", page(lambda body: body.update(limit=20))),
    ("limit 100", page(lambda body: body["data"].__delitem__(slice(50, None)))),
    ("rel=next repeats nothing", header("Link", None)),
    ("rel=next repeats nothing", page(lambda body: body.update(total=480 - body["offset"]))),
    ("rel=last and rel=prev lead back from the end", header("Link", '<?offset=9&limit=7>; rel="last"')),
    ("past the end: no sessions, true total", where("2147483647", error(404, "not_found"))),
    ("past the end: no sessions, true total", where("2147483647", page(lambda body: body.update(total=0)))),
    ("only one agent's sessions", where("agent_id", page(lambda body: body.update(total=10**6)))),
    ("only one agent's sessions", where("agent_id", page(lambda body: body["data"][1].update(agent_id="agent_1")))),
    ("an unknown agent has no sessions", error(404, "not_found")),
    ("400 for an invalid value", error(400, "bad_request")),
    *(
        ("400 for an invalid value", where(query, allowed))
        for query in ("limit=0", "limit=101", "limit=1.0", "offset=-1", "offset=2147483648", "offset=1&", "agent_XYZ")
    ),
    ("400 for a parameter that does not exist", error(400, "invalid_parameter")),
    ("401 without a key", allowed),
    ("401 without a key", error(403, "forbidden")),
    ("401 with a bad key", where("nonsense", error(403, "forbidden"))),
    ("401 before 400", error(400, "invalid_parameter")),
    ("Bearer and ApiKey schemes", where("apikey", error(401, "unauthorized"))),
    ("403 for another organization", allowed),
    ("404 for another path", error(403, "forbidden")),
    ("405 for another method", header("Allow", None)),
    ("405 for another method", error(404, "not_found")),
]
"""Faults, each with the check that sees it."""


@pytest.mark.parametrize(("check", "fault"), FAULTS, ids=[name for name, _ in FAULTS])
def test_a_check_fails_on_a_broken_response(
    api: Callable[[Fault], str], monkeypatch: pytest.MonkeyPatch, check: str, fault: Fault
) -> None:
    monkeypatch.setattr(smoke, "CHECKS", {check: CHECKS[check]})
    ran = sessions("smoke", api(fault))
    assert (ran.exit_code, ran.stderr) == (1, "Error: 1 of 1 checks failed.\n")
    assert ran.stdout.startswith(f"✗ {check}: ")
    assert ran.stdout.count("\n") == 1


def test_a_list_that_changes_is_no_fault(api: Callable[[Fault], str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(1000))
    check = "rel=next repeats nothing"
    monkeypatch.setattr(smoke, "CHECKS", {check: CHECKS[check]})
    ran = sessions("smoke", api(page(lambda body: body.update(total=body["total"] + next(calls)))))
    assert ran.stdout.splitlines()[0] == f"✓ {check}: not judged: the list changes while it is read"
    assert ran.exit_code == 0


def test_a_busy_service_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = iter([429, 503, 401])

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(next(statuses))
            self.send_header("Retry-After", "0")
            self.end_headers()

    check = "401 without a key"
    monkeypatch.setattr(smoke, "CHECKS", {check: CHECKS[check]})
    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        ran = sessions("smoke", f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
    assert ran.stdout == f"✗ {check}: GET /v1/sessions: content type ''\n"


def test_certificates_are_those_of_aws_ca_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = sessions("smoke", "https://127.0.0.1:1", AWS_CA_BUNDLE="nowhere.pem")
    assert ran.stderr.startswith("Error: No response from https://127.0.0.1:1/v1/sessions: ")
    assert "nowhere.pem" in ran.stderr


def test_a_key_that_is_not_known_fails_the_checks_that_need_one(running: Running) -> None:
    ran = sessions("smoke", running.url, SESSIONS_API_KEY="evr_" + "x" * 43)
    assert ran.exit_code == 1
    assert ran.stdout.startswith(f"✗ {PAGE}: GET /v1/sessions: status 401 and not 200: ")
    assert "✓ 401 without a key\n" in ran.stdout
    assert "x" * 43 not in ran.output


def test_an_address_that_is_not_the_api_is_one_line(running: Running) -> None:
    silent = f"http://127.0.0.1:{free_port()}"
    for url, start, end in (
        (running.dynamodb_url, f"{running.dynamodb_url} is DynamoDB; ", "8080 unless changed.\n"),
        (silent, f"No response from {silent}/v1/sessions: ", "Connection refused\n"),
    ):
        ran = sessions("smoke", url)
        assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
        assert ran.stderr.startswith(f"Error: {start}")
        assert ran.stderr.endswith(end)


DEPLOYED = "https://api.example.com/live"
NO_KEY = "--key is not a valid API key (evr_ and 16 to 128 letters, digits, - or _)."
URLS = (
    "api.example.com",
    "ftp://api.example.com",
    "http://",
    "http://[::1",
    "http://a:b",
    "http://a/?b=c",
    "http://a/#b",
)


@pytest.mark.parametrize(
    ("url", "key", "said"),
    [
        (DEPLOYED, "", "No API key: use --key or set SESSIONS_API_KEY."),
        *((DEPLOYED, key, NO_KEY) for key in ("nonsense", "evr_short", KEY + "\n", KEY + " x", "Basic " + KEY)),
        *((url, KEY, f"Invalid value for URL: {url!r} is not a URL such as {DEPLOYED}.") for url in URLS),
    ],
)
def test_an_invalid_key_or_url_is_refused_and_the_key_not_shown(url: str, key: str, said: str) -> None:
    ran = sessions("smoke", url, SESSIONS_API_KEY=key)
    assert (ran.exit_code, ran.stdout, ran.stderr.splitlines()[-1]) == (2, "", f"Error: {said}")
