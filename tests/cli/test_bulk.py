"""Throttling and broken connections in bulk work: tried again, and given up in the end."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from sessions_cli.bulk import TRIES, RateLimiter, Throttled, pages, read_batch, write_batch
from tests.cli.command import ndjson, refusal, refusing, replace, sessions
from tests.service import ORGANIZATION, Service, session

pytestmark = pytest.mark.usefixtures("patient")

OUT_OF_REACH = EndpointConnectionError(endpoint_url="")
THROTTLING = refusal("ProvisionedThroughputExceededException")


class Failing:
    """A client that raises an error at every call after the first so many."""

    def __init__(self, error: Exception, *responses: dict[str, Any]) -> None:
        self._error = error
        self._responses: Iterator[dict[str, Any]] = iter(responses)
        self.calls = 0

    def call(self, **_: Any) -> Any:
        self.calls += 1
        for response in self._responses:
            return response
        raise self._error

    batch_get_item = batch_write_item = call


@pytest.mark.parametrize("work", [read_batch, write_batch])
@pytest.mark.parametrize(
    ("error", "raised", "calls"),
    [
        (THROTTLING, Throttled, TRIES),
        (OUT_OF_REACH, EndpointConnectionError, TRIES),
        (refusal("AccessDeniedException"), Exception, 1),
    ],
    ids=["throttled", "out of reach", "refused"],
)
def test_a_batch_is_retried_while_that_may_help(work: Any, error: Any, raised: Any, calls: int) -> None:
    client = Failing(error)
    with pytest.raises(raised) as caught:
        work(client, "sessions", [{"id": {"S": "session_1"}}])
    assert client.calls == calls
    if raised is Throttled:
        assert caught.value.left == [{"id": {"S": "session_1"}}]


@pytest.mark.parametrize(
    ("error", "pages_before", "calls"),
    [(THROTTLING, 0, TRIES), (THROTTLING, 1, 1 + TRIES), (OUT_OF_REACH, 0, 1), (OUT_OF_REACH, 1, 1 + TRIES)],
)
def test_a_scan_is_retried_once_it_has_reached_the_engine(error: Exception, pages_before: int, calls: int) -> None:
    client = Failing(error, *[{"Items": [], "LastEvaluatedKey": {}}] * pages_before)
    with pytest.raises(type(error)):
        list(pages(client.call, TableName="sessions"))
    assert client.calls == calls


@pytest.mark.parametrize("operation", ["scan", "query", "describe_table", "batch_get_item", "batch_write_item"])
@pytest.mark.parametrize(
    "use",
    [
        ("load", "-"),
        ("export", "-"),
        ("export", "-", "--organization", ORGANIZATION),
        ("counts", "rebuild"),
        ("counts", "audit"),
        ("keys", "list"),
        ("status",),
    ],
    ids=" ".join,
)
def test_every_command_waits_out_throttling(
    service: Service, monkeypatch: pytest.MonkeyPatch, use: tuple[str, ...], operation: str
) -> None:
    service.put(session(1))
    service.drain()
    throttled = refusing("ProvisionedThroughputExceededException", TRIES - 1)
    replace(monkeypatch, service.dynamodb, **{operation: throttled})
    ran = sessions(*use, given=ndjson(session(1)))
    assert (ran.exit_code, "Error" in ran.stderr) == (0, False)


def halves(name: str, unprocessed: str) -> Callable[..., Any]:
    """Return a batch operation that leaves all but the first ten of its requests unprocessed."""

    def call(real: Callable[..., Any], RequestItems: dict[str, Any]) -> Any:  # noqa: N803
        [(table, wanted)] = RequestItems.items()
        if name == "batch_write_item":
            done, left = wanted[:10], wanted[10:]
        else:
            done, left = wanted | {"Keys": wanted["Keys"][:10]}, wanted["Keys"][10:] and {
                **wanted, "Keys": wanted["Keys"][10:]
            }  # fmt: skip
        return real(RequestItems={table: done}) | {unprocessed: {table: left} if left else {}}

    return call


@pytest.mark.parametrize(
    ("operation", "unprocessed"),
    [("batch_write_item", "UnprocessedItems"), ("batch_get_item", "UnprocessedKeys")],
)
def test_what_dynamodb_leaves_unprocessed_is_requested_again(
    service: Service, monkeypatch: pytest.MonkeyPatch, operation: str, unprocessed: str
) -> None:
    service.put(session(24))
    replace(monkeypatch, service.dynamodb, **{operation: halves(operation, unprocessed)})
    lines = [session(number, **({"agent_id": "agent_" + "9" * 32} if number == 24 else {})) for number in range(25)]
    ran = sessions("load", "-", given=ndjson(*lines))
    assert ran.stderr.startswith("line 25: already stored with ")
    assert service.dynamodb.scan(TableName="sessions")["Count"] == 25


def test_work_starts_at_the_given_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    limiter = RateLimiter(100)
    monkeypatch.setattr("threading.Event.wait", lambda _self, seconds: waited.append(seconds))
    for _ in range(3):
        limiter.wait(50)
    assert waited == [pytest.approx(seconds, abs=0.1) for seconds in (0, 0.5, 1)]
