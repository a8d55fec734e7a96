"""`DATA`: a file of sessions at the edges of the contract is served page by page as it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import urllib3

from tests.local.edge_cases import AGENTS, ORGANIZATION, OTHER_ORGANIZATION, Odd, newest_first, odd_sessions, pages
from tests.running import Running, local_api

BAD_LINES = {2: "nonsense", 9: "{}"}


class Served(NamedTuple):
    """A local API with a file of its own."""

    running: Running
    odd: list[Odd]

    def page(self, offset: int, limit: int, organization: str = ORGANIZATION, agent_id: str | None = None) -> Any:
        query = f"offset={offset}&limit={limit}" + (f"&agent_id={agent_id}" if agent_id else "")
        key = "evr_local_" + organization.removeprefix("org_")
        response = POOL.request("GET", f"{self.running.url}/v1/sessions?{query}", headers={"Authorization": key})
        assert response.status == 200, response.data
        return json.loads(response.data)


POOL = urllib3.PoolManager(retries=False)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    odd = odd_sessions(120, seed=2)
    lines = [each.line for each in odd]
    for number, line in BAD_LINES.items():
        lines.insert(number - 1, line)
    path = tmp_path_factory.mktemp("data") / "odd.ndjson"
    path.write_text("\n".join(lines), encoding="utf-8", newline="")
    with local_api(DATA=str(path)) as running:
        yield Served(running, odd)


def assert_pages(served: Served, expected: list[dict[str, Any]], limits: list[int], **of: str) -> None:
    for offset, limit in pages(len(expected), limits):
        assert served.page(offset, limit, **of) == {
            "data": expected[offset : offset + limit],
            "total": len(expected),
            "offset": offset,
            "limit": limit,
        }


def test_every_page_is_a_slice_of_the_sorted_list(served: Served) -> None:
    expected = newest_first(served.odd, organization_id=ORGANIZATION)
    assert 90 < len(expected) < 120
    assert len({entry["created_at"] for entry in expected}) < len(expected) - 30  # ties
    assert_pages(served, expected, [33, 100])


@pytest.mark.parametrize("agent_id", AGENTS)
def test_so_is_every_page_of_an_agent(served: Served, agent_id: str) -> None:
    expected = newest_first(served.odd, organization_id=ORGANIZATION, agent_id=agent_id)
    assert_pages(served, expected, [19], agent_id=agent_id)


def test_every_organization_of_the_file_has_a_key_and_its_own_sessions(served: Served) -> None:
    expected = newest_first(served.odd, organization_id=OTHER_ORGANIZATION)
    assert expected
    assert_pages(served, expected, [5], organization=OTHER_ORGANIZATION)
    screen = "\n".join(served.running.screen)
    assert f"{OTHER_ORGANIZATION}  {len(expected):8}  evr_local_{OTHER_ORGANIZATION[4:]}" in screen


def test_nothing_but_the_file_is_served(served: Served) -> None:
    key = {"Authorization": "evr_local_00000000000000000000000000000001"}
    assert POOL.request("GET", f"{served.running.url}/v1/sessions", headers=key).status == 401
