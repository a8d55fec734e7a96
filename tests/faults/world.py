"""The functions on an engine behind the proxy, what each of them is asked, and what it must answer."""

from __future__ import annotations

import gc
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import boto3
import pytest
from moto.core.models import botocore_stubber
from moto.server import ThreadedMotoServer

from sessions import client as dynamodb
from sessions.api_keys import ApiKeys, hash_key
from sessions.client import ATTEMPTS, TimeLimit
from sessions.counting.writer import CountWriter
from sessions.counting.writer import Limits as CountLimits
from sessions.errors import Unavailable
from sessions.paging.finder import Limits, Pages
from sessions.request_sender import RequestSender
from sessions_cli.load import item_of
from tests.faults.proxy import Proxy
from tests.faults.table import PASSES, READ_TIMEOUT, REFUSED, SLOW, TIME_LIMIT, Row
from tests.service import (
    AGENT,
    CONTEXT,
    ORGANIZATION,
    OTHER_AGENT,
    ROOT,
    TEMPLATE,
    Response,
    container,
    event,
    newest_first,
    response_of,
    session,
)

KEY: Final = "evr_" + "Az09_-" * 7
UNKNOWN_KEY: Final = "evr_" + "unknown-" * 4

ENVIRONMENT: Final = {
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
}

ENTRIES: Final = [
    session(
        number,
        agent_id=(AGENT, OTHER_AGENT)[number % 3 == 0],
        created_at=f"2026-11-{20 + number // 60}T16:41:46.{number:06}Z",
    )
    for number in range(120)
]


