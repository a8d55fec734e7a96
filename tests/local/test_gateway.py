"""The gateway of the local API: events as the real one makes them, routes, the authorizer's word, bad answers."""

import json
from typing import Any

import pytest

from ops.local.container import FunctionFailed, FunctionTimedOut
from ops.local.gateway import Answer, Gateway, Request, allows, authorizer_event, match, proxy_event, query_pairs
from tests.service import ROOT, TEMPLATE

KEY = "evr_local_00000000000000000000000000000001"
OK = {"statusCode": 200, "multiValueHeaders": {"Content-Type": ["text/plain"]}, "body": "hello"}
ARN = "arn:aws:execute-api:eu-west-1:123456789012:local/live/GET/v1/sessions"


def policy(effect: str = "Allow", action: str = "execute-api:Invoke", resource: str = ARN) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Action": action, "Effect": effect, "Resource": resource}]}


ALLOWED = {"principalId": "org_1", "policyDocument": policy(), "context": {"organization_id": "org_1"}}


class Functions:
    """Functions that say what a test tells them to, and remember what they were asked."""

    def __init__(self, authorize: Any = ALLOWED, answer: Any = OK) -> None:
        self.events: dict[str, list[dict[str, Any]]] = {"authorize": [], "list_sessions": []}
        self._answers = {"authorize": authorize, "list_sessions": answer}
        self.gateway = Gateway(TEMPLATE, {name: self._invoke(name) for name in self._answers})

    def _invoke(self, name: str) -> Any:
        def invoke(event: dict[str, Any], _seconds: float) -> Any:
            self.events[name].append(json.loads(json.dumps(event)))
            if isinstance(self._answers[name], Exception):
                raise self._answers[name]
            return self._answers[name]

        return invoke


def ask(functions: Functions, method: str = "GET", target: str = "/v1/sessions", key: str | None = KEY) -> Answer:
    headers = [("Host", "here"), ("User-Agent", "test")] + ([("Authorization", key)] if key is not None else [])
    return functions.gateway.answer(Request(method, target, headers))


def code(answer: Answer) -> tuple[int, str]:
    assert ("Content-Type", "application/json") in answer.headers
    assert dict(answer.headers)["X-Request-Id"]
    assert json.loads(answer.body).keys() == {"error"}
    assert json.loads(answer.body)["error"].keys() == {"code", "message"}
    return answer.status, json.loads(answer.body)["error"]["code"]


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
    request = Request("GET", real["path"] + (f"?{query}" if query else ""), headers)
    assert functions.gateway.answer(request).status == 200
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


def test_what_the_authorizer_says_reaches_the_function_as_text() -> None:
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


def test_of_repeated_names_the_last_value_stands_alone_and_all_stand_together() -> None:
    event = proxy_event(Request("GET", "/x?a=1&b=%C3%A9+%2B&a=&a=2&c", [("X-A", "1"), ("X-A", "2")]), "live")
    assert event["queryStringParameters"] == {"a": "2", "b": "é +", "c": ""}
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "", "2"], "b": ["é +"], "c": [""]}
    assert (event["headers"]["X-A"], event["multiValueHeaders"]["X-A"]) == ("2", ["1", "2"])


def test_a_body_is_passed_on_as_text() -> None:
    event = proxy_event(Request("POST", "/x", [], "{é".encode()), "live")
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
        ("GET", "/v1/sessions/", "/{proxy+}", False),
        ("GET", "/v1/sessions/x", "/{proxy+}", False),
        ("GET", "//v1/sessions", "/{proxy+}", False),
        ("GET", "/v1/%73essions", "/{proxy+}", False),
        ("GET", "/V1/sessions", "/{proxy+}", False),
        ("PUT", "/a/b/c", "/{proxy+}", False),
    ],
)
def test_a_request_takes_the_most_exact_route(method: str, path: str, resource: str, asks_for_key: bool) -> None:
    functions = Functions()
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
    ("answer", "expected"),
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
def test_a_function_that_fails_or_answers_nonsense_is_answered_for(answer: Any, expected: tuple[int, str]) -> None:
    assert code(ask(Functions(answer=answer))) == expected


def test_the_answer_of_a_function_is_passed_on_as_it_is() -> None:
    answer = {
        "statusCode": 418,
        "headers": {"X-A": "1", "X-B": 2},
        "multiValueHeaders": {"X-B": ["3", "4"]},
        "body": "é",
    }
    assert ask(Functions(answer=answer)) == (
        418,
        [("X-A", "1"), ("X-B", "3"), ("X-B", "4"), ("Content-Type", "application/json")],
        "é".encode(),
    )


def test_a_fault_of_the_gateway_itself_is_an_internal_error(capsys: pytest.CaptureFixture[str]) -> None:
    gateway = Gateway(TEMPLATE, {})
    assert code(gateway.answer(Request("GET", "/", []))) == (500, "internal_error")
    assert "KeyError" in capsys.readouterr().err


def test_an_unavailable_service_says_when_to_come_back() -> None:
    answer = ask(Functions(answer=FunctionTimedOut("list_sessions")))
    assert dict(answer.headers)["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("resource", "path", "parameters"),
    [
        ("/a", "/a", {}),
        ("/a", "/a/", None),
        ("/a.b", "/axb", None),
        ("/{id}", "/a%2Fb", {"id": "a/b"}),
        ("/{id}", "/a/b", None),
        ("/x/{id}/y", "/x/1/y", {"id": "1"}),
        ("/{proxy+}", "/a/b", {"proxy": "a/b"}),
        ("/{proxy+}", "/", None),
    ],
)
def test_a_path_is_matched_with_a_resource(resource: str, path: str, parameters: dict[str, str] | None) -> None:
    assert match(resource, path) == parameters


def test_an_authorizer_gets_no_body() -> None:
    event = proxy_event(Request("POST", "/x", [], b"secret"), "live")
    assert "body" not in authorizer_event(event)
