"""The gateway of the local API: events as the real one makes them, routes, authorizers, bad function output."""

import json
from typing import Any

import pytest

from sessions_local.gateway import Gateway, allows, path_parameters
from sessions_local.http_server import HttpRequest, HttpResponse
from sessions_local.lambda_runtime import FunctionFailed, FunctionTimedOut, Invocation
from sessions_local.proxy_events import LambdaEventConverter, query_pairs
from tests.service import ROOT, TEMPLATE

KEY = "evr_local_00000000000000000000000000000001"
OK = {"statusCode": 200, "multiValueHeaders": {"Content-Type": ["text/plain"]}, "body": "hello"}
ARN = "arn:aws:execute-api:eu-west-1:123456789012:local/live/GET/v1/sessions"


def policy(effect: str = "Allow", action: str = "execute-api:Invoke", resource: str = ARN) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Action": action, "Effect": effect, "Resource": resource}]}


EVENTS = LambdaEventConverter("live")
ALLOWED = {"principalId": "org_1", "policyDocument": policy(), "context": {"organization_id": "org_1"}}


class Functions:
    """Functions that say what a test tells them to, and remember what they were asked."""

    def __init__(self, authorize: Any = ALLOWED, response: Any = OK) -> None:
        self.events: dict[str, list[dict[str, Any]]] = {"authorize": [], "list_sessions": []}
        self._responses = {"authorize": authorize, "list_sessions": response}
        self.gateway = Gateway(TEMPLATE, {name: self._invoke(name) for name in self._responses})

    def _invoke(self, name: str) -> Any:
        def invoke(event: dict[str, Any]) -> Invocation:
            self.events[name].append(json.loads(json.dumps(event)))
            if isinstance(self._responses[name], Exception):
                raise self._responses[name]
            return Invocation(self._responses[name], {})

        return invoke


def ask(functions: Functions, method: str = "GET", target: str = "/v1/sessions", key: str | None = KEY) -> HttpResponse:
    headers = [("Host", "here"), ("User-Agent", "test")] + ([("Authorization", key)] if key is not None else [])
    return functions.gateway.respond(HttpRequest(method, target, headers))


def code(response: HttpResponse) -> tuple[int, str]:
    assert ("Content-Type", "application/json") in response.headers
    assert dict(response.headers)["X-Request-Id"]
    assert response.json().keys() == {"error"}
    assert response.json()["error"].keys() == {"code", "message"}
    return response.status, response.json()["error"]["code"]


