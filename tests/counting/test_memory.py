"""The DynamoDB in memory responses as moto does, call by call, while the real code makes the calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from sessions.contract import PageRequest
from sessions.counting.transitions import after_changes, stream_changes
from sessions.counting.writer import CountWriter
from sessions.paging.finder import Limits, Pages
from sessions_cli.audit import audit
from sessions_cli.items import item_of
from sessions_cli.reconcile import rebuild
from sessions_cli.tables import Tables
from tests.counting.memory import Item, Memory, Paginator
from tests.service import (
    AGENT,
    CONTEXT,
    ORGANIZATION,
    OTHER_AGENT,
    OTHER_ORGANIZATION,
    TEMPLATE,
    container,
    newest_first,
    session,
)

TIMES = [
    "2026-10-31T23:59:59.999999Z",
    "2026-11-01T00:00:00.000000Z",
    "2026-11-01T00:00:59.000000Z",
    "2026-11-01T00:01:00.000000Z",
]
sessions = st.builds(
    lambda number, organization, agent, time: session(
        number, organization_id=organization, agent_id=agent, created_at=time
    ),
    st.integers(1, 4),
    st.sampled_from([ORGANIZATION, OTHER_ORGANIZATION]),
    st.sampled_from([AGENT, OTHER_AGENT]),
    st.sampled_from(TIMES),
)
batches = st.lists(sessions, min_size=1, max_size=6)
histories = st.lists(st.tuples(batches, st.sampled_from(["counted", "contended", "repaired", "unseen"])), max_size=4)


class Both:
    """Makes every call of both engines, and compares the responses."""

    def __init__(self, moto: Any, memory: Memory) -> None:
        self.memory = memory
        self.refused: list[str] = []
        """What both refused."""
        self.meanwhile: Callable[[], None] | None = None
        """What somebody else does before the next transaction."""
        self._clients = (moto, memory)

    @property
    def tables(self) -> Tables:
        return Tables(cast(Any, self), "sessions", "counts", sleep=lambda _: None)

    def get_paginator(self, operation: str) -> Paginator:
        return Paginator(getattr(self, operation))

    def describe_table(self, TableName: str) -> Any:  # noqa: N803
        return self.memory.describe_table(TableName)

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**parameters: Any) -> Any:
            if operation == "transact_write_items" and self.meanwhile:
                meanwhile, self.meanwhile = self.meanwhile, None
                meanwhile()
            (response, told), (_, also_told) = (outcome(getattr(each, operation), parameters) for each in self._clients)
            assert told == also_told
            if isinstance(response, ClientError):
                self.refused.append(told["refused"])
                raise response
            return response

        return call


def outcome(operation: Any, parameters: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What an engine responses, and the part of it that both must agree on."""
    parameters.pop("ReturnConsumedCapacity", None)
    try:
        response = operation(**parameters)
    except ClientError as error:
        reasons = [reason["Code"] for reason in error.response.get("CancellationReasons", [])]
        return error, {"refused": error.response["Error"]["Code"], "reasons": reasons}
    told = {name: response.get(name) for name in ("LastEvaluatedKey", "UnprocessedKeys", "UnprocessedItems")}
    if "KeyConditionExpression" in parameters:
        told |= {name: response.get(name) for name in ("Items", "Count", "ScannedCount")}
    else:
        told["Items"] = sorted(response.get("Items", []), key=str)
    told["Responses"] = {name: sorted(items, key=str) for name, items in response.get("Responses", {}).items()}
    return response, told


@contextmanager
def engines() -> Iterator[Both]:
    """Two engines with empty tables."""
    with mock_aws():
        moto = boto3.client("dynamodb")
        for each in TEMPLATE.tables:
            moto.create_table(**each.arguments)
        yield Both(moto, Memory(names_the_end=False))


def put(both: Both, entry: dict[str, Any]) -> dict[str, Any]:
    """Creates a session, or removes the one of its id; returns the stream's record of it."""
    item, there = item_of(entry), both.memory.tables["sessions"].get((entry["id"],))
    if there:
        both.delete_item(TableName="sessions", Key={"id": item["id"]})
    else:
        both.put_item(TableName="sessions", Item=item)
    image: dict[str, Item] = {"OldImage": there} if there else {"NewImage": item}
    stream = {"Keys": {"id": item["id"]}, "SequenceNumber": "1", **image}
    return {"eventName": "REMOVE" if there else "INSERT", "dynamodb": stream}


