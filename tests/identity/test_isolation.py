"""No response holds or counts anything of an organization that the caller does not belong to."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service import (
    AGENT,
    ORGANIZATION,
    OTHER_AGENT,
    OTHER_ORGANIZATION,
    Response,
    Service,
    in_memory,
    newest_first,
    session,
)

ORGANIZATIONS = [ORGANIZATION, OTHER_ORGANIZATION, "org_" + "a" * 31, "org_" + "a" * 33]
AGENTS = [AGENT, OTHER_AGENT]
UNAUTHORIZED = {"error": {"code": "unauthorized", "message": "The API key is missing, unknown, expired or revoked."}}
FORBIDDEN = {
    "error": {"code": "forbidden", "message": "X-Org-Id names an organization that this API key does not belong to."}
}


@given(
    owners=st.lists(st.tuples(st.sampled_from(ORGANIZATIONS), st.sampled_from(AGENTS)), max_size=25),
    caller=st.sampled_from(ORGANIZATIONS),
    agent_id=st.sampled_from([None, *AGENTS, "agent_" + "9" * 32]),
    offset=st.integers(0, 30),
    limit=st.integers(1, 100),
)
def test_a_page_is_a_slice_of_the_callers_own_list(
    owners: list[tuple[str, str]], caller: str, agent_id: str | None, offset: int, limit: int
) -> None:
    everything = [
        session(number, organization_id=owner, agent_id=agent) for number, (owner, agent) in enumerate(owners)
    ]
    own = newest_first(
        each for each in everything if each["organization_id"] == caller and agent_id in (None, each["agent_id"])
    )
    with in_memory() as service:
        service.put(*everything)
        service.drain()
        response = service.get(f"offset={offset}&limit={limit}&agent_id={agent_id or ''}", organization=caller)
    page = own[offset : offset + limit]
    assert response.body == {"data": page, "total": len(own), "offset": offset, "limit": limit}
    assert all(other not in response.text.replace(caller, "") for other in ORGANIZATIONS if other != caller)


@pytest.mark.parametrize(
    "organization_id", [None, "", 7, f"{ORGANIZATION}#{AGENT}"], ids=["none", "empty", "number", "named like an agent"]
)
def test_only_an_organization_of_the_authorizer_lists(memory_service: Service, organization_id: Any) -> None:
    memory_service.put(*(session(number) for number in range(40)))
    memory_service.drain()
    for context in ({"organization_id": organization_id}, {}):
        response = memory_service.get("offset=2147483647", organization=None, context=context)
        assert (response.status, response.body) == (401, UNAUTHORIZED)


@pytest.mark.parametrize("name", ["organization_id", "org_id"])
def test_an_organization_in_the_query_is_refused(memory_service: Service, name: str) -> None:
    assert memory_service.get(f"{name}={ORGANIZATION}", organization=OTHER_ORGANIZATION).status == 400


def with_org_header(service: Service, *values: str, name: str = "X-Org-Id") -> Response:
    return service.get(headers={name: values[-1]}, multiValueHeaders={name: list(values)})


@pytest.mark.parametrize("name", ["X-Org-Id", "x-org-id", "X-ORG-ID"])
@pytest.mark.parametrize(
    ("values", "status"),
    [
        ((ORGANIZATION,), 200),
        (("",), 200),
        ((OTHER_ORGANIZATION,), 403),
        ((ORGANIZATION, OTHER_ORGANIZATION), 403),
        ((OTHER_ORGANIZATION, ORGANIZATION), 403),
    ],
)
def test_x_org_id_may_name_only_the_callers_organization(
    memory_service: Service, values: tuple[str, ...], name: str, status: int
) -> None:
    response = with_org_header(memory_service, *values, name=name)
    assert response.status == status
    assert status == 200 or response.body == FORBIDDEN


@pytest.mark.parametrize("several", [None, {}])
def test_x_org_id_counts_when_an_event_has_single_headers(
    memory_service: Service, several: dict[str, Any] | None
) -> None:
    response = memory_service.get(headers={"x-org-id": OTHER_ORGANIZATION}, multiValueHeaders=several)
    assert response.status == 403


@pytest.mark.parametrize(
    ("expires_at", "status"),
    [("2000000001", 200), ("2000000000", 401), (None, 200), ("", 200)]
    + [(value, 401) for value in ("soon", "1e12", "-", "９９９９９９９９９９９９x")],
)
def test_a_key_cached_by_the_gateway_expires_to_the_second(
    memory_service: Service, monkeypatch: pytest.MonkeyPatch, expires_at: str | None, status: int
) -> None:
    monkeypatch.setattr(time, "time", lambda: 2000000000.9)
    response = memory_service.get(context={"expires_at": expires_at})
    assert response.status == status
    assert status == 200 or response.body == UNAUTHORIZED