def shape(value: Any) -> Any:
    """The fields and types of an event; headers and parameters are the caller's."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value)


def recorded(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text())
    return event


@pytest.mark.parametrize("name", ["list_first_page", "list_deep_page", "list_agent", "list_bad_parameter"])
def test_an_event_has_the_form_of_a_recorded_one(name: str) -> None:
    real = recorded(name)
    added = {"X-Amzn-Trace-Id", "X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto"}
    headers = [(header, value) for header, value in real["headers"].items() if header not in added]
    query = "&".join(
        f"{parameter}={value}"
        for parameter, values in (real["multiValueQueryStringParameters"] or {}).items()
        for value in values
    )
    authorized = ALLOWED | {"context": {"organization_id": "org_1", "key_name": "local"}}
    functions = Functions(authorize=authorized)
    request = HttpRequest("GET", real["path"] + (f"?{query}" if query else ""), headers)
    assert functions.gateway.respond(request).status == 200
    (event,) = functions.events["list_sessions"]
    assert shape(event) == shape(real)
    same = ("resource", "path", "queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "body")
    assert {field: event[field] for field in same} == {field: real[field] for field in same}
    assert event["requestContext"]["path"] == real["requestContext"]["path"]


def test_the_authorizers_event_has_the_form_of_a_recorded_one() -> None:
    real = recorded("authorize")
    functions = Functions()
    ask(functions)
    (event,) = functions.events["authorize"]
    event["headers"] = event["multiValueHeaders"] = real["headers"] = real["multiValueHeaders"] = {}
    assert shape(event) == shape(real)
    assert event["methodArn"] == ARN


def test_the_context_of_the_authorizer_reaches_the_function_as_text() -> None:
    context = {"organization_id": "org_1", "number": 5, "truth": True, "nothing": None}
    functions = Functions(authorize=ALLOWED | {"context": context})
    assert ask(functions).status == 200
    authorizer = functions.events["list_sessions"][0]["requestContext"]["authorizer"]
    assert isinstance(authorizer.pop("integrationLatency"), int)
    assert authorizer == {
        "organization_id": "org_1",
        "number": "5",
        "truth": "true",
        "nothing": None,
        "principalId": "org_1",
    }


def test_a_repeated_name_keeps_its_last_value_alone_and_all_values_together() -> None:
    event = EVENTS.proxy_event(HttpRequest("GET", "/x?a=1&b=%C3%A9+%2B&a=&a=2&c", [("X-A", "1"), ("X-A", "2")]))
    assert event["queryStringParameters"] == {"a": "2", "b": "é +", "c": ""}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "", "2"], "b": ["é +"], "c": [""]}
    assert (event["headers"]["X-A"], event["multiValueHeaders"]["X-A"]) == ("2", ["1", "2"])


def test_a_body_is_passed_on_as_text() -> None:
    event = EVENTS.proxy_event(HttpRequest("POST", "/x", [], "{é".encode()))
    assert (event["body"], event["isBase64Encoded"]) == ("{é", False)


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("", []),
        ("&&", []),
        ("=", [("", "")]),
        ("a=b=c", [("a", "b=c")]),
        ("a;b=1", [("a;b", "1")]),
        ("a=%zz%", [("a", "%zz%")]),
        ("a=%ff", [("a", "�")]),
        ("%61=%00", [("a", "\0")]),
    ],
)
def test_odd_query_strings_are_decoded_without_complaint(query: str, pairs: list[tuple[str, str]]) -> None:
    assert query_pairs(query) == pairs


@pytest.mark.parametrize(
    ("method", "path", "resource", "asks_for_key"),
    [
        ("GET", "/v1/sessions", "/v1/sessions", True),
        ("POST", "/v1/sessions", "/v1/sessions", False),
        ("OPTIONS", "/v1/sessions", "/v1/sessions", False),
        ("HEAD", "/v1/sessions", "/v1/sessions", False),
        ("GET", "/", "/", False),
        ("DELETE", "/", "/", False),
        ("GET", "/v1/sessions/", "/v1/sessions", True),
        ("GET", "/v1/sessions/x", "/{proxy+}", False),
        ("GET", "//v1/sessions", "/{proxy+}", False),
        ("GET", "/v1/%73essions", "/{proxy+}", False),
        ("GET", "/V1/sessions", "/{proxy+}", False),
        ("PUT", "/a/b/c", "/{proxy+}", False),
    ],
)
def test_a_request_takes_the_most_exact_route(method: str, path: str, resource: str, asks_for_key: bool) -> None:
    functions = Functions(authorize=ALLOWED | {"policyDocument": policy(resource=ARN.replace("GET/v1/sessions", "*"))})
    assert ask(functions, method, path).status == 200
    (event,) = functions.events["list_sessions"]
    assert (event["resource"], event["path"], event["httpMethod"]) == (resource, path, method)
    assert event["pathParameters"] == ({"proxy": path[1:].replace("%73", "s")} if resource == "/{proxy+}" else None)
    assert bool(functions.events["authorize"]) is asks_for_key
    assert ("authorizer" in event["requestContext"]) is asks_for_key


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "get", "FOO"])
def test_a_method_that_the_gateway_does_not_know_has_no_route(method: str) -> None:
    functions = Functions()
    assert code(ask(functions, method)) == (404, "not_found")
    assert functions.events == {"authorize": [], "list_sessions": []}


@pytest.mark.parametrize("key", [None, ""])
def test_without_a_key_nobody_is_asked(key: str | None) -> None:
    functions = Functions()
    assert code(ask(functions, key=key)) == (401, "unauthorized")
    assert functions.events == {"authorize": [], "list_sessions": []}


@pytest.mark.parametrize(
    ("authorize", "expected"),
    [
        (ALLOWED | {"policyDocument": policy("Deny")}, (401, "unauthorized")),
        (ALLOWED | {"policyDocument": policy(resource=ARN + "/other")}, (401, "unauthorized")),
        (ALLOWED | {"policyDocument": policy(action="s3:GetObject")}, (401, "unauthorized")),
        (FunctionFailed("Exception: Unauthorized"), (401, "unauthorized")),
        (FunctionFailed("Unavailable: no DynamoDB"), (503, "unavailable")),
        (FunctionTimedOut("authorize"), (503, "unavailable")),
        (None, (503, "unavailable")),
        ("Allow", (503, "unavailable")),
        ({"policyDocument": policy()}, (503, "unavailable")),
        (ALLOWED | {"context": {"a": ["list"]}}, (503, "unavailable")),
        (ALLOWED | {"policyDocument": {}}, (503, "unavailable")),
        (ALLOWED | {"policyDocument": policy("Perhaps")}, (503, "unavailable")),
    ],
)
def test_nothing_but_an_allow_for_this_method_leads_to_the_function(authorize: Any, expected: tuple[int, str]) -> None:
    functions = Functions(authorize=authorize)
    assert code(ask(functions)) == expected
    assert functions.events["list_sessions"] == []


@pytest.mark.parametrize(
    ("document", "allowed"),
    [
        (policy(), True),
        (policy(action="*"), True),
        (policy(action="execute-api:*"), True),
        (policy(resource="arn:aws:execute-api:eu-west-1:123456789012:local/live/*"), True),
        (policy(resource="arn:aws:execute-api:*:*:*/live/G?T/v1/sessions"), True),
        (policy(resource="arn:aws:execute-api:eu-west-1:123456789012:other/live/*"), False),
        (policy(resource="arn:aws:execute-api:eu-west-1:123456789012:local/live/GET/v1.sessions"), False),
        ({"Statement": []}, False),
        ({"Statement": [*policy()["Statement"], *policy("Deny", resource="*")["Statement"]]}, False),
        ({"Statement": {"Effect": "Allow", "Action": ["a", "execute-api:Invoke"], "Resource": ["b", ARN]}}, True),
    ],
)
def test_a_policy_is_read_as_iam_reads_it(document: dict[str, Any], allowed: bool) -> None:
    assert allows(document, ARN) is allowed


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (FunctionFailed("ValueError: x"), (500, "internal_error")),
        (FunctionTimedOut("list_sessions"), (503, "unavailable")),
        (None, (500, "internal_error")),
        ("hello", (500, "internal_error")),
        ({"body": "hello"}, (500, "internal_error")),
        ({"statusCode": "yes"}, (500, "internal_error")),
        ({"statusCode": 200, "body": {"a": 1}}, (500, "internal_error")),
        ({"statusCode": 200, "headers": ["a"]}, (500, "internal_error")),
        ({"statusCode": 200, "headers": {"X": "a\r\nSet-Cookie: b"}}, (500, "internal_error")),
    ],
)
def test_a_function_that_fails_is_an_error_of_the_contract(output: Any, expected: tuple[int, str]) -> None:
    assert code(ask(Functions(response=output))) == expected


def test_the_output_of_a_function_is_passed_on_as_it_is() -> None:
    output = {
        "statusCode": 418,
        "headers": {"X-A": "1", "X-B": 2},
        "multiValueHeaders": {"X-B": ["3", "4"]},
        "body": "é",
    }
    assert ask(Functions(response=output)) == HttpResponse(
        418, [("X-A", "1"), ("X-B", "3"), ("X-B", "4"), ("Content-Type", "application/json")], "é".encode()
    )


def test_a_fault_of_the_gateway_itself_is_an_internal_error(capsys: pytest.CaptureFixture[str]) -> None:
    gateway = Gateway(TEMPLATE, {})
    assert code(gateway.respond(HttpRequest("GET", "/", []))) == (500, "internal_error")
    assert "KeyError" in capsys.readouterr().err


def test_an_unavailable_service_says_when_to_come_back() -> None:
    response = ask(Functions(response=FunctionTimedOut("list_sessions")))
    assert dict(response.headers)["Retry-After"] == "1"


ORIGIN = "https://console.example.com"


def test_a_gateway_response_has_the_cors_headers_of_a_page_for_an_allowed_origin() -> None:
    gateway = Gateway(TEMPLATE, {}, [ORIGIN])
    headers = dict(gateway.respond(HttpRequest("GET", "/v1/sessions", [("Origin", ORIGIN)])).headers)
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    assert headers["Access-Control-Expose-Headers"] == "Link,Retry-After,X-Request-Id"
    assert headers["Vary"] == "Origin"


def test_the_metrics_of_the_function_go_along_with_its_response() -> None:
    functions = Functions()
    invoke = {name: functions._invoke(name) for name in functions.events}
    invoke["list_sessions"] = lambda _: Invocation(OK, {"RoundTrips": 2.0})
    response = Gateway(TEMPLATE, invoke).respond(HttpRequest("GET", "/v1/sessions", [("Authorization", KEY)]))
    assert response.metrics == {"RoundTrips": 2.0}


@pytest.mark.parametrize(
    ("resource", "path", "parameters"),
    [
        ("/a", "/a", {}),
        ("/a", "/a/", {}),
        ("/a", "/a//", None),
        ("/", "/", {}),
        ("/a.b", "/axb", None),
        ("/{id}", "/a%2Fb", {"id": "a/b"}),
        ("/{id}", "/a/b", None),
        ("/x/{id}/y", "/x/1/y", {"id": "1"}),
        ("/{proxy+}", "/a/b", {"proxy": "a/b"}),
        ("/{proxy+}", "/a/b/", {"proxy": "a/b"}),
        ("/{proxy+}", "/", None),
    ],
)
def test_a_path_is_matched_with_a_resource(resource: str, path: str, parameters: dict[str, str] | None) -> None:
    assert path_parameters(resource, path) == parameters


def test_an_authorizer_gets_no_body() -> None:
    event = EVENTS.proxy_event(HttpRequest("POST", "/x", [], b"secret"))
    assert "body" not in EVENTS.authorizer_event(event)
