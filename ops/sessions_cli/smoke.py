"""Whether a deployment responds as the contract says: requests from outside, with nothing but a URL and a key.

Writes nothing, and works whether the organization has no session or millions, and beside live traffic: a check
that needs an unchanged list says so when the list changes.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlencode

import urllib3
from urllib3.exceptions import HTTPError, LocationValueError

from sessions.contract import INT32_MAX, LIMIT_DEFAULT, LIMIT_MAX, PARAMETERS, Page, Session, read_session
from sessions.responses import PATH
from sessions_cli.errors import CommandError

CONNECT_TIMEOUT: Final = 5.0
READ_TIMEOUT: Final = 30.0
"""Seconds; API Gateway itself gives up after 29."""

RETRIES: Final = urllib3.Retry(
    total=None,
    connect=0,
    read=0,
    other=0,
    status=4,
    status_forcelist=(429, 503),
    allowed_methods=None,
    backoff_factor=0.5,
    backoff_max=10,
    retry_after_max=10,
    raise_on_status=False,
)
"""A request that is throttled or finds the service busy is made again, after at most 10 seconds."""

UNCHANGED_TRIES: Final = 3
"""Tries of a check that needs the list not to change."""

PAGES: Final = 5
"""Pages that are followed from the first and from the last one."""

OTHER_ORGANIZATION: Final = "org_" + "f" * 32
UNKNOWN_AGENT: Final = "agent_" + "f" * 32


class Unreachable(CommandError):
    """Nothing at this address speaks HTTP, or not in time."""


class NotTheApi(CommandError):
    """DynamoDB is at this address."""


class ContractBroken(Exception):
    """A response is not what the contract says."""


class Inconclusive(Exception):
    """A check could not be made; the message says why."""


class ListChanged(Exception):
    """The list changed between two requests of one check."""


class Result(NamedTuple):
    """One check."""

    name: str
    passed: bool
    remark: str
    """What was wrong, or why it was not judged."""


class ApiResponse(NamedTuple):
    """What came back."""

    request: str
    status: int
    headers: urllib3.HTTPHeaderDict
    body: Any
    """None when it is not JSON."""

    @property
    def links(self) -> dict[str, dict[str, str]]:
        """The query of each link, by its relation."""
        return {
            relation: {name: values[0] for name, values in parse_qs(target).items()}
            for target, relation in re.findall(r'<\?([^>]*)>; rel="(\w+)"', self.headers.get("Link", ""))
        }

    def expect(self, *, is_true: bool, otherwise: str) -> None:
        if not is_true:
            raise ContractBroken(f"{self.request}: {otherwise}")

    def page(self) -> dict[str, Any]:
        """The body of a 200, which has the contract's form, its fields and its order."""
        self.expect(is_true=self.status == 200, otherwise=f"status {self.status} and not 200: {self.body}")
        self._expect_headers()
        body = self.body
        fields = set(Page.__annotations__)
        self.expect(is_true=isinstance(body, dict) and set(body) == fields, otherwise=f"fields other than {fields}")
        for entry in body["data"]:
            missing = set(Session.__annotations__) - set(entry)
            self.expect(is_true=not missing, otherwise=f"{entry.get('id')} has no {', '.join(sorted(missing))}")
            read_session(entry, extra="forbid")
        keys = [(entry["created_at"], entry["id"]) for entry in body["data"]]
        self.expect(is_true=keys == sorted(keys, reverse=True), otherwise="entries are not newest first")
        self.expect(is_true=len(set(keys)) == len(keys), otherwise="an entry is there twice")
        return dict(body)

    def error(self, status: int, code: str) -> str:
        """The message of an error in the contract's envelope."""
        self.expect(is_true=self.status == status, otherwise=f"status {self.status} and not {status}: {self.body}")
        self._expect_headers()
        match self.body:
            case {"error": {"code": str(found), "message": str(message), **more}, **others} if not more and not others:
                self.expect(is_true=found == code, otherwise=f"code {found} and not {code}")
                return message
        raise ContractBroken(f"{self.request}: not an error of the contract: {self.body}")

    def _expect_headers(self) -> None:
        kind = self.headers.get("Content-Type", "")
        self.expect(is_true=kind.split(";")[0] == "application/json", otherwise=f"content type {kind!r}")
        self.expect(is_true=self.headers.get("Cache-Control") == "no-store", otherwise="no Cache-Control: no-store")
        self.expect(is_true=bool(self.headers.get("X-Request-Id")), otherwise="no X-Request-Id")


