"""The gateway of the local API: events as the real one makes them, routes, authorizers, bad function output."""

import json
from typing import Any

import pytest
from werkzeug import Request, Response

from sessions_local.functions import FunctionFailed, Invocation
from sessions_local.gateway import Gateway, allows
from sessions_local.http_server import ALL_HEADERS
from sessions_local.proxy_events import authorizer_event, proxy_event
from tests.local.calls import KEY
from tests.service import ROOT, TEMPLATE

OK = {"statusCode": 200, "multiValueHeaders": {"Content-Type": ["text/plain"]}, "body": "hello"}
ARN = "arn:aws:execute-api:eu-west-1:123456789012:abcdef1234/live/GET/v1/sessions"


def policy(effect: str = "Allow", action: str = "execute-api:Invoke", resource: str = ARN) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Action": action, "Effect": effect, "Resource": resource}]}


CONTEXT = {"organization_id": "org_1", "key_name": "local"}
ALLOWED = {"principalId": "org_1", "policyDocument": policy(), "context": CONTEXT}


class Functions:
    """Functions that return or raise what a test says, and the events that they were given."""

    def __init__(self, authorize: Any = ALLOWED, response: Any = OK, metrics: dict[str, float] | None = None) -> None:
        self.events: dict[str, list[dict[str, Any]]] = {"authorize": [], "list_sessions": []}
        results = {"authorize": authorize, "list_sessions": response}

        def function(name: str) -> Any:
            def invoke(event: dict[str, Any]) -> Invocation:
                self.events[name].append(json.loads(json.dumps(event)))
                if isinstance(results[name], Exception):
                    raise results[name]
                return Invocation(results[name], metrics or {})

            return invoke

        self.gateway = Gateway(TEMPLATE, {name: function(name) for name in results})

    def ask(self, method: str = "GET", target: str = "/v1/sessions", key: str | None = KEY, **more: Any) -> Response:
        headers = {"User-Agent": "test"} | ({} if key is None else {"Authorization": key})
        return self.gateway.respond(Request.from_values(target, method=method, headers=headers, **more))


def code(response: Response) -> tuple[int, str]:
    assert response.content_type == "application/json"
    assert response.headers["X-Request-Id"]
    body: Any = response.json
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"code", "message"}
    return response.status_code, body["error"]["code"]


