"""The API: its routes, throttling, access log, and the gateway's own responses in the contract's form."""

from __future__ import annotations

import json
import re
from typing import Any

import botocore.session
import pytest

from sessions.errors import ApiError, InternalError, NotFound, Unauthorized, Unavailable
from tests.template.stack import WHOLE, Stack, stack

ANY = "x-amazon-apigateway-any-method"

LOGGED = {
    *("requestId", "requestTime", "authorizer.principalId", "httpMethod", "resourcePath", "status"),
    *("error.responseType", "responseLatency", "responseLength", "integration.status"),
    *("integration.integrationStatus", "integration.latency", "authorizer.status", "authorizer.latency", "xrayTraceId"),
}
"""Variables that hold ids, numbers and the gateway's own words ('Variables for access logging for API Gateway').

Others can repeat a header (error.message, authorizer.error, integrationErrorMessage) or the request (path).
"""

SHARED: dict[str, type[ApiError]] = {
    "unauthorized": Unauthorized,
    "not_found": NotFound,
    "unavailable": Unavailable,
    "internal_error": InternalError,
}
"""Codes that both the gateway and the function send."""


def body(found: Stack) -> dict[str, Any]:
    definition: dict[str, Any] = found.properties("Api")["Body"]
    return definition


def methods() -> dict[str, dict[str, Any]]:
    paths = body(stack())["paths"]
    return {f"{name} {path}": method for path, each in paths.items() for name, method in each.items()}


def settings() -> set[tuple[str, str]]:
    [stage] = stack().of_type("AWS::ApiGateway::Stage").values()
    return {(each["HttpMethod"], each["ResourcePath"]) for each in stage["MethodSettings"]}


def access_log(**parameters: str) -> dict[str, str]:
    [stage] = stack(**parameters).of_type("AWS::ApiGateway::Stage").values()
    line: dict[str, str] = json.loads(stage["AccessLogSetting"]["Format"])
    return line


def test_every_method_has_a_route_and_the_list_alone_needs_a_key() -> None:
    # `sam local` merges GET and ANY of one path, so the methods of the list are spelled out.
    others = {"delete", "get", "head", "options", "patch", "post", "put"}
    assert set(methods()) == {f"{name} /v1/sessions" for name in others} | {f"{ANY} /", f"{ANY} /{{proxy+}}"}
    assert {name for name, method in methods().items() if method["security"]} == {"get /v1/sessions"}


def test_settings_encode_the_path_of_their_method() -> None:
    # 'AWS::ApiGateway::Stage MethodSetting': `/resource/subresource` is written `/~1resource~1subresource`.
    for method, path in settings() - {("*", "/*")}:
        assert "/" not in path[1:]
        assert method.lower() in body(stack())["paths"][path[1:].replace("~1", "/")]


def test_the_access_log_holds_no_text_of_a_caller() -> None:
    variables = [re.fullmatch(r"\$context\.([\w.]+)", value) for value in access_log().values()]
    assert {each[1] for each in variables if each} == LOGGED
    added = {name: value for name, value in access_log(AccessLogClients="yes").items() if name not in access_log()}
    assert set(added.values()) == {"$context.identity.sourceIp", "$context.identity.userAgent"}


@pytest.mark.parametrize(("wish", "disabled"), [("yes", False), ("no", True)])
def test_the_default_endpoint_can_be_closed(wish: str, disabled: bool) -> None:
    # 'x-amazon-apigateway-endpoint-configuration': OpenAPI 3.0 has it under a server.
    definition = body(stack(**WHOLE, DefaultEndpoint=wish))
    [server] = definition["servers"]
    assert server["x-amazon-apigateway-endpoint-configuration"] == {"disableExecuteApiEndpoint": disabled}
    assert "x-amazon-apigateway-endpoint-configuration" not in definition


def responses() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = body(stack())["x-amazon-apigateway-gateway-responses"]
    return found


def test_every_type_of_gateway_response_is_set() -> None:
    shape = botocore.session.get_session().get_service_model("apigateway").shape_for("GatewayResponseType")
    assert set(responses()) == set(shape.enum)


@pytest.mark.parametrize("kind", sorted(responses()))
def test_a_gateway_response_has_a_code_of_the_contract(kind: str) -> None:
    response = responses()[kind]
    [(content_type, text)] = response["responseTemplates"].items()
    error = json.loads(text)["error"]
    assert (content_type, set(error)) == ("application/json", {"code", "message"})
    assert "$" not in text  # the gateway's own message can repeat the key
    if error["code"] in SHARED:
        same = SHARED[error["code"]]
        assert (response["statusCode"], error["message"]) == (str(same.status), same.message)
    else:
        status = response.get("statusCode", "4xx")  # the gateway keeps the status of the case
        assert error["code"] == ("rate_limited" if status == "429" else "bad_request")
        assert status.startswith("4")


@pytest.mark.parametrize("kind", sorted(responses()))
def test_a_gateway_response_has_the_headers_of_the_contract(kind: str) -> None:
    response = responses()[kind]
    retry = {"Retry-After": "'1'"} if response.get("statusCode") in ("429", "503") else {}
    headers = {
        "Content-Type": "'application/json'",
        "Cache-Control": "'no-store'",
        "X-Request-Id": "context.requestId",
        "Access-Control-Allow-Origin": "'*'",
        "Access-Control-Expose-Headers": "'Retry-After,X-Request-Id'",
    }
    prefix = "gatewayresponse.header."
    assert response["responseParameters"] == {prefix + name: value for name, value in (headers | retry).items()}