class Api:
    """The endpoint under test."""

    def __init__(self, url: str, key: str) -> None:
        """
        Args:
            url: what stands before `/v1/sessions`, a stage included; with `/v1/sessions` is as good.
        """
        self._url = url.rstrip("/").removesuffix(PATH)
        self.key = key
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT)
        self._pool = urllib3.PoolManager(timeout=timeout, retries=RETRIES)

    def get(self, **query: Any) -> ApiResponse:
        """A request with the key."""
        return self.send(urlencode(query, doseq=True), Authorization=self.key)

    def send(self, query: str = "", *, method: str = "GET", path: str = PATH, **headers: str) -> ApiResponse:
        """A request as given; one that is throttled or finds the service busy is made again.

        Raises:
            Unreachable: there is no response.
            NotTheApi: it is DynamoDB that responds.
        """
        target = path + (f"?{query}" if query else "")
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            response = self._pool.request(method, self._url + target, headers=headers, redirect=False)
        except (HTTPError, LocationValueError) as error:
            reason = " ".join(str(getattr(error, "reason", error)).split())
            raise Unreachable(f"No response from {self._url}{path}: {reason}") from None
        if response.headers.get("Content-Type", "").startswith("application/x-amz-json"):
            raise NotTheApi(f"{self._url} is DynamoDB; `make run` has the API on PORT, 8080 unless changed.")
        try:
            body = json.loads(response.data)
        except ValueError:
            body = None
        return ApiResponse(f"{method} {target}", response.status, response.headers, body)


Check = Callable[[Api], None]


def smoke(url: str, key: str) -> Iterator[Result]:
    """Makes one check after another.

    Raises:
        Unreachable: there is no response, and so no use in going on.
        NotTheApi: it is DynamoDB that responds.
    """
    api = Api(url, key)
    for name, check in CHECKS.items():
        yield _result(name, check, api)


def _result(name: str, check: Check, api: Api) -> Result:
    for _ in range(UNCHANGED_TRIES):
        try:
            check(api)
        except ListChanged:
            continue
        except Inconclusive as remark:
            return Result(name, True, str(remark))
        except ContractBroken as fault:
            return Result(name, False, str(fault))
        except (ValueError, KeyError, TypeError, AttributeError) as fault:  # a response in a different shape
            return Result(name, False, " ".join(f"{type(fault).__name__}: {fault}".split()))
        return Result(name, True, "")
    return Result(name, True, "not judged: the list changes while it is read")


def _while_it_does_not_change(check: Check) -> Check:
    """Takes what a check finds wrong for a fault only when the list is as long after it as it was before."""

    def checked(api: Api) -> None:
        before = api.get(limit=1).page()["total"]
        try:
            check(api)
        except ContractBroken:
            if api.get(limit=1).page()["total"] != before:
                raise ListChanged from None
            raise

    return checked


def _first_page(api: Api) -> None:
    response = api.get()
    page = response.page()
    response.expect(
        is_true=(page["offset"], page["limit"]) == (0, LIMIT_DEFAULT), otherwise="not offset 0 and limit 20"
    )
    response.expect(
        is_true=len(page["data"]) == min(LIMIT_DEFAULT, page["total"]),
        otherwise=f"{len(page['data'])} entries of {page['total']}",
    )
    organizations = {entry["organization_id"] for entry in page["data"]}
    response.expect(is_true=len(organizations) <= 1, otherwise=f"entries of {len(organizations)} organizations")


def _not_given(api: Api) -> None:
    response = api.send("agent_id=&offset=null&limit=", Authorization=api.key)
    page = response.page()
    response.expect(is_true=(page["offset"], page["limit"]) == (0, LIMIT_DEFAULT), otherwise="not the defaults")


def _limits(api: Api) -> None:
    for limit in (1, LIMIT_MAX):
        response = api.get(limit=limit)
        page = response.page()
        response.expect(is_true=page["limit"] == limit, otherwise=f"limit {page['limit']}")
        response.expect(
            is_true=len(page["data"]) == min(limit, page["total"]),
            otherwise=f"{len(page['data'])} entries of {page['total']}",
        )


@_while_it_does_not_change
def _next_pages(api: Api) -> None:
    query = {"limit": "7"}
    keys: list[tuple[str, str]] = []
    total = None
    for _ in range(PAGES):
        response = api.get(**query)
        page = response.page()
        response.expect(is_true=total in (None, page["total"]), otherwise=f"total {page['total']}, {total} before")
        total = page["total"]
        response.expect(is_true=page["offset"] == len(keys), otherwise=f"offset {page['offset']}")
        keys += [(entry["created_at"], entry["id"]) for entry in page["data"]]
        is_end = len(keys) >= page["total"]
        response.expect(
            is_true=("next" not in response.links) == is_end, otherwise="rel=next where the list ends, or none"
        )
        if is_end:
            break
        query = response.links["next"]
    if keys != sorted(set(keys), reverse=True):
        raise ContractBroken("following rel=next repeats entries, or does not go from newer to older")