def shape(value: Any) -> Any:
    """The fields and types of an event."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else type(value)


def recorded(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text())
    return event


def as_sent(real: dict[str, Any]) -> Request:
    """The request that led to a recorded event."""
    added = {"X-Amzn-Trace-Id", "X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto"}
    headers = [(header, value) for header, value in real["headers"].items() if header not in added]
    pairs = (real["multiValueQueryStringParameters"] or {}).items()
    query = "&".join(f"{parameter}={value}" for parameter, values in pairs for value in values)
    environ = {"REMOTE_ADDR": "203.0.113.24", ALL_HEADERS: headers}
    return Request.from_values(f"{real['path']}?{query}", headers=headers, environ_overrides=environ)


@pytest.mark.parametrize("name", ["list_first_page", "list_deep_page", "list_agent", "list_bad_parameter"])
def test_an_event_has_the_form_of_a_recorded_one(name: str) -> None:
    real = recorded(name)
    functions = Functions()
    assert functions.gateway.respond(as_sent(real)).status_code == 200
    (event,) = functions.events["list_sessions"]
    assert shape(event) == shape(real)
    same = ("resource", "path", "queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "body")
    assert {field: event[field] for field in same} == {field: real[field] for field in same}
    assert event["requestContext"]["path"] == real["requestContext"]["path"]


def test_the_authorizers_event_has_the_form_of_a_recorded_one() -> None:
    real = recorded("authorize")
    functions = Functions()
    functions.gateway.respond(as_sent(real))
    (event,) = functions.events["authorize"]
    assert shape(event) == shape(real)
    assert event["methodArn"] == ARN


def test_the_authorizers_context_reaches_the_function_as_text() -> None:
    context = {"organization_id": "org_1", "number": 5, "truth": True, "nothing": None}
    functions = Functions(authorize=ALLOWED | {"context": context})
    assert functions.ask().status_code == 200
    authorizer = functions.events["list_sessions"][0]["requestContext"]["authorizer"]
    assert isinstance(authorizer.pop("integrationLatency"), int)
    as_text = {"organization_id": "org_1", "number": "5", "truth": "true", "nothing": None}
    assert authorizer == as_text | {"principalId": "org_1"}


def test_repeated_names_keep_all_values_and_the_last_one() -> None:
    environ = {ALL_HEADERS: [("X-A", "1"), ("X-A", "2")]}
    request = Request.from_values("/x?a=1&b=%C3%A9+%2B&a=&a=2&c", environ_overrides=environ)
    event = proxy_event(request, "live", "/x", {})
    assert event["queryStringParameters"] == {"a": "2", "b": "é +", "c": ""}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "", "2"], "b": ["é +"], "c": [""]}
    assert (event["headers"]["X-A"], event["multiValueHeaders"]["X-A"]) == ("2", ["1", "2"])


def test_a_body_reaches_the_function_alone() -> None:
    event = proxy_event(Request.from_values("/x", method="POST", data="{é"), "live", "/x", {})
    assert (event["body"], event["isBase64Encoded"]) == ("{é", False)
    assert "body" not in authorizer_event(event)


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
    request = Request.from_values(
        method=method, headers={"Authorization": KEY}, environ_overrides={"RAW_URI": path, "QUERY_STRING": ""}
    )
    assert functions.gateway.respond(request).status_code == 200
    (event,) = functions.events["list_sessions"]
    assert (event["resource"], event["path"], event["httpMethod"]) == (resource, path, method)
    assert event["pathParameters"] == ({"proxy": path[1:].replace("%73", "s")} if resource == "/{proxy+}" else None)
    assert bool(functions.events["authorize"]) is asks_for_key
    assert ("authorizer" in event["requestContext"]) is asks_for_key


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"method": "TRACE"}, (404, "not_found")),
        ({"method": "PROPFIND"}, (404, "not_found")),
        ({"method": "FOO"}, (404, "not_found")),
        ({"target": "*"}, (400, "bad_request")),
        ({"key": None}, (401, "unauthorized")),
        ({"key": ""}, (401, "unauthorized")),
        ({"method": "POST", "content_length": 10_485_761}, (413, "bad_request")),
    ],
    ids=str,
)
def test_some_requests_reach_no_function(asked: dict[str, Any], expected: tuple[int, str]) -> None:
    functions = Functions()
    assert code(functions.ask(**asked)) == expected
    assert functions.events == {"authorize": [], "list_sessions": []}


@pytest.mark.parametrize(
    ("authorize", "expected"),
    [
        (ALLOWED | {"policyDocument": policy("Deny")}, (401, "unauthorized")),
        (ALLOWED | {"policyDocument": policy(resource=ARN + "/other")}, (401, "unauthorized")),
        (ALLOWED | {"policyDocument": policy(action="s3:GetObject")}, (401, "unauthorized")),
        (FunctionFailed("Exception: Unauthorized"), (401, "unauthorized")),
        (FunctionFailed("Unavailable: no DynamoDB"), (503, "unavailable")),
        (None, (503, "unavailable")),
        ("Allow", (503, "unavailable")),
        ({"policyDocument": policy()}, (503, "unavailable")),
        (ALLOWED | {"context": {"a": ["list"]}}, (503, "unavailable")),
        (ALLOWED | {"policyDocument": {}}, (503, "unavailable")),
        (ALLOWED | {"policyDocument": policy("Perhaps")}, (503, "unavailable")),
    ],
)
def test_nothing_but_an_allow_leads_to_the_function(authorize: Any, expected: tuple[int, str]) -> None:
    functions = Functions(authorize=authorize)
    assert code(functions.ask()) == expected
    assert functions.events["list_sessions"] == []


@pytest.mark.parametrize(
    ("document", "allowed"),
    [
        (policy(), True),
        (policy(action="*"), True),
        (policy(action="execute-api:*"), True),
        (policy(resource="arn:aws:execute-api:eu-west-1:123456789012:abcdef1234/live/*"), True),
        (policy(resource="arn:aws:execute-api:*:*:*/live/G?T/v1/sessions"), True),
        (policy(resource="arn:aws:execute-api:eu-west-1:123456789012:other/live/*"), False),
        (policy(resource=ARN.replace("/sessions", ".sessions")), False),
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
    response = Functions(response=output).ask()
    assert code(response) == expected


def test_the_output_of_a_function_is_the_response() -> None:
    headers = {"headers": {"X-A": "1", "X-B": 2}, "multiValueHeaders": {"X-B": ["3", "4"]}}
    response = Functions(response={"statusCode": 418, "body": "é"} | headers).ask()
    assert (response.status_code, response.data) == (418, "é".encode())
    expected = [("X-A", "1"), ("X-B", "3"), ("X-B", "4"), ("Content-Type", "application/json"), ("Content-Length", "2")]
    assert sorted(response.headers) == sorted(expected)


def test_a_fault_of_the_gateway_is_an_internal_error(capsys: pytest.CaptureFixture[str]) -> None:
    response = Gateway(TEMPLATE, {}).respond(Request.from_values("/"))
    assert code(response) == (500, "internal_error")
    assert "KeyError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("metrics", "header"),
    [
        ({"Allowed": 1.0}, None),
        (
            {"Duration": 12.5, "RoundTrips": 2.0, "ReadUnits": 3.5, "ItemsRead": 20.0},
            'function;dur=12.5, round_trips;desc="2", read_units;desc="3.5"',
        ),
    ],
)
def test_the_functions_metrics_become_a_header(metrics: dict[str, float], header: str | None) -> None:
    assert Functions(metrics=metrics).ask().headers.get("Server-Timing") == header
