"""The API: who is asked for a key, what is routed where, and what the access log may say."""

import json
import re
from typing import Any

import pytest

from sessions.responses import cors_config
from tests.template.stack import PARAMETERS, ROOT, WHOLE, Stack, expand, stack

ALIAS = "ListSessionsFunction.Arn:live"
ANY = "x-amazon-apigateway-any-method"

# Variables that hold ids, numbers and words of the gateway ('Variables for access logging for API Gateway').
# Left out on purpose: error.message, error.messageString, authorizer.error, authorize.error, integration.error
# and integrationErrorMessage, which can repeat a header; path and requestOverride, which repeat the request.
LOGGED = {
    "requestId",
    "requestTime",
    "authorizer.principalId",
    "httpMethod",
    "resourcePath",
    "status",
    "error.responseType",
    "responseLatency",
    "responseLength",
    "integration.status",
    "integration.integrationStatus",
    "integration.latency",
    "authorizer.status",
    "authorizer.latency",
    "xrayTraceId",
}


def body_of(found: Stack) -> dict[str, Any]:
    made: dict[str, Any] = found.properties("Api")["Body"]
    return made


def body() -> dict[str, Any]:
    return body_of(stack())


def methods() -> dict[str, dict[str, Any]]:
    return {f"{name} {path}": method for path, each in body()["paths"].items() for name, method in each.items()}


def stage() -> dict[str, Any]:
    [found] = stack().of_type("AWS::ApiGateway::Stage").values()
    return found


def test_the_list_alone_asks_for_a_key() -> None:
    asks = {name for name, method in methods().items() if method["security"]}
    assert asks == {"get /v1/sessions"}
    assert methods()["get /v1/sessions"]["security"] == [{"ApiKey": []}]


def test_every_path_and_method_has_a_route() -> None:
    # What ANY stands for; the list spells it out, because `sam local` joins GET and ANY of one path.
    others = {"delete", "get", "head", "options", "patch", "post", "put"}
    routed = {f"{name} /v1/sessions" for name in others} | {f"{ANY} /", f"{ANY} /{{proxy+}}"}
    assert set(methods()) == routed


def test_every_route_calls_the_alias_of_the_list() -> None:
    uris = {method["x-amazon-apigateway-integration"]["uri"] for method in methods().values()}
    assert uris == {f"arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/{ALIAS}/invocations"}


def test_the_authorizer_is_called_by_its_alias_for_the_authorization_header() -> None:
    [(name, scheme)] = body()["components"]["securitySchemes"].items()
    assert name == "ApiKey"
    authorizer = scheme["x-amazon-apigateway-authorizer"]
    assert authorizer["type"] == "request"
    assert authorizer["identitySource"] == "method.request.header.Authorization"
    assert str(authorizer["authorizerResultTtlInSeconds"]) == "60"
    assert authorizer["authorizerUri"].endswith("/functions/AuthorizeFunction.Arn:live/invocations")


def test_the_gateway_may_call_both_aliases_and_nobody_else_may() -> None:
    permissions = stack().of_type("AWS::Lambda::Permission").values()
    arn = "arn:aws:execute-api:eu-west-1:123456789012:Api/"
    assert sorted((each["FunctionName"], each["Principal"], each["SourceArn"]) for each in permissions) == [
        ("AuthorizeFunctionAliaslive", "apigateway.amazonaws.com", arn + "authorizers/*"),
        ("ListSessionsFunctionAliaslive", "apigateway.amazonaws.com", arn + "*"),
    ]


def test_the_access_log_is_json_of_ids_and_numbers_alone() -> None:
    log = stage()["AccessLogSetting"]
    assert log["DestinationArn"] == "ApiLogs.Arn"
    line = json.loads(log["Format"])
    variables = [re.fullmatch(r"\$context\.([\w.]+)", value) for value in line.values()]
    assert {each[1] for each in variables if each} == LOGGED
    assert len(line) == len(LOGGED)
    assert line["request_id"] == "$context.requestId"
    assert line["organization_id"] == "$context.authorizer.principalId"


def test_the_stage_traces_measures_and_throttles_and_writes_no_execution_log() -> None:
    stack_ = stack(ThrottlingRate="7", ThrottlingBurst="9")
    [found] = stack_.of_type("AWS::ApiGateway::Stage").values()
    assert found["StageName"] == "live"
    assert found["TracingEnabled"] is True
    for settings in found["MethodSettings"]:
        assert settings["MetricsEnabled"] is True
        assert settings["LoggingLevel"] == "OFF"
        assert settings["DataTraceEnabled"] is False
    api = stack_.properties("Api")
    assert api["MinimumCompressionSize"] == 1024
    assert api["EndpointConfiguration"] == {"Types": ["REGIONAL"]}