@_while_it_does_not_change
def _last_page(api: Api) -> None:
    first = api.get(limit=7)
    total = first.page()["total"]
    if total == 0:
        first.expect(is_true="Link" not in first.headers, otherwise="Link without entries")
        raise Inconclusive("no sessions")
    query, end = first.links["last"], total
    for _ in range(PAGES):
        response = api.get(**query)
        page = response.page()
        response.expect(is_true=page["total"] == total, otherwise=f"total {page['total']}, {total} on the first page")
        there = page["offset"] + len(page["data"])
        response.expect(is_true=there == end, otherwise=f"ends at {there} and not at {end}")
        response.expect(is_true=("next" in response.links) == (end < total), otherwise="rel=next past the last page")
        end = page["offset"]
        response.expect(
            is_true=("prev" in response.links) == (end > 0), otherwise="rel=prev before the first page, or none"
        )
        if end == 0:
            return
        query = response.links["prev"]


@_while_it_does_not_change
def _past_the_end(api: Api) -> None:
    response = api.get(offset=INT32_MAX)
    page = response.page()
    response.expect(is_true=page["data"] == [], otherwise="entries past the end")
    total = api.get(limit=1).page()["total"]
    response.expect(is_true=page["total"] == total, otherwise=f"total {page['total']}, {total} on the first page")


@_while_it_does_not_change
def _agent(api: Api) -> None:
    everything = api.get(limit=1).page()
    if not everything["data"]:
        raise Inconclusive("no sessions")
    agent_id = everything["data"][0]["agent_id"]
    response = api.get(agent_id=agent_id)
    page = response.page()
    others = {entry["agent_id"] for entry in page["data"]} - {agent_id}
    response.expect(is_true=not others, otherwise=f"entries of {', '.join(others)}")
    response.expect(is_true=bool(page["data"]), otherwise="no entry, though the first of all is this agent's")
    response.expect(
        is_true=page["total"] <= everything["total"],
        otherwise=f"total {page['total']}, {everything['total']} of all agents",
    )


def _unknown_agent(api: Api) -> None:
    response = api.get(agent_id=UNKNOWN_AGENT)
    page = response.page()
    response.expect(is_true=(page["data"], page["total"]) == ([], 0), otherwise="entries of an unknown agent")


def _bad_parameters(api: Api) -> None:
    for query in (
        "limit=0",
        f"limit={LIMIT_MAX + 1}",
        "limit=1.0",
        "offset=-1",
        f"offset={INT32_MAX + 1}",
        "offset=1&offset=1",
        "agent_id=agent_XYZ",
    ):
        api.send(query, Authorization=api.key).error(400, "invalid_parameter")


def _unknown_parameter(api: Api) -> None:
    response = api.get(agentid=UNKNOWN_AGENT)
    message = response.error(400, "invalid_parameter")
    response.expect(is_true=all(name in message for name in PARAMETERS), otherwise=f"does not list them: {message}")


def _no_key(api: Api) -> None:
    api.send().error(401, "unauthorized")


def _bad_key(api: Api) -> None:
    for key in ("nonsense", "Bearer nonsense", f"evr_{secrets.token_urlsafe(32)}"):
        api.send(Authorization=key).error(401, "unauthorized")


def _schemes(api: Api) -> None:
    for scheme in ("Bearer", "apikey"):
        api.send("limit=1", Authorization=f"{scheme} {api.key}").page()


def _identity_first(api: Api) -> None:
    api.send("limit=0").error(401, "unauthorized")


def _other_organization(api: Api) -> None:
    api.send("limit=1", Authorization=api.key, X_Org_Id=OTHER_ORGANIZATION).error(403, "forbidden")


def _other_path(api: Api) -> None:
    for path in ("/", "/v1/nothing"):
        api.send(path=path, Authorization=api.key).error(404, "not_found")
        api.send(path=path).error(404, "not_found")


def _other_method(api: Api) -> None:
    for method in ("POST", "DELETE"):
        response = api.send(method=method)
        response.error(405, "method_not_allowed")
        response.expect(is_true=response.headers.get("Allow") == "GET", otherwise="no Allow: GET")


CHECKS: Final[dict[str, Check]] = {
    "first page: form, order, defaults, headers": _first_page,
    "empty and null mean not given": _not_given,
    "limits from 1 to 100": _limits,
    "rel=next repeats nothing": _next_pages,
    "rel=last and rel=prev lead back from the end": _last_page,
    "past the end: no entries, true total": _past_the_end,
    "only one agent's sessions": _agent,
    "an unknown agent has no sessions": _unknown_agent,
    "400 for an invalid value": _bad_parameters,
    "400 for a parameter that does not exist": _unknown_parameter,
    "401 without a key": _no_key,
    "401 with a bad key": _bad_key,
    "401 before 400": _identity_first,
    "Bearer and ApiKey schemes": _schemes,
    "403 for another organization": _other_organization,
    "404 for another path": _other_path,
    "405 for another method": _other_method,
}
"""Each check by the line that reports it."""