def containers() -> dict[str, Any]:
    """The functions, whose own clients are those of other tests: loaded before they could learn of an engine here."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(dynamodb, "RequestSender", lambda **_: botocore_stubber)  # as for all other tests
        return {name: container(name) for name in ("list_sessions", "authorize", "count_sessions")}


class World:
    """One client for each function, as a container has it; every request goes through the proxy."""

    def __init__(self, upstream: int, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        self.functions = containers()
        self.direct = _client(f"http://127.0.0.1:{upstream}")
        self.proxy = Proxy(upstream)
        for table in TEMPLATE.tables:
            self.direct.create_table(**table.arguments)
        monkeypatch.setattr(dynamodb, "READ_TIMEOUT", READ_TIMEOUT)
        monkeypatch.setattr(dynamodb, "RequestSender", RequestSender)
        # botocore waits for up to a second before its second try; nothing here depends on how long.
        monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)
        # botocore gives up second tries once many calls have failed; here hundreds fail, one after the other.
        monkeypatch.setattr("botocore.retries.quota.RetryQuota.acquire", lambda *_: True)
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", self.proxy.url)
        # One read of entries is looked up, and both walks of a page across two days are made at the same time.
        time_limit, limits = TimeLimit(TIME_LIMIT), Limits(near=1)
        self.clients = {name: dynamodb.create_client() for name in self.functions}
        replacements = {
            ("list_sessions", "pages"): Pages(self.clients["list_sessions"], "sessions", "counts", limits, time_limit),
            ("authorize", "api_keys"): ApiKeys(self.clients["authorize"], "api_keys", time_limit),
            ("count_sessions", "counts"): CountWriter(
                self.clients["count_sessions"], "counts", lambda _: None, CountLimits(tries=3), time_limit
            ),
        }
        for (name, attribute), replacement in replacements.items():
            monkeypatch.setattr(self.functions[name], attribute, replacement)
        self._sequence = 0
        for entry in ENTRIES:
            self.direct.put_item(TableName="sessions", Item=item_of(entry))
        for start in range(0, len(ENTRIES), 60):
            self.deliver(ENTRIES[start : start + 60])
        key = {"key_hash": hash_key(KEY), "organization_id": ORGANIZATION, "name": "console"}
        self.direct.put_item(TableName="api_keys", Item={name: {"S": value} for name, value in key.items()})

    def close(self) -> None:
        """Ends all connections."""
        self.proxy.stop()
        time.sleep(0.5)  # until reads that took too long, and were left behind, have noticed
        self.clients.clear()

    def list(self, query: str) -> Response:
        made = event(query)
        made["requestContext"]["authorizer"] = {"organization_id": ORGANIZATION}
        return response_of(self.functions["list_sessions"].handler(made, CONTEXT))

    def authorize(self, key: str) -> str:
        """The effect of the policy, or `raised`."""
        made = json.loads((ROOT / "events" / "authorize.json").read_text())
        made["headers"], made["multiValueHeaders"] = {"Authorization": key}, {"Authorization": [key]}
        try:
            policy = self.functions["authorize"].handler(made, CONTEXT)
        except Unavailable:
            return "unavailable"
        except Exception as error:
            return type(error).__name__
        return str(policy["policyDocument"]["Statement"][0]["Effect"])

    def deliver(self, entries: list[dict[str, Any]]) -> list[str]:
        """What counting reports as failed of inserts of these sessions."""
        records = []
        for entry in entries:
            self._sequence += 1
            stream = {
                "Keys": {"id": {"S": entry["id"]}},
                "SequenceNumber": str(self._sequence),
                "NewImage": item_of(entry),
            }
            records.append({"eventID": str(self._sequence), "eventName": "INSERT", "dynamodb": stream})
        outcome = self.functions["count_sessions"].handler({"Records": records}, CONTEXT)
        return [each["itemIdentifier"] for each in outcome["batchItemFailures"]]

    def counted(self, organization: str) -> int:
        rows = self.direct.query(
            TableName="counts",
            KeyConditionExpression="#scope = :scope AND begins_with(#bucket, :month)",
            ExpressionAttributeNames={"#scope": "scope", "#bucket": "bucket"},
            ExpressionAttributeValues={":scope": {"S": organization}, ":month": {"S": "M"}},
        )["Items"]
        return sum(int(value["N"]) for row in rows for value in row.values() if "N" in value)


def _client(url: str) -> Any:
    return boto3.client("dynamodb", endpoint_url=url)


class Subject(NamedTuple):
    """What is asked of a function, and which of its calls fails."""

    name: str
    target: str
    """Operation that meets the fault."""
    check: Callable[[World, str, int], None]
    """Asks, and checks what came: `exact`, `unavailable` or `failed`; the number makes each asking another one."""
    tries: int = ATTEMPTS
    """How often the operation is tried."""


def _page(query: str) -> Callable[[World, str, int], None]:
    def check(world: World, expected: str, number: int) -> None:
        response = world.list(query)
        if expected == "exact":
            assert (response.status, response.body) == (200, body_of(query))
        elif expected == "unavailable":
            assert (response.status, response.body["error"]["code"]) == (503, "unavailable")
            assert response.headers["Retry-After"] == "1"
        else:
            assert response.status == 500
            assert response.body == {"error": {"code": "internal_error", "message": "Internal server error"}}

    return check


def body_of(query: str) -> dict[str, Any]:
    """The page that a query must get."""
    given = dict(each.split("=") for each in query.split("&"))
    offset, limit = int(given.get("offset", 0)), int(given["limit"])
    found = [entry for entry in newest_first(ENTRIES) if given.get("agent_id") in (None, entry["agent_id"])]
    return {"data": found[offset : offset + limit], "total": len(found), "offset": offset, "limit": limit}


def _key(key: str, effect: str) -> Callable[[World, str, int], None]:
    def check(world: World, expected: str, number: int) -> None:
        outcome = world.authorize(key)
        if expected == "failed":
            assert outcome not in ("Allow", "Deny", "unavailable")
        else:
            assert outcome == {"exact": effect, "unavailable": "unavailable"}[expected]

    return check


def _count(world: World, expected: str, number: int) -> None:
    """Counts three sessions of an organization of their own; whatever happened, another delivery makes it exact."""
    organization = f"org_{number:032x}"
    entries = [session(10_000 + 3 * number + each, organization_id=organization) for each in range(3)]
    failed = world.deliver(entries)
    # A transaction whose every response is lost was carried out all the same; the markers say so at the next try.
    assert failed or expected == "exact" or world.counted(organization) == 3
    assert not failed or expected != "exact"
    if expected == "exact":
        assert world.counted(organization) == 3
    else:
        world.proxy.heal()
        assert world.deliver(entries) == []
        assert world.counted(organization) == 3
        assert world.deliver(entries) == []
    assert world.counted(organization) == 3


DEEP: Final = "offset=55&limit=10"
"""The page across two days, found by months, day and ten minutes, and two walks at the same time."""

SUBJECTS: Final = (
    Subject("first page, counts", "Query counts", _page("limit=20")),
    Subject("first page, index", "Query index", _page("limit=20")),
    Subject("deep page, counts", "Query counts", _page(DEEP)),
    Subject("deep page, index", "Query index", _page(DEEP)),
    Subject("agent page, counts", "Query counts", _page(f"agent_id={AGENT}&offset=30&limit=7")),
    Subject("agent page, index", "Query index", _page(f"agent_id={AGENT}&limit=7")),
    Subject("live key", "GetItem", _key(KEY, "Allow")),
    Subject("unknown key", "GetItem", _key(UNKNOWN_KEY, "Deny")),
    Subject("counting, markers", "BatchGetItem", _count, 3 * ATTEMPTS),
    Subject("counting, transaction", "TransactWriteItems", _count, 3 * ATTEMPTS),
)


def meet(world: World, row: Row, subject: Subject, times: int | None, number: int) -> None:
    """Lets one function meet a fault, and checks what it makes of it, how long it takes, and the request after it.

    Args:
        times: how often the fault is met; None: at every try.
    """
    plan = world.proxy.plan(row.fault, subject.target, times)
    began = time.monotonic()
    try:
        subject.check(world, expected(row, subject, times), number)
    finally:
        world.proxy.heal()
    assert plan.met >= 1
    assert time.monotonic() - began < TIME_LIMIT * 2  # counting once more takes some of it
    subject.check(world, "exact", number + 1)


def expected(row: Row, subject: Subject, times: int | None) -> str:
    """What a function must make of a fault."""
    if subject.target in row.is_hidden_in:
        return "exact"
    if row.outcome == REFUSED:
        return "failed"
    if row.outcome == SLOW:
        return "unavailable"
    assert row.outcome == PASSES
    return "exact" if times is not None else "unavailable"


def forget_connections() -> None:
    """Collects clients that nobody holds any more; nobody closes the connections that they keep."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@contextmanager
def moto_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world on moto, served by this process."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        world = World(server.get_host_and_port()[1], monkeypatch)
        try:
            yield world
        finally:
            world.close()
    finally:
        server.stop()
