"""Pages against the sorted list they are cut from, through the handler."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from tests.service import (
    AGENT,
    ORGANIZATION,
    OTHER_AGENT,
    OTHER_ORGANIZATION,
    Service,
    newest_first,
    session,
    small_limits,
)

AGENTS = [AGENT, OTHER_AGENT]

# Few distinct moments, so that ties in created_at, full minutes and empty months all occur.
moments = st.builds(
    "{}-{:02d}-0{}T{:02d}:{:02d}:00.00000{}Z".format,
    st.sampled_from([2025, 2026]),
    st.integers(1, 12),
    st.integers(1, 2),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 1),
)
lists = st.lists(st.tuples(moments, st.sampled_from(AGENTS)), max_size=60)


def stored(entries: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        session(number * 7919 % 1000, created_at=created_at, agent_id=agent_id)
        for number, (created_at, agent_id) in enumerate(entries)
    ]


@given(
    entries=lists,
    limit=st.integers(1, 100),
    agent_id=st.sampled_from([None, *AGENTS]),
    near=st.sampled_from([0, 1, 5, 100]),
)
def test_the_pages_joined_are_the_sorted_list(
    entries: list[tuple[str, str]], limit: int, agent_id: str | None, near: int
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch, mock_aws():
        # With a short walk, small lists go down to the minutes as large ones do.
        service = Service()
        small_limits(monkeypatch, scan_max=near)
        everything = stored(entries)
        service.put(*everything)
        service.drain()
        expected = newest_first(entry for entry in everything if agent_id in (None, entry["agent_id"]))
        query = f"&agent_id={agent_id}" if agent_id else ""

        joined: list[dict[str, Any]] = []
        next_page: str | None = f"?limit={limit}{query}"
        while next_page is not None:
            response = service.get(next_page[1:])
            assert response.body["total"] == len(expected)
            assert response.body["offset"] == len(joined)
            joined += response.body["data"]
            next_page = response.links.get("next")
        assert joined == expected


@given(entries=lists, data=st.data(), near=st.sampled_from([0, 1, 5, 100]))
def test_any_page_is_the_slice_of_the_sorted_list(
    entries: list[tuple[str, str]], data: st.DataObject, near: int
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch, mock_aws():
        service = Service()
        small_limits(monkeypatch, scan_max=near)
        everything = stored(entries)
        service.put(*everything)
        service.drain()
        for _ in range(10):
            agent_id = data.draw(st.sampled_from([None, *AGENTS]))
            offset, limit = data.draw(st.integers(0, len(entries) + 3)), data.draw(st.integers(1, 100))
            expected = newest_first(entry for entry in everything if agent_id in (None, entry["agent_id"]))
            response = service.get(f"offset={offset}&limit={limit}" + (f"&agent_id={agent_id}" if agent_id else ""))
            assert response.body == {
                "data": expected[offset : offset + limit],
                "total": len(expected),
                "offset": offset,
                "limit": limit,
            }


def test_ties_in_created_at_are_ordered_by_id_downwards(service: Service) -> None:
    tied = [session(number, created_at="2026-11-23T16:41:46.463925Z") for number in (3, 1, 2)]
    service.put(*tied)
    service.drain()
    assert service.get().ids == [f"session_{number:032x}" for number in (3, 2, 1)]


def test_a_page_of_large_entries_crosses_the_cursor_pages_of_1_mb(service: Service) -> None:
    large = [session(number, title=f"{number} " + "é" * 15_000) for number in range(80)]
    service.put(*large)
    service.drain()
    response = service.get("limit=75&offset=3")
    assert response.body["data"] == newest_first(large)[3:78]
    assert response.body["total"] == 80


def test_an_offset_past_the_end_has_the_true_total(service: Service) -> None:
    service.put(*(session(number) for number in range(3)))
    service.drain()
    for offset in (3, 4, 101, 2147483647):
        assert service.get(f"offset={offset}").body == {"data": [], "total": 3, "offset": offset, "limit": 20}


def test_entries_of_another_organization_are_on_no_page(service: Service) -> None:
    service.put(session(1), session(2, organization_id=OTHER_ORGANIZATION))
    service.drain()
    mine, theirs = service.get(), service.get(organization=OTHER_ORGANIZATION)
    assert (mine.body["total"], [entry["organization_id"] for entry in mine.body["data"]]) == (1, [ORGANIZATION])
    assert (theirs.body["total"], [entry["organization_id"] for entry in theirs.body["data"]]) == (
        1,
        [OTHER_ORGANIZATION],
    )


def test_a_deleted_session_leaves_the_list(service: Service) -> None:
    service.put(session(1), session(2))
    service.drain()
    service.delete(session(1)["id"])
    service.drain()
    response = service.get()
    assert response.ids == [session(2)["id"]]
    assert response.body["total"] == 1


@pytest.mark.parametrize(
    ("query", "entries", "links"),
    [
        ("", 0, {}),
        ("offset=5", 0, {}),
        ("", 1, {"first": "?offset=0&limit=20", "last": "?offset=0&limit=20"}),
        ("limit=2", 5, {"first": 0, "next": 2, "last": 4}),
        ("limit=2&offset=1", 5, {"first": 0, "prev": 0, "next": 3, "last": 4}),
        ("limit=2&offset=3", 5, {"first": 0, "prev": 1, "last": 4}),
        ("limit=2&offset=4", 5, {"first": 0, "prev": 2, "last": 4}),
        ("limit=2&offset=5", 5, {"first": 0, "prev": 4, "last": 4}),
        ("limit=2&offset=900", 5, {"first": 0, "prev": 4, "last": 4}),
        ("limit=5", 5, {"first": 0, "last": 0}),
        (f"limit=2&agent_id={AGENT}", 5, {"first": 0, "next": 2, "last": 4}),
    ],
)
def test_the_link_header_names_the_neighbours(
    service: Service, query: str, entries: int, links: dict[str, int | str]
) -> None:
    service.put(*(session(number) for number in range(entries)))
    service.drain()
    kept = f"agent_id={AGENT}&" if "agent_id" in query else ""
    expected = {
        name: f"?{kept}offset={target}&limit=2" if isinstance(target, int) and "limit=2" in query else target
        for name, target in links.items()
    }
    response = service.get(query)
    if query == "limit=5":
        expected = {"first": "?offset=0&limit=5", "last": "?offset=0&limit=5"}
    text = ", ".join(f'<{target}>; rel="{name}"' for name, target in expected.items())
    assert response.headers.get("Link", "") == text
    assert ("Link" in response.headers) == bool(expected)


def test_every_response_has_the_common_headers(service: Service) -> None:
    for response in (service.get(), service.get("limit=0"), service.get(organization=None)):
        assert response.headers["Cache-Control"] == "no-store"
        assert re.fullmatch(r"[0-9a-f-]{36}", response.headers["X-Request-Id"])
        assert response.headers["Content-Type"] == "application/json"