def test_a_method_has_a_bucket_of_its_own_and_the_parameters_are_those_of_the_list() -> None:
    [found] = stack(ThrottlingRate="7", ThrottlingBurst="9").of_type("AWS::ApiGateway::Stage").values()
    buckets = {
        (each["HttpMethod"], each["ResourcePath"]): (each["ThrottlingRateLimit"], each["ThrottlingBurstLimit"])
        for each in found["MethodSettings"]
    }
    assert buckets == {
        ("*", "/*"): (10, 20),  # of every other method, each by itself
        ("GET", "/v1/sessions"): ("7", "9"),
        ("OPTIONS", "/v1/sessions"): ("7", "9"),
    }
    # The gateway rejects the settings of a method that does not exist.
    assert {("GET", "/v1/sessions"), ("OPTIONS", "/v1/sessions")} <= {
        (method.upper(), path) for path, each in body_of(stack())["paths"].items() for method in each
    }


def test_what_a_stranger_can_call_in_a_second_is_what_the_cost_table_says() -> None:
    methods_of = {ANY: 7}  # DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, counted as if each had its own bucket
    every = sum(methods_of.get(name.split()[0], 1) for name in methods())
    rate = int(PARAMETERS["ThrottlingRate"]["Default"])
    assert (every - 2) * 10 + 2 * rate == 390
    assert "390 requests a second" in (ROOT / "docs" / "deployment.md").read_text()


def test_the_access_log_names_callers_only_where_asked_for() -> None:
    [found] = stack(AccessLogClients="yes").of_type("AWS::ApiGateway::Stage").values()
    line = json.loads(found["AccessLogSetting"]["Format"])
    assert line.pop("source_ip") == "$context.identity.sourceIp"
    assert line.pop("user_agent") == "$context.identity.userAgent"
    assert line == json.loads(stage()["AccessLogSetting"]["Format"])


def test_a_domain_is_mapped_to_the_stage_under_its_base_path() -> None:
    with_path = stack(**WHOLE, BasePath="agents")
    assert with_path.properties("Domain") == {
        "DomainName": "api.example.com",
        "RegionalCertificateArn": WHOLE["CertificateArn"],
        "EndpointConfiguration": {"Types": ["REGIONAL"]},
        "SecurityPolicy": "TLS_1_2",
    }
    mapping = {"DomainName": "Domain", "RestApiId": "Api", "Stage": "ApiliveStage"}
    assert with_path.properties("DomainMapping") == mapping | {"BasePath": "agents"}
    assert stack(**WHOLE).properties("DomainMapping") == mapping
    assert with_path.outputs["Url"]["Value"] == "https://api.example.com/agents"
    assert stack(**WHOLE).outputs["Url"]["Value"] == "https://api.example.com"
    assert not {"Domain", "DomainMapping"} & set(stack().resources)


@pytest.mark.parametrize(("wish", "disabled"), [("yes", False), ("no", True)])
def test_the_default_endpoint_can_be_switched_off(wish: str, disabled: bool) -> None:
    body_ = body_of(stack(**WHOLE, DefaultEndpoint=wish))
    assert body_["x-amazon-apigateway-endpoint-configuration"] == {"disableExecuteApiEndpoint": disabled}


def test_a_web_acl_filters_the_stage() -> None:
    assert stack(**WHOLE).properties("WebAclAssociation") == {
        "ResourceArn": "arn:aws:apigateway:eu-west-1::/restapis/Api/stages/ApiliveStage",
        "WebACLArn": WHOLE["WebAclArn"],
    }
    assert "WebAclAssociation" not in stack().resources


def test_the_api_is_deployed_anew_with_every_deployment_of_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    # A stage serves the snapshot of its deployment, whatever has changed in the API since.
    names = []
    for moment in (1_700_000_000, 1_700_000_060):
        monkeypatch.setattr("time.time", lambda moment=moment: moment)
        expanded, _ = expand()
        names += [name for name, each in expanded["Resources"].items() if each["Type"] == "AWS::ApiGateway::Deployment"]
    assert len(set(names)) == 2


def test_the_time_that_a_key_is_remembered_is_held_by_the_api() -> None:
    assert body_of(stack()) != body_of(stack(AuthorizerCacheSeconds="0"))


def test_the_access_log_waits_for_the_role_of_the_account_where_the_stack_gives_it() -> None:
    given, left = stack(GatewayAccountRole="yes"), stack(GatewayAccountRole="no")
    assert given.resources["ApiLogs"]["Metadata"]["WritableBy"] == "GatewayAccount"
    assert given.properties("GatewayAccount") == {"CloudWatchRoleArn": "GatewayAccountLogsRole.Arn"}
    assert not {"GatewayAccount", "GatewayAccountLogsRole"} & set(left.resources)
    # It overwrites a setting of the whole account, so it must be asked for.
    assert PARAMETERS["GatewayAccountRole"]["Default"] == "no"


@pytest.mark.parametrize("origins", ["https://a.example", "https://a.example, https://b.example:8443"])
def test_the_function_gets_the_origins_that_browsers_may_call_from(origins: str) -> None:
    environment = stack(CorsOrigins=origins).properties("ListSessionsFunction")["Environment"]["Variables"]
    assert environment["CORS_ORIGINS"] == origins
    cors = cors_config(environment["CORS_ORIGINS"])
    assert cors is not None
    assert cors.to_dict("https://a.example")["Access-Control-Allow-Origin"] == "https://a.example"
