"""`sessions smoke`: a service that is as it should be passes, and every check sees what it is there to see."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
import urllib3

from sessions_cli import smoke
from sessions_cli.smoke import CHECKS
from tests.cli.command import sessions
from tests.running import Running, free_port

KEY = "evr_local_00000000000000000000000000000001"
PAGE = "first page: form, order, defaults, headers"


class Call(NamedTuple):
    """A request to the service, and its response."""

    method: str
    path: str
    query: dict[str, list[str]]
    key: str
    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    def with_response(self, *, status: int | None = None, body: Any = None, **headers: str | None) -> Call:
        """Another response; a header that is None is left out."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        changed = {name: value for name, value in (self.headers | named).items() if value is not None}
        text = self.text if body is None else json.dumps(body)
        return self._replace(status=status or self.status, headers=changed, text=text)

    def error(self, status: int, code: str) -> Call:
        return self.with_response(status=status, body={"error": {"code": code, "message": "No."}})

    def page(self, change: Callable[[dict[str, Any]], Any]) -> Call:
        """The page with a change, if it is one."""
        if self.status != 200:
            return self
        body = self.body
        change(body)
        return self.with_response(body=body)

    def entries(self, change: Callable[[list[dict[str, Any]]], Any]) -> Call:
        return self.page(lambda body: change(body["data"]))

    def links(self, pattern: str, replacement: str = "") -> Call:
        """The page with other links, or all other links than those that the pattern matches."""
        return self.with_response(Link=re.sub(pattern, replacement, self.headers.get("Link", "")).strip(", ") or None)


Fault = Callable[[Call], Call]


class Gone(Exception):
    """The connection is closed without a response."""


@pytest.fixture
def between(running: Running) -> Iterator[Callable[[Fault], str]]:
    """Puts a service that misbehaves in one way between the command and the local API; returns its URL."""
    servers = []
    pool = urllib3.PoolManager(retries=False)

    def begin(fault: Fault) -> str:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return self.respond
                raise AttributeError(name)

            def respond(self) -> None:
                response = pool.request(
                    self.command, running.url + self.path, headers=dict(self.headers), redirect=False
                )
                parts = urlsplit(self.path)
                call = Call(
                    self.command,
                    parts.path,
                    parse_qs(parts.query, keep_blank_values=True),
                    self.headers.get("Authorization", ""),
                    response.status,
                    {name: value for name, value in response.headers.items() if name not in ("Date", "Content-Length")},
                    response.data.decode(),
                )
                changed = fault(call)
                self.send_response_only(changed.status)
                for name, value in changed.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(changed.text.encode())))
                self.end_headers()
                self.wfile.write(changed.text.encode())

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_local_api_passes_every_check_with_its_demo_key(running: Running) -> None:
    ran = sessions("smoke", running.url)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [*(f"✓ {name}" for name in CHECKS), f"all {len(CHECKS)} checks passed"]


@pytest.mark.parametrize("form", ["{}/", "{}/v1/sessions", "{}/v1/sessions/"])
def test_the_url_may_have_the_path_and_a_slash(running: Running, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke, "CHECKS", {PAGE: CHECKS[PAGE]})
    assert sessions("smoke", form.format(running.url)).stdout == f"✓ {PAGE}\nall 1 checks passed\n"


def test_an_organization_with_few_sessions_passes_too(running: Running) -> None:
    ran = sessions("smoke", running.url, "--key", KEY[:-1] + "4")
    assert (ran.exit_code, ran.stderr) == (0, "")


def test_where_there_are_no_sessions_some_checks_say_that_they_did_not_judge(
    between: Callable[[Fault], str],
) -> None:
    def empty(call: Call) -> Call:
        return call.page(lambda body: body.update(data=[], total=0)).with_response(Link=None)

    ran = sessions("smoke", between(empty))
    assert ran.exit_code == 0
    assert [line for line in ran.stdout.splitlines() if line.endswith(": no sessions")] == [
        "✓ rel=last and rel=prev lead back from the end: no sessions",
        "✓ only one agent's sessions: no sessions",
    ]


