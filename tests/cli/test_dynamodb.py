"""Bulk access: scans by several threads, and batches that are tried until nothing is left undone."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from sessions_cli.dynamodb import TRIES, Throttled, parallel_scan, read_batch, write_batch
from tests.cli.test_load import refusal
from tests.service import Service, session


class Paged:
    """A client whose scans have so many pages in each segment, or fail."""

    def __init__(self, pages: int, failing: int | None = None) -> None:
        self._pages = pages
        self._failing = failing
        self.read = 0

    def get_paginator(self, _operation: str) -> Any:
        return self

    def paginate(self, Segment: int, **_: Any) -> Iterator[dict[str, Any]]:  # noqa: N803
        for number in range(self._pages):
            if Segment == self._failing:
                raise refusal("AccessDeniedException")
            self.read += 1
            yield {"Items": [{"id": {"S": f"{Segment} {number}"}}]}


def test_every_segment_is_read_to_its_end(service: Service) -> None:
    client: Any = Paged(pages=30)
    found = {item["id"]["S"] for page in parallel_scan(client, "sessions", 3) for item in page}
    assert found == {f"{segment} {number}" for segment in range(3) for number in range(30)}


def test_a_segment_that_fails_ends_the_scan() -> None:
    client: Any = Paged(pages=1_000_000, failing=1)
    with pytest.raises(Exception, match="AccessDeniedException"):
        list(parallel_scan(client, "sessions", 3))
    assert threads() == []


def test_a_scan_that_nobody_takes_from_any_more_reads_no_further() -> None:
    client: Any = Paged(pages=1_000_000)
    pages = parallel_scan(client, "sessions", 2)
    next(pages)
    pages.close()  # type: ignore[attr-defined]
    assert threads() == []
    assert client.read < 100


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("scan")]


class Failing:
    """A client that fails at every call."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.calls = 0

    def _call(self, **_: Any) -> Any:
        self.calls += 1
        raise self._error

    batch_get_item = batch_write_item = _call


@pytest.mark.parametrize("work", [read_batch, write_batch])
@pytest.mark.parametrize(
    ("error", "raised", "calls"),
    [
        (refusal("ProvisionedThroughputExceededException"), Throttled, TRIES),
        (EndpointConnectionError(endpoint_url=""), EndpointConnectionError, TRIES),
        (refusal("AccessDeniedException"), Exception, 1),
    ],
    ids=["throttled", "out of reach", "refused"],
)
def test_a_batch_is_tried_again_while_that_may_help(work: Any, error: Any, raised: Any, calls: int) -> None:
    client = Failing(error)
    with pytest.raises(raised) as caught:
        work(client, "sessions", [{"id": {"S": "session_1"}}], sleep=lambda _: None)
    assert client.calls == calls
    if raised is Throttled:
        assert caught.value.left == [{"id": {"S": "session_1"}}]


def test_what_is_read_in_parts_is_read_whole(service: Service) -> None:
    service.put(*map(session, range(5)))
    real = service.dynamodb

    class Stingy:
        """Returns one key at a time."""

        def batch_get_item(self, RequestItems: dict[str, Any]) -> Any:  # noqa: N803
            wanted = RequestItems["sessions"]
            keys = wanted["Keys"]
            response = real.batch_get_item(RequestItems={"sessions": wanted | {"Keys": keys[:1]}})
            left = {"sessions": wanted | {"Keys": keys[1:]}} if keys[1:] else {}
            return response | {"UnprocessedKeys": left}

    client: Any = Stingy()
    keys = [{"id": {"S": session(number)["id"]}} for number in range(5)]
    found = read_batch(client, "sessions", keys, sleep=lambda _: None)
    assert [item["id"] for item in found] == [key["id"] for key in keys]
