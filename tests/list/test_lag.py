"""Pages and totals while the stream lags, and while somebody writes between two reads of one request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from sessions.client import create_client as client
from tests.service import AGENT, OTHER_AGENT, Service, newest_first, session, small_limits

# Few distinct moments, so that many sessions share five seconds, ten minutes, a day or a month.
entries = st.builds(
    lambda number, month, minute, agent: session(
        number, created_at=f"2026-{month}-01T00:{minute}:00.000000Z", agent_id=agent
    ),
    st.integers(0, 40),
    st.sampled_from(["09", "10"]),
    st.sampled_from(["00", "01"]),
    st.sampled_from([AGENT, OTHER_AGENT]),
)


@given(
    counted=st.lists(entries, max_size=25, unique_by=lambda entry: entry["id"]),
    created=st.lists(entries, max_size=4, unique_by=lambda entry: entry["id"]),
    deleted=st.sets(st.integers(0, 24), max_size=4),
    near=st.sampled_from([0, 1, 5, 100]),
    limit=st.integers(1, 8),
    agent_id=st.sampled_from([None, AGENT]),
)
def test_a_page_is_shifted_by_no_more_entries_than_are_not_yet_counted(
    counted: list[dict[str, Any]],
    created: list[dict[str, Any]],
    deleted: set[int],
    near: int,
    limit: int,
    agent_id: str | None,
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch, mock_aws():
        service = Service()
        small_limits(monkeypatch, scan_max=near)
        service.put(*counted)
        service.drain()
        gone = [entry for number, entry in enumerate(counted) if number in deleted]
        there = {entry["id"]: entry for entry in counted if entry not in gone}
        new = [entry for entry in created if entry["id"] not in {each["id"] for each in counted}]
        for entry in gone:
            service.delete(entry["id"])
        service.put(*new)
        there |= {entry["id"]: entry for entry in new}

        mine = [entry for entry in newest_first(there.values()) if agent_id in (None, entry["agent_id"])]
        uncounted = sum(agent_id in (None, entry["agent_id"]) for entry in (*gone, *new))
        query = f"&agent_id={agent_id}" if agent_id else ""
        for offset in range(len(mine) + 3):
            body = service.get(f"offset={offset}&limit={limit}{query}").body
            data, total = body["data"], body["total"]
            assert abs(total - len(mine)) <= uncounted
            if data:
                start = mine.index(data[0])
                assert data == mine[start : start + len(data)]
                assert abs(start - offset) <= uncounted
            # Where the page proves that there are more entries, or no more, the page wins.
            if len(data) == limit:
                assert total >= offset + limit
            elif data:
                assert total == offset + len(data)
            else:
                assert total <= offset

        service.drain()
        for offset in range(len(mine) + 1):
            body = service.get(f"offset={offset}&limit={limit}{query}").body
            assert (body["data"], body["total"]) == (mine[offset : offset + limit], len(mine))


def test_a_new_session_is_on_the_first_page_before_it_is_counted(service: Service) -> None:
    service.put(session(1))
    service.drain()
    service.put(session(2))
    response = service.get("limit=5")
    assert response.ids == [session(2)["id"], session(1)["id"]]
    assert response.body["total"] == 2


def test_a_deleted_session_is_on_no_page_before_it_is_uncounted(service: Service) -> None:
    service.put(*(session(number) for number in range(4)))
    service.drain()
    service.delete(session(3)["id"])
    assert service.get("limit=2").ids == [session(2)["id"], session(1)["id"]]
    assert service.get("limit=2").body["total"] == 4
    assert service.get("limit=4").body["total"] == 3


def before_query(dynamodb: Any, number: int, work: Callable[[], None]) -> None:
    """Does something just before a Query of the next requests, the first of which is number 1."""
    queries = iter(range(1, number + 1))

    def hook(**_: Any) -> None:
        if next(queries, None) == number:
            work()

    dynamodb.meta.events.register("before-call.dynamodb.Query", hook)


@pytest.mark.parametrize("query", [2, 3, 4], ids=["day", "ten minutes", "page"])
def test_reading_goes_on_in_the_older_bin_when_a_finer_row_holds_less(
    service: Service, monkeypatch: pytest.MonkeyPatch, query: int
) -> None:
    dynamodb = client()
    small_limits(monkeypatch, dynamodb, scan_max=0)
    older = [session(number, created_at=f"2026-09-01T00:00:0{number}.000000Z") for number in range(4)]
    newer = [session(number, created_at=f"2026-10-01T00:00:0{number - 4}.000000Z") for number in range(4, 8)]
    service.put(*older, *newer)
    service.drain()

    def remove() -> None:
        for entry in newer[:3]:
            service.delete(entry["id"])
        service.drain()

    before_query(dynamodb, query, remove)
    # Rank 2 was in October when the months were read. Now October has one entry, and rank 2 is September's second.
    response = service.get("offset=2&limit=2")
    assert response.ids == [older[2]["id"], older[1]["id"]]
    assert response.body["total"] >= 4
