"""Browsers of other origins: which may call, what their scripts may read, and what a preflight allows."""

from types import ModuleType
from typing import Any

import pytest

from tests.service import CONTEXT, ORGANIZATION, Response, Service, event, load, response_of

CONSOLE, STAGING = "https://console.example.com", "https://staging.example.com:8443"
STRANGER = "https://evil.example.com"


@pytest.fixture
def function(service: Service) -> ModuleType:
    """Return `list_sessions` of a stack that two origins may call."""
    return load("list_sessions", CORS_ORIGINS=f"{CONSOLE}, {STAGING}")


def call(function: ModuleType, origin: str | None, query: str = "", **changes: Any) -> Response:
    made = event(query, **changes)
    made["requestContext"]["authorizer"] = {"organization_id": ORGANIZATION}
    if origin is not None:
        made["headers"], made["multiValueHeaders"] = {"Origin": origin}, {"Origin": [origin]}
    return response_of(function.handler(made, CONTEXT))


def cors_headers(response: Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("Access-Control-")}


@pytest.mark.parametrize("origin", [CONSOLE, STAGING])
@pytest.mark.parametrize(
    ("status", "query", "changes"),
    [
        (200, "", {}),
        (400, "limit=0", {}),
        (404, "", {"resource": "/v1/sessions/{proxy+}", "path": "/v1/sessions/x"}),
        (405, "", {"httpMethod": "POST"}),
    ],
)
def test_an_allowed_origin_may_read_pages_and_errors(
    function: ModuleType, origin: str, status: int, query: str, changes: dict[str, str]
) -> None:
    response = call(function, origin, query, **changes)
    assert response.status == status
    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert set(response.headers["Access-Control-Expose-Headers"].split(",")) == {"Link", "Retry-After", "X-Request-Id"}
    assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", [STRANGER, None])
def test_another_origin_may_not_read_the_page(function: ModuleType, origin: str | None) -> None:
    response = call(function, origin)
    assert (response.status, cors_headers(response), response.headers["Vary"]) == (200, {}, "Origin")


def test_a_preflight_allows_get_with_the_contracts_headers(function: ModuleType) -> None:
    response = call(function, STAGING, httpMethod="OPTIONS")
    allowed = cors_headers(response)
    assert (response.status, response.text) == (204, "")
    assert allowed["Access-Control-Allow-Origin"] == STAGING
    assert "GET" in allowed["Access-Control-Allow-Methods"].split(",")
    assert {"Authorization", "Content-Type", "X-Org-Id"} <= set(allowed["Access-Control-Allow-Headers"].split(","))
    assert allowed["Access-Control-Max-Age"] == "600"
    assert "Access-Control-Allow-Credentials" not in allowed


def test_a_preflight_of_another_path_is_a_404(function: ModuleType) -> None:
    response = call(function, CONSOLE, httpMethod="OPTIONS", resource="/v1/{proxy+}", path="/v1/other")
    assert (response.status, response.body["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("OPTIONS", 405)])
def test_without_origins_no_browser_may_read(service: Service, method: str, status: int) -> None:
    response = call(service.function("list_sessions"), CONSOLE, httpMethod=method)
    assert (response.status, cors_headers(response), "Vary" in response.headers) == (status, {}, False)