@given(history=histories)
def test_counting_the_rebuild_the_audit_and_pages_meet_the_same_responses(
    history: list[tuple[list[dict[str, Any]], str]],
) -> None:
    with engines() as both, pytest.MonkeyPatch.context() as patch:
        count = container("count_sessions")
        patch.setattr(count, "counts", CountWriter(both, "counts", sleep=lambda _: None))
        for batch, how in history:
            records = [put(both, entry) for entry in batch]
            if how == "contended":
                both.meanwhile = lambda again=records: count.handler({"Records": again}, CONTEXT)
            if how in ("counted", "contended"):
                assert count.handler({"Records": records}, CONTEXT) == {"batchItemFailures": []}
            if how == "repaired":
                rebuild(both.tables, rate=1e9, workers=1)
            both.meanwhile = None
        audit(both.tables)
        rebuild(both.tables, rate=1e9, workers=1, empty_first=True)
        assert audit(both.tables).is_clean

        pages = Pages(both, "sessions", "counts", Limits(near=0, transferred_skip=1))
        stored = [item["created_at_id"]["S"] for item in both.memory.tables["sessions"].values()]
        for organization, agent in ((ORGANIZATION, None), (ORGANIZATION, AGENT), (OTHER_ORGANIZATION, OTHER_AGENT)):
            for offset in range(len(stored) + 1):
                pages.page(organization, PageRequest(agent_id=agent, offset=str(offset), limit=str(1 + offset % 2)))


def test_a_transaction_on_markers_that_were_changed_meanwhile_is_cancelled_by_both() -> None:
    with engines() as both:
        writer = CountWriter(both, "counts", sleep=lambda _: None)
        records = [put(both, session(number)) for number in range(3)]
        by_session = stream_changes(records).by_session
        transitions = {each: after_changes(changes) for each, changes in by_session.items()}
        both.meanwhile = lambda: writer.apply({session(1)["id"]: transitions[session(1)["id"]]}) and None
        assert writer.apply(transitions).failed == {}
        assert both.refused == ["TransactionCanceledException"]
        assert audit(both.tables).is_clean


def update(number: int) -> dict[str, Any]:
    return {
        "Update": {
            "TableName": "counts",
            "Key": {"scope": {"S": "scope"}, "bucket": {"S": str(number)}},
            "UpdateExpression": "ADD #0 :0, #1 :1",
            "ExpressionAttributeNames": {"#0": "164", "#1": "1:45"},
            "ExpressionAttributeValues": {":0": {"N": "1"}, ":1": {"N": "-2"}},
        }
    }


def keys(*numbers: int) -> dict[str, Any]:
    return {"counts": {"Keys": [update(number)["Update"]["Key"] for number in numbers], "ConsistentRead": True}}


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("transact_write_items", {"TransactItems": [update(number) for number in range(101)]}),
        ("transact_write_items", {"TransactItems": [update(1), update(1)]}),
        ("batch_get_item", {"RequestItems": keys(*range(101))}),
        ("batch_get_item", {"RequestItems": keys(1, 1)}),
    ],
    ids=["actions", "one item twice", "keys", "one key twice"],
)
def test_what_dynamodb_refuses_is_refused_by_both(operation: str, parameters: dict[str, Any]) -> None:
    with engines() as both, pytest.raises(ClientError):
        getattr(both, operation)(**parameters)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("is_ascending", [True, False])
def test_a_cursor_leads_through_both_alike(limit: int, is_ascending: bool) -> None:
    everything = [session(number, created_at=TIMES[number % 2]) for number in range(4)]
    with engines() as both:
        for entry in everything:
            put(both, entry)
        query: dict[str, Any] = {
            "TableName": "sessions",
            "IndexName": "by_organization",
            "KeyConditionExpression": "organization_id = :scope",
            "ExpressionAttributeValues": {":scope": {"S": ORGANIZATION}},
            "ScanIndexForward": is_ascending,
            "Limit": limit,
        }
        walked = []
        while True:
            page = both.query(**query)
            walked += [item["id"]["S"] for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                break
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        ids = [entry["id"] for entry in newest_first(everything)]
        assert walked == (ids[::-1] if is_ascending else ids)
