"""Smoke test of a deployment: checks with a URL and a key alone that it responds as the contract says.

Writes nothing, and works with no session or with millions, beside live traffic: a check that needs an unchanged list
says so when the list changes.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlencode

import click
import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from sessions.contract import INT32_MAX, LIMIT_DEFAULT, LIMIT_MAX, PARAMETERS, Page, Session, read_session
from sessions.responses import PATH

TIMEOUTS: Final = (5.0, 30.0)
"""Seconds for a connection and for a response; API Gateway gives up after 29."""

RETRIES: Final = Retry(
    total=4,
    connect=0,
    read=0,
    status_forcelist=(429, 503),
    allowed_methods=None,
    backoff_factor=0.5,
    retry_after_max=10,
    raise_on_status=False,
)
"""Retries of a request that is throttled or finds the service busy, each after at most 10 seconds."""

UNCHANGED_TRIES: Final = 3
"""Tries of a check that needs an unchanged list."""

PAGES: Final = 5
"""Pages that are followed from the first and from the last one."""

NO_SESSIONS: Final = "no sessions"

UNKNOWN_AGENT: Final = "agent_" + "f" * 32
UNKNOWN_PARAMETER: Final = f"agentid={UNKNOWN_AGENT}"


class ContractBroken(Exception):
    """A response is not what the contract says."""


class Result(NamedTuple):
    """The result of one check."""

    name: str
    passed: bool
    remark: str
    """What is wrong, or why the check could not be judged."""


class Reply:
    """The response to a request."""

    def __init__(self, request: str, response: requests.Response) -> None:
        self.request = request
        self.status = response.status_code
        self.headers = response.headers
        self.links = {name: dict(parse_qsl(link["url"].removeprefix("?"))) for name, link in response.links.items()}
        try:
            self.body = response.json()
        except ValueError:
            self.body = None

    def expect(self, condition: bool, message: str) -> None:
        """Raise ContractBroken unless the condition holds."""
        if not condition:
            raise ContractBroken(f"{self.request}: {message}")

    def page(self) -> dict[str, Any]:
        """Return the body of a successful response, after checking its form, fields and order."""
        self._expect(200)
        body = self.body
        self.expect(isinstance(body, dict) and body.keys() == Page.__annotations__.keys(), "other fields of the page")
        for session in body["data"]:
            missing = Session.__annotations__.keys() - session.keys()
            self.expect(not missing, f"{session.get('id')} has no {', '.join(sorted(missing))}")
            read_session(session, extra="forbid")
        keys = _keys(body)
        self.expect(keys == sorted(set(keys), reverse=True), "sessions are not newest first, or one is there twice")
        return dict(body)

    def error(self, status: int, code: str) -> str:
        """Return the message of an error response, after checking its form."""
        self._expect(status)
        match self.body:
            case {"error": {"code": str(found), "message": str(message), **more}, **others} if not more and not others:
                self.expect(found == code, f"code {found} and not {code}")
                return message
        raise ContractBroken(f"{self.request}: not an error of the contract: {self.body}")

    def _expect(self, status: int) -> None:
        self.expect(self.status == status, f"status {self.status} and not {status}: {self.body}")
        kind = self.headers.get("Content-Type", "")
        self.expect(kind.split(";")[0] == "application/json", f"content type {kind!r}")
        self.expect(self.headers.get("Cache-Control") == "no-store", "no Cache-Control: no-store")
        self.expect("X-Request-Id" in self.headers, "no X-Request-Id")


class Api:
    """The endpoint under test.

    Args:
        url: the URL of the API, with or without `/v1/sessions`.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/").removesuffix(PATH)
        self.key = key
        self._session = requests.Session()
        self._session.auth = lambda request: request  # or requests would take a key from ~/.netrc
        self._ca_bundle = os.environ.get("AWS_CA_BUNDLE")  # without it, requests reads REQUESTS_CA_BUNDLE
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=RETRIES))

    def get(self, **query: Any) -> Reply:
        """Return the response to a request with the key."""
        return self.send(urlencode(query), Authorization=self.key)

    def send(self, query: str = "", *, method: str = "GET", path: str = PATH, **headers: str) -> Reply:
        target = f"{path}?{query}" if query else path
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        options: dict[str, Any] = {"timeout": TIMEOUTS, "allow_redirects": False, "verify": self._ca_bundle}
        try:
            response = self._session.request(method, self._url + target, headers=named, **options)
        except OSError as error:  # RequestException, or a bundle that cannot be read
            cause = error.args[0] if error.args else error
            reason = " ".join(str(getattr(cause, "reason", cause)).split())
            raise click.ClickException(f"No response from {self._url}{path}: {reason}") from None
        if response.text.startswith("healthy: dynamodb"):  # DynamoDB's response to any GET
            raise click.ClickException(f"{self._url} is DynamoDB; `make run` has the API on PORT, 8080 unless changed.")
        return Reply(f"{method} {target}", response)