def test_a_busy_service_is_asked_again(between: Callable[[Fault], str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(1000))

    def busy(call: Call) -> Call:
        return call if next(calls) % 2 else call.with_response(status=429, Retry_After="0")

    monkeypatch.setattr(smoke, "CHECKS", {PAGE: CHECKS[PAGE]})
    assert sessions("smoke", between(busy)).exit_code == 0


def wrong_key_is_told_from_the_others(call: Call) -> Call:
    return call.error(403, "forbidden") if call.key == "nonsense" else call


def for_parameter(name: str, value: str, fault: Fault) -> Fault:
    return lambda call: fault(call) if value in call.query.get(name, []) else call


def ok(call: Call) -> Call:
    """A refusal becomes an empty page."""
    if call.status == 200:
        return call
    return call.with_response(status=200, body={"data": [], "total": 0, "offset": 0, "limit": 20})


def with_an_entry(call: Call) -> Call:
    fields = {"id": "session_1", "organization_id": "org_1", "agent_id": "agent_1", "status": "idle"}
    times = dict.fromkeys(("created_at", "updated_at"), "2026-11-23T16:41:46.463925Z")
    rest = dict.fromkeys(("started_at", "finished_at", "title", "preview", "output_preview", "model_id", "usage"))
    return call.entries(lambda data: data.append(fields | times | rest | {"tags": [], "capabilities": []}))


FAULTS: dict[str, list[tuple[str, Fault]]] = {
    PAGE: [
        ("always 500", lambda call: call.error(500, "internal_error")),
        ("not JSON", lambda call: call._replace(text="<html>")),
        ("a list alone", lambda call: call.with_response(body=[])),
        ("a field more", lambda call: call.page(lambda body: body.update(next=None))),
        ("no total", lambda call: call.page(lambda body: body.pop("total"))),
        ("a total as text", lambda call: call.page(lambda body: body.update(total="480"))),
        ("offset 1", lambda call: call.page(lambda body: body.update(offset=1))),
        ("an entry too few", lambda call: call.entries(lambda data: data.pop())),
        ("oldest first", lambda call: call.entries(lambda data: data.reverse())),
        ("an entry twice", lambda call: call.entries(lambda data: data.__setitem__(1, data[0]))),
        ("a field is missing", lambda call: call.entries(lambda data: data[0].pop("title"))),
        ("a field of ours", lambda call: call.entries(lambda data: data[0].update(created_at_id="x"))),
        ("a status of its own", lambda call: call.entries(lambda data: data[0].update(status="running"))),
        ("a time of another form", lambda call: call.entries(lambda data: data[0].update(updated_at="yesterday"))),
        ("another organization", lambda call: call.entries(lambda data: data[3].update(organization_id="org_2"))),
        ("text/html", lambda call: call.with_response(Content_Type="text/html")),
        ("cached", lambda call: call.with_response(Cache_Control="max-age=60")),
        ("no request id", lambda call: call.with_response(X_Request_Id=None)),
    ],
    "empty and null mean not given": [
        ("refused", lambda call: call.error(400, "invalid_parameter")),
        ("limit 0", lambda call: call.page(lambda body: body.update(limit=0))),
    ],
    "limits from 1 to 100": [
        ("no limit", lambda call: call.page(lambda body: body.update(limit=20))),
        (
            "at most 50",
            for_parameter("limit", "100", lambda call: call.entries(lambda data: data.__delitem__(slice(50, None)))),
        ),
    ],
    "rel=next repeats nothing": [
        ("no links", lambda call: call.links(".+")),
        ("a total of what is left", lambda call: call.page(lambda body: body.update(total=480 - body["offset"]))),
        ("no rel=next", lambda call: call.links('<[^>]*>; rel="next",?')),
        (
            "rel=next to the same page",
            lambda call: call.links(r'<\?offset=\d+(&limit=7>; rel="next")', r"<?offset=0\1"),
        ),
        (
            "always the first entries",
            lambda call: call.page(lambda body: body.update(data=FIRST.setdefault("data", body["data"]))),
        ),
    ],
    "rel=last and rel=prev lead back from the end": [
        ("no rel=last", lambda call: call.links('<[^>]*>; rel="last"')),
        ("rel=last not at the end", lambda call: call.links(r'offset=\d+(&limit=7>; rel="last")', r"offset=7\1")),
        ("no rel=prev", lambda call: call.links('<[^>]*>; rel="prev",?')),
        (
            "another total at the end",
            for_parameter("offset", "476", lambda call: call.page(lambda body: body.update(total=479))),
        ),
        ("rel=next at the end", lambda call: call.links("^", '<?offset=9&limit=7>; rel="next", ')),
    ],
    "past the end: no entries, true total": [
        ("a 404", for_parameter("offset", "2147483647", lambda call: call.error(404, "not_found"))),
        ("total 0", for_parameter("offset", "2147483647", lambda call: call.page(lambda body: body.update(total=0)))),
        ("the last entries", for_parameter("offset", "2147483647", with_an_entry)),
    ],
    "only one agent's sessions": [
        ("no entry", lambda call: call.page(lambda body: "agent_id" in call.query and body.update(data=[]))),
        (
            "a total of more than all",
            lambda call: call.page(lambda body: "agent_id" in call.query and body.update(total=481)),
        ),
        ("no filter", lambda call: call.entries(lambda data: len(data) > 1 and data[1].update(agent_id="agent_1"))),
    ],
    "an unknown agent has no sessions": [
        ("a 404", lambda call: call.error(404, "not_found")),
        ("a total", lambda call: call.page(lambda body: body.update(total=1))),
    ],
    "400 for an invalid value": [
        (f"takes {name}={value}", for_parameter(name, value, ok))
        for name, value in (
            ("limit", "0"),
            ("limit", "101"),
            ("limit", "1.0"),
            ("offset", "-1"),
            ("offset", "2147483648"),
            ("offset", "1"),
            ("agent_id", "agent_XYZ"),
        )
    ]
    + [
        ("422", lambda call: call.error(422, "invalid_parameter")),
        ("another code", lambda call: call.error(400, "bad_request")),
        ("another form", lambda call: call.with_response(body={"message": "Bad Request"})),
        (
            "more fields",
            lambda call: call.with_response(body={"error": {"code": "invalid_parameter", "message": "", "a": 1}}),
        ),
    ],
    "400 for a parameter that does not exist": [
        ("ignores it", ok),
        ("does not list them", lambda call: call.error(400, "invalid_parameter")),
    ],
    "401 without a key": [
        ("lets everybody in", ok),
        ("403", lambda call: call.error(403, "forbidden")),
        ("the gateway's own form", lambda call: call.with_response(body={"message": "Unauthorized"})),
    ],
    "401 with a bad key": [
        ("lets everybody in", ok),
        ("403 for one of them", wrong_key_is_told_from_the_others),
        ("503", lambda call: call.error(500, "internal_error")),
    ],
    "401 before 400": [("400 first", lambda call: call.error(400, "invalid_parameter"))],
    "Bearer and ApiKey schemes": [
        ("bare keys alone", lambda call: call.error(401, "unauthorized") if " " in call.key else call),
        ("no ApiKey", lambda call: call.error(401, "unauthorized") if call.key.startswith("apikey") else call),
    ],
    "403 for another organization": [
        ("ignores the header", ok),
        ("401", lambda call: call.error(401, "unauthorized")),
    ],
    "404 for another path": [
        ("a 403", lambda call: call.error(403, "forbidden")),
        ("asks for a key", lambda call: call if call.key else call.error(401, "unauthorized")),
        ("HTML", lambda call: call._replace(text="<html>Not Found</html>")),
    ],
    "405 for another method": [
        ("404", lambda call: call.error(404, "not_found")),
        ("no Allow", lambda call: call.with_response(Allow=None)),
        ("Allow of another", lambda call: call.with_response(Allow="GET, POST")),
        ("DELETE works", lambda call: ok(call) if call.method == "DELETE" else call),
    ],
}
"""Ways in which a service can misbehave, by the check that sees it."""

FIRST: dict[str, Any] = {}
"""What the service that always returns the same entries returned first."""


def test_every_check_is_tried_with_a_service_that_misbehaves() -> None:
    assert FAULTS.keys() == CHECKS.keys()


@pytest.mark.parametrize(
    ("check", "fault"),
    [pytest.param(check, fault, id=f"{check}: {name}") for check, faults in FAULTS.items() for name, fault in faults],
)
def test_a_check_fails_where_the_service_misbehaves(
    between: Callable[[Fault], str], check: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    FIRST.clear()
    monkeypatch.setattr(smoke, "CHECKS", {check: CHECKS[check]})
    ran = sessions("smoke", between(fault))
    assert ran.exit_code == 1
    assert ran.stdout.startswith(f"✗ {check}: ")
    assert ran.stdout.count("\n") == 1
    assert ran.stderr == "Error: 1 of 1 checks failed.\n"


def test_one_failure_among_many_checks_fails_the_command(between: Callable[[Fault], str]) -> None:
    def no_allow(call: Call) -> Call:
        return call.with_response(Allow=None)

    ran = sessions("smoke", between(no_allow))
    assert (ran.exit_code, ran.stderr) == (1, f"Error: 1 of {len(CHECKS)} checks failed.\n")
    assert [line for line in ran.stdout.splitlines() if not line.startswith("✓ ")] == [
        "✗ 405 for another method: POST /v1/sessions: no Allow: GET"
    ]


def test_a_list_that_moves_is_not_taken_for_a_fault(
    between: Callable[[Fault], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(1000))

    def growing(call: Call) -> Call:
        return call.page(lambda body: body.update(total=body["total"] + next(calls)))

    check = "rel=next repeats nothing"
    monkeypatch.setattr(smoke, "CHECKS", {check: CHECKS[check]})
    ran = sessions("smoke", between(growing))
    assert (ran.exit_code, ran.stdout.splitlines()[0]) == (
        0,
        f"✓ {check}: not judged: the list changes while it is read",
    )


def test_the_port_of_dynamodb_is_told_from_the_api(running: Running) -> None:
    ran = sessions("smoke", running.dynamodb_url)
    assert (ran.exit_code, ran.stdout, ran.stderr) == (
        1,
        "",
        f"Error: {running.dynamodb_url} is DynamoDB; `make run` has the API on PORT, 8080 unless changed.\n",
    )


def test_an_address_without_a_server_is_one_line() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    ran = sessions("smoke", url)
    assert (ran.exit_code, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)
    assert ran.stderr.startswith(f"Error: No response from {url}/v1/sessions: ")
    assert ran.stderr.endswith("Connection refused\n")


def test_a_key_that_is_not_known_fails_the_checks_that_need_one(running: Running) -> None:
    ran = sessions("smoke", running.url, SESSIONS_API_KEY="evr_" + "x" * 43)
    assert ran.exit_code == 1
    assert ran.stdout.startswith(f"✗ {PAGE}: GET /v1/sessions: status 401 and not 200: ")
    assert "✓ 401 without a key\n" in ran.stdout
    assert "x" * 43 not in ran.output


def usage_error(*arguments: str, **environment: str) -> str:
    ran = sessions("smoke", *arguments, **environment)
    assert (ran.exit_code, ran.stdout) == (2, "")
    return ran.stderr.splitlines()[-1]


def test_a_deployment_needs_a_key() -> None:
    assert usage_error("https://api.example.com/live") == "Error: No API key: use --key or set SESSIONS_API_KEY."


@pytest.mark.parametrize("key", ["nonsense", "evr_short", KEY + "\n", KEY + " x", "Basic " + KEY])
def test_what_is_no_key_is_refused_and_not_shown(key: str) -> None:
    said = usage_error("https://api.example.com/live", SESSIONS_API_KEY=key)
    assert said == "Error: --key is not a valid API key (evr_ and 16 to 128 letters, digits, - or _)."


@pytest.mark.parametrize(
    "url",
    [
        "api.example.com",
        "ftp://api.example.com",
        "http://",
        "http://[::1",
        "http://a:b",
        "http://a/?b=c",
        "http://a/#b",
    ],
)
def test_what_is_not_a_url_is_refused(url: str) -> None:
    said = usage_error(url)
    assert said == f"Error: Invalid value for URL: {url!r} is not a URL such as https://api.example.com/live."
