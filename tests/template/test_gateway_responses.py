"""The gateway's own responses: the contract's form, for every type of response that it knows."""

import json
from typing import Any

import botocore.session
import pytest

from sessions.errors import ApiError, NotFound, Unauthorized, Unavailable
from tests.template.stack import TEXT, stack

# Status and code by type; None keeps the status that the gateway gives it.
EXPECTED = {
    "ACCESS_DENIED": ("401", "unauthorized"),
    "API_CONFIGURATION_ERROR": ("500", "internal_error"),
    "AUTHORIZER_CONFIGURATION_ERROR": ("503", "unavailable"),
    "AUTHORIZER_FAILURE": ("503", "unavailable"),
    "BAD_REQUEST_BODY": ("400", "bad_request"),
    "BAD_REQUEST_PARAMETERS": ("400", "bad_request"),
    "DEFAULT_4XX": (None, "bad_request"),
    "DEFAULT_5XX": ("500", "internal_error"),
    "EXPIRED_TOKEN": ("401", "unauthorized"),
    "INTEGRATION_FAILURE": ("503", "unavailable"),
    "INTEGRATION_TIMEOUT": ("503", "unavailable"),
    "INVALID_API_KEY": ("401", "unauthorized"),
    "INVALID_SIGNATURE": ("401", "unauthorized"),
    "MISSING_AUTHENTICATION_TOKEN": ("404", "not_found"),
    "QUOTA_EXCEEDED": ("429", "rate_limited"),
    "REQUEST_TOO_LARGE": ("413", "bad_request"),
    "RESOURCE_NOT_FOUND": ("404", "not_found"),
    "THROTTLED": ("429", "rate_limited"),
    "UNAUTHORIZED": ("401", "unauthorized"),
    "UNSUPPORTED_MEDIA_TYPE": ("415", "bad_request"),
    "WAF_FILTERED": ("403", "bad_request"),
}
HEADERS = {
    "Content-Type": "'application/json'",
    "Cache-Control": "'no-store'",
    "X-Request-Id": "context.requestId",
    "Access-Control-Allow-Origin": "'*'",
    "Access-Control-Expose-Headers": "'Retry-After,X-Request-Id'",
}


def responses() -> dict[str, dict[str, Any]]:
    body = stack().properties("Api")["Body"]
    found: dict[str, dict[str, Any]] = body["x-amazon-apigateway-gateway-responses"]
    return found


def headers(response: dict[str, Any]) -> dict[str, str]:
    prefix = "gatewayresponse.header."
    assert all(name.startswith(prefix) for name in response["responseParameters"])
    return {name.removeprefix(prefix): value for name, value in response["responseParameters"].items()}


def test_every_type_that_the_gateway_knows_has_a_response_of_ours() -> None:
    service = botocore.session.get_session().get_service_model("apigateway")
    assert set(responses()) == set(service.shape_for("GatewayResponseType").enum) == set(EXPECTED)


@pytest.mark.parametrize("kind", sorted(EXPECTED))
def test_a_response_has_the_status_and_the_envelope_of_the_contract(kind: str) -> None:
    response = responses()[kind]
    status, code = EXPECTED[kind]
    assert response.get("statusCode") == status
    assert list(response["responseTemplates"]) == ["application/json"]
    body = json.loads(response["responseTemplates"]["application/json"])
    assert body == {"error": {"code": code, "message": body["error"]["message"]}}
    assert body["error"]["message"]


@pytest.mark.parametrize("kind", sorted(EXPECTED))
def test_a_response_has_the_headers_of_the_contract_and_browsers_may_read_it(kind: str) -> None:
    retry = {"Retry-After": "'1'"} if EXPECTED[kind][0] in ("429", "503") else {}
    assert headers(responses()[kind]) == HEADERS | retry


def test_no_response_repeats_the_text_of_the_gateway() -> None:
    for response in responses().values():
        assert "$" not in response["responseTemplates"]["application/json"]
        assert not any("request." in value for value in headers(response).values())
    assert "context.error.message" not in TEXT.replace("($context.error.*)", "")


@pytest.mark.parametrize(
    ("kind", "error"),
    [("ACCESS_DENIED", Unauthorized), ("INTEGRATION_TIMEOUT", Unavailable), ("RESOURCE_NOT_FOUND", NotFound)],
)
def test_the_gateway_and_the_function_use_one_code_for_one_thing(kind: str, error: type[ApiError]) -> None:
    assert EXPECTED[kind][1] == error.code
