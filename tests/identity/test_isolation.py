"""No response holds or counts anything of an organization that the caller does not belong to."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from tests.service import AGENT, ORGANIZATION, OTHER_AGENT, OTHER_ORGANIZATION, Response, Service, newest_first, session

ORGANIZATIONS = [ORGANIZATION, OTHER_ORGANIZATION, "org_" + "a" * 31, "org_" + "a" * 33]
AGENTS = [AGENT, OTHER_AGENT]
UNAUTHORIZED = {"error": {"code": "unauthorized", "message": "The API key is missing, unknown, expired or revoked."}}
FORBIDDEN = {
    "error": {
        "code": "forbidden",
        "message": "X-Org-Id names an organization that this API key does not belong to.",
    }
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
    with mock_aws():
        service = Service()
        everything = [
            session(number, organization_id=owner, agent_id=agent) for number, (owner, agent) in enumerate(owners)
        ]
        service.put(*everything)
        service.drain()
        own = newest_first(
            entry
            for entry in everything
            if entry["organization_id"] == caller and agent_id in (None, entry["agent_id"])
        )
        query = f"offset={offset}&limit={limit}" + (f"&agent_id={agent_id}" if agent_id else "")
        response = service.get(query, organization=caller)
        assert response.body == {
            "data": own[offset : offset + limit],
            "total": len(own),
            "offset": offset,
            "limit": limit,
        }
        assert all(other not in response.text.replace(caller, "") for other in ORGANIZATIONS if other != caller)


def test_an_organization_named_like_the_agent_of_another_one_is_refused(service: Service) -> None:
    service.put(*map(session, range(40)))
    service.drain()
    response = service.get("offset=2147483647", organization=f"{ORGANIZATION}#{AGENT}")
    assert (response.status, response.body) == (401, UNAUTHORIZED)


@pytest.mark.parametrize("context", [{}, {"organization_id": ""}, {"organization_id": None}, {"organization_id": 7}])
def test_without_an_organization_from_the_authorizer_nothing_is_listed(
    service: Service, context: dict[str, Any]
) -> None:
    service.put(session(1))
    response = service.get(organization=None, context=context)
    assert (response.status, response.body) == (401, UNAUTHORIZED)


@pytest.mark.parametrize("query", [f"organization_id={ORGANIZATION}", f"org_id={ORGANIZATION}"])
def test_an_organization_in_the_query_is_an_unknown_parameter(service: Service, query: str) -> None:
    assert service.get(query, organization=OTHER_ORGANIZATION).status == 400


def with_org_header(service: Service, *values: str, name: str = "X-Org-Id") -> Response:
    headers = {name: values[-1]} if values else {}
    return service.get(headers=headers, multiValueHeaders={name: list(values)})


@pytest.mark.parametrize("name", ["X-Org-Id", "x-org-id", "X-ORG-ID"])
def test_x_org_id_of_another_organization_is_forbidden(service: Service, name: str) -> None:
    response = with_org_header(service, OTHER_ORGANIZATION, name=name)
    assert (response.status, response.body) == (403, FORBIDDEN)
    assert with_org_header(service, ORGANIZATION, OTHER_ORGANIZATION, name=name).status == 403
    assert with_org_header(service, ORGANIZATION, name=name).status == 200


@pytest.mark.parametrize("several", [None, {}])
def test_an_x_org_id_that_an_event_names_only_once_counts_as_well(
    service: Service, several: dict[str, Any] | None
) -> None:
    headers = {"x-org-id": OTHER_ORGANIZATION}
    assert service.get(headers=headers, multiValueHeaders=several).status == 403


def test_a_blank_x_org_id_names_nothing(service: Service) -> None:
    assert with_org_header(service, "").status == 200


def test_a_key_that_the_gateway_remembers_is_refused_in_the_second_it_expires(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = {"expires_at": "2000000000"}
    monkeypatch.setattr(time, "time", lambda: 1999999999.9)
    assert service.get(context=context).status == 200
    monkeypatch.setattr(time, "time", lambda: 2000000000.0)
    response = service.get(context=context)
    assert (response.status, response.body) == (401, UNAUTHORIZED)


@pytest.mark.parametrize("expires_at", [None, ""])
def test_a_key_without_an_expiry_does_not_expire(service: Service, expires_at: str | None) -> None:
    assert service.get(context={"expires_at": expires_at}).status == 200


@pytest.mark.parametrize("expires_at", ["soon", "1e12", "-", "９９９９９９９９９９９９x"])
def test_an_expiry_that_cannot_be_read_is_no_key(service: Service, expires_at: str) -> None:
    assert service.get(context={"expires_at": expires_at}).status == 401