Check = Callable[[Api], str | None]
"""Raises ContractBroken, or returns why it could not judge, if it could not."""


def smoke(url: str, key: str) -> Iterator[Result]:
    """Run one check after another."""
    api = Api(url, key)
    for name, check in CHECKS.items():
        try:
            yield Result(name, True, check(api) or "")
        except ContractBroken as fault:
            yield Result(name, False, str(fault))
        except (ValueError, KeyError, TypeError, AttributeError) as fault:  # a response of another shape
            yield Result(name, False, " ".join(f"{type(fault).__name__}: {fault}".split()))


def _while_unchanged(check: Check) -> Check:
    """Return a check that fails only if the total is the same before and after it."""

    def checked(api: Api) -> str | None:
        for _ in range(UNCHANGED_TRIES):
            before = api.get(limit=1).page()["total"]
            try:
                return check(api)
            except ContractBroken:
                if api.get(limit=1).page()["total"] == before:
                    raise
        return "not judged: the list changes while it is read"

    return checked


def _keys(page: dict[str, Any]) -> list[tuple[str, str]]:
    return [(session["created_at"], session["id"]) for session in page["data"]]


def _page(query: str, limit: int) -> Check:
    """Return a check of a first page that must have this limit."""

    def check(api: Api) -> None:
        reply = api.send(query, Authorization=api.key)
        page = reply.page()
        reply.expect((page["offset"], page["limit"]) == (0, limit), f"not offset 0 and limit {limit}")
        count = len(page["data"])
        reply.expect(count == min(limit, page["total"]), f"{count} sessions of {page['total']}")
        organizations = {session["organization_id"] for session in page["data"]}
        reply.expect(len(organizations) <= 1, f"sessions of {len(organizations)} organizations")

    return check


def _refused(status: int, code: str, *requests: tuple[str, dict[str, str]]) -> Check:
    """Return a check of requests that are refused.

    Args:
        requests: the query and the other arguments of each; `{key}` stands for the key.
    """

    def check(api: Api) -> None:
        for query, arguments in requests:
            given = {name: value.replace("{key}", api.key) for name, value in arguments.items()}
            reply = api.send(query, **given)
            message = reply.error(status, code)
            if query.startswith(UNKNOWN_PARAMETER):
                names_all = all(name in message for name in PARAMETERS)
                reply.expect(names_all, f"does not list the parameters: {message}")
            if status == 405:
                reply.expect(reply.headers.get("Allow") == "GET", "no Allow: GET")

    return check


@_while_unchanged
def _next_pages(api: Api) -> None:
    query = {"limit": "7"}
    keys: list[tuple[str, str]] = []
    total = None
    for _ in range(PAGES):
        reply = api.get(**query)
        page = reply.page()
        reply.expect(total in (None, page["total"]), f"total {page['total']}, {total} before")
        total = page["total"]
        reply.expect(page["offset"] == len(keys), f"offset {page['offset']}")
        keys += _keys(page)
        is_end = len(keys) >= total
        reply.expect(("next" not in reply.links) == is_end, "rel=next where the list ends, or none")
        if is_end:
            break
        query = reply.links["next"]
    if keys != sorted(set(keys), reverse=True):
        raise ContractBroken("following rel=next repeats sessions, or does not go from newer to older")


