"""Pages against the sorted list that they are cut from, and the links between them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.memory import Memory
from tests.service import AGENT, OTHER_AGENT, Service, in_memory, newest_first, session

agents = st.sampled_from([AGENT, OTHER_AGENT])

# Few distinct moments, so that ties, full five seconds and empty months all occur.
moments = st.builds(
    "{}-{:02d}-0{}T0{}:{}0:0{}.00000{}Z".format,
    st.sampled_from([2026, 2025]),
    st.integers(1, 12),
    st.integers(1, 2),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 5),
    st.integers(0, 1),
)
lists = st.lists(st.tuples(moments, agents), max_size=60).map(
    lambda rows: [
        session(number * 7919 % 1000, created_at=created_at, agent_id=agent_id)
        for number, (created_at, agent_id) in enumerate(rows)
    ]
)


def of_agent(sessions: list[dict[str, Any]], agent_id: str | None) -> list[dict[str, Any]]:
    return newest_first(each for each in sessions if agent_id in (None, each["agent_id"]))


@given(
    sessions=lists,
    limit=st.integers(1, 8) | st.integers(1, 100),
    agent_id=st.none() | agents,
    scan_max=st.sampled_from([0, 1, 5, 100]),
    transfer_max=st.sampled_from([600, 3]),
    response_items=st.sampled_from([1000, 7]),
)
def test_any_page_is_the_slice_of_the_sorted_list(
    sessions: list[dict[str, Any]],
    limit: int,
    agent_id: str | None,
    scan_max: int,
    transfer_max: int,
    response_items: int,
) -> None:
    expected = of_agent(sessions, agent_id)
    with in_memory(Memory(page=response_items), scan_max=scan_max, transfer_max=transfer_max) as service:
        service.put(*sessions)
        service.drain()
        for offset in range(len(expected) + 3):
            body = service.get(f"offset={offset}&limit={limit}&agent_id={agent_id or ''}").body
            page = expected[offset : offset + limit]
            assert body == {"data": page, "total": len(expected), "offset": offset, "limit": limit}


@given(sessions=lists, limit=st.integers(1, 100), agent_id=st.none() | agents, scan_max=st.sampled_from([0, 5, 100]))
def test_the_pages_joined_by_next_are_the_whole_list(
    sessions: list[dict[str, Any]], limit: int, agent_id: str | None, scan_max: int
) -> None:
    with in_memory(scan_max=scan_max) as service:
        service.put(*sessions)
        service.drain()
        joined: list[dict[str, Any]] = []
        next_page: str | None = f"?limit={limit}" + (f"&agent_id={agent_id}" if agent_id else "")
        while next_page is not None:
            response = service.get(next_page[1:])
            assert response.body["offset"] == len(joined)
            joined += response.body["data"]
            next_page = response.links.get("next")
        assert joined == of_agent(sessions, agent_id)


def test_pages_of_a_real_engine_are_the_sorted_list(service: Service) -> None:
    sessions = [
        session(number, created_at=f"2026-1{number % 2}-0{number % 3 + 1}T00:00:0{number % 7}.000000Z")
        for number in range(100)
    ]
    service.put(*sessions)
    service.drain()
    expected = newest_first(sessions)
    for offset in range(0, 101, 4):
        body = service.get(f"offset={offset}&limit=7").body
        assert (body["data"], body["total"]) == (expected[offset : offset + 7], 100)


def test_a_page_of_large_sessions_crosses_responses_of_1_mb(service: Service) -> None:
    large = [session(number, title=f"{number} " + "é" * 15_000) for number in range(80)]
    service.put(*large)
    service.drain()
    body = service.get("limit=75&offset=3").body
    assert (body["data"], body["total"]) == (newest_first(large)[3:78], 80)


def test_the_largest_offset_has_the_true_total(memory_service: Service) -> None:
    memory_service.put(session(1))
    memory_service.drain()
    body = memory_service.get("offset=2147483647").body
    assert body == {"data": [], "total": 1, "offset": 2147483647, "limit": 20}


@pytest.mark.parametrize(
    ("query", "sessions", "links"),
    [
        ("limit=2", 0, {}),
        ("limit=2&offset=5", 0, {}),
        ("limit=2", 1, {"first": 0, "last": 0}),
        ("limit=2", 5, {"first": 0, "next": 2, "last": 4}),
        ("limit=2&offset=1", 5, {"first": 0, "prev": 0, "next": 3, "last": 4}),
        ("limit=2&offset=3", 5, {"first": 0, "prev": 1, "last": 4}),
        ("limit=2&offset=4", 5, {"first": 0, "prev": 2, "last": 4}),
        ("limit=2&offset=5", 5, {"first": 0, "prev": 4, "last": 4}),
        ("limit=2&offset=900", 5, {"first": 0, "prev": 4, "last": 4}),
        ("limit=2", 2, {"first": 0, "last": 0}),
        (f"limit=2&agent_id={AGENT}", 5, {"first": 0, "next": 2, "last": 4}),
    ],
)
def test_link_names_the_neighbours_of_a_page(
    memory_service: Service, query: str, sessions: int, links: dict[str, int]
) -> None:
    memory_service.put(*(session(number) for number in range(sessions)))
    memory_service.drain()
    kept = f"agent_id={AGENT}&" if "agent_id" in query else ""
    expected = ", ".join(f'<?{kept}offset={offset}&limit=2>; rel="{name}"' for name, offset in links.items())
    assert memory_service.get(query).headers.get("Link") == (expected or None)


def test_the_default_limit_stands_in_the_links(memory_service: Service) -> None:
    memory_service.put(session(1))
    assert memory_service.get().links == {"first": "?offset=0&limit=20", "last": "?offset=0&limit=20"}
