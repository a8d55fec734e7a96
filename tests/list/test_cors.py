"""Browsers of other origins: which may call, what their scripts may read, and what a preflight allows."""

from __future__ import annotations

import itertools
from types import ModuleType
from typing import Any

import pytest

from tests.service import CONTEXT, ORGANIZATION, TEMPLATE, Response, Service, event, load, response_of, session

CONSOLE, STAGING = "https://console.example.com", "https://staging.example.com:8443"
STRANGER = "https://evil.example.com"

numbers = itertools.count()


@pytest.fixture
def function(service: Service, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`list_sessions` of a stack that two origins may call, and a session that it lists."""
    for name, value in TEMPLATE.function("list_sessions").environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CORS_ORIGINS", f"{CONSOLE}, {STAGING}")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", f"list_sessions_{next(numbers)}")  # loggers live on by their names
    service.put(session(1))
    return load("list_sessions")


def ask(function: ModuleType, origin: str | None, query: str = "", **changes: Any) -> Response:
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
def test_pages_and_errors_can_be_read_from_an_allowed_origin(
    function: ModuleType, origin: str, status: int, query: str, changes: dict[str, str]
) -> None:
    response = ask(function, origin, query, **changes)
    assert response.status == status
    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert set(response.headers["Access-Control-Expose-Headers"].split(",")) == {"Link", "Retry-After", "X-Request-Id"}
    assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", [STRANGER, None])
def test_another_origin_gets_the_page_without_permission_to_read_it(function: ModuleType, origin: str | None) -> None:
    response = ask(function, origin)
    assert (response.status, cors_headers(response), response.headers["Vary"]) == (200, {}, "Origin")


def test_a_preflight_allows_get_with_the_headers_of_the_contract(function: ModuleType) -> None:
    response = ask(function, STAGING, httpMethod="OPTIONS")
    assert (response.status, response.text) == (204, "")
    assert response.headers["Access-Control-Allow-Origin"] == STAGING
    assert "GET" in response.headers["Access-Control-Allow-Methods"].split(",")
    assert {"Authorization", "Content-Type", "X-Org-Id"} <= set(
        response.headers["Access-Control-Allow-Headers"].split(",")
    )
    assert response.headers["Access-Control-Max-Age"] == "600"
    assert "Access-Control-Allow-Credentials" not in response.headers


def test_a_preflight_of_another_path_is_a_404(function: ModuleType) -> None:
    response = ask(function, CONSOLE, httpMethod="OPTIONS", resource="/v1/{proxy+}", path="/v1/other")
    assert (response.status, response.body["error"]["code"]) == (404, "not_found")


def test_without_origins_nothing_is_said_to_browsers(service: Service) -> None:
    for changes in ({}, {"httpMethod": "OPTIONS"}):
        response = ask(service.function("list_sessions"), CONSOLE, **changes)
        assert cors_headers(response) == {}
        assert "Vary" not in response.headers
        assert response.status == (405 if changes else 200)