@_while_unchanged
def _last_page(api: Api) -> str | None:
    first = api.get(limit=7)
    total = first.page()["total"]
    if total == 0:
        first.expect("Link" not in first.headers, "Link without sessions")
        return NO_SESSIONS
    query, end = first.links["last"], total
    for _ in range(PAGES):
        reply = api.get(**query)
        page = reply.page()
        reply.expect(page["total"] == total, f"total {page['total']}, {total} on the first page")
        last = page["offset"] + len(page["data"])
        reply.expect(last == end, f"ends at {last} and not at {end}")
        reply.expect(("next" in reply.links) == (end < total), "rel=next past the last page")
        end = page["offset"]
        reply.expect(("prev" in reply.links) == (end > 0), "rel=prev before the first page, or none")
        if end == 0:
            break
        query = reply.links["prev"]
    return None


@_while_unchanged
def _past_the_end(api: Api) -> None:
    reply = api.get(offset=INT32_MAX)
    page = reply.page()
    total = api.get(limit=1).page()["total"]
    reply.expect((page["data"], page["total"]) == ([], total), f"sessions past the end, or not a total of {total}")


@_while_unchanged
def _agent(api: Api) -> str | None:
    everything = api.get(limit=1).page()
    if not everything["data"]:
        return NO_SESSIONS
    agent_id = everything["data"][0]["agent_id"]
    reply = api.get(agent_id=agent_id)
    page = reply.page()
    agents = {session["agent_id"] for session in page["data"]}
    reply.expect(agents == {agent_id}, f"sessions of {', '.join(agents) or 'nobody'}")
    reply.expect(page["total"] <= everything["total"], f"total {page['total']}, {everything['total']} of all agents")
    return None


def _unknown_agent(api: Api) -> None:
    reply = api.get(agent_id=UNKNOWN_AGENT)
    page = reply.page()
    reply.expect((page["data"], page["total"]) == ([], 0), "sessions of an unknown agent")


def _schemes(api: Api) -> None:
    for scheme in ("Bearer", "apikey"):
        api.send("limit=1", Authorization=f"{scheme} {api.key}").page()


_WITH_KEY: Final = {"Authorization": "{key}"}
_BAD_KEYS: Final = ("nonsense", "Bearer nonsense", f"evr_{secrets.token_urlsafe(32)}")
_BAD_VALUES: Final = (
    *("limit=0", f"limit={LIMIT_MAX + 1}", "limit=1.0", "agent_id=agent_XYZ"),
    *("offset=-1", f"offset={INT32_MAX + 1}", "offset=1&offset=1"),
)
_OTHER_PATHS: Final = [{"path": path} for path in ("/", "/v1/nothing")]

CHECKS: Final[dict[str, Check]] = {
    "first page: form, order, defaults, headers": _page("", LIMIT_DEFAULT),
    "empty and null mean not given": _page("agent_id=&offset=null&limit=", LIMIT_DEFAULT),
    "limit 1": _page("limit=1", 1),
    "limit 100": _page(f"limit={LIMIT_MAX}", LIMIT_MAX),
    "rel=next repeats nothing": _next_pages,
    "rel=last and rel=prev lead back from the end": _last_page,
    "past the end: no sessions, true total": _past_the_end,
    "only one agent's sessions": _agent,
    "an unknown agent has no sessions": _unknown_agent,
    "400 for an invalid value": _refused(400, "invalid_parameter", *((query, _WITH_KEY) for query in _BAD_VALUES)),
    "400 for a parameter that does not exist": _refused(400, "invalid_parameter", (UNKNOWN_PARAMETER, _WITH_KEY)),
    "401 without a key": _refused(401, "unauthorized", ("", {})),
    "401 with a bad key": _refused(401, "unauthorized", *(("", {"Authorization": key}) for key in _BAD_KEYS)),
    "401 before 400": _refused(401, "unauthorized", ("limit=0", {})),
    "Bearer and ApiKey schemes": _schemes,
    "403 for another organization": _refused(403, "forbidden", ("", _WITH_KEY | {"X_Org_Id": "org_" + "f" * 32})),
    "404 for another path": _refused(
        404, "not_found", *(("", path | key) for path in _OTHER_PATHS for key in (_WITH_KEY, {}))
    ),
    "405 for another method": _refused(405, "method_not_allowed", ("", {"method": "POST"}), ("", {"method": "DELETE"})),
}
"""Each check, by the line that reports it."""
