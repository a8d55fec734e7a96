"""API Gateway on this machine: a request into a REST proxy event, past the authorizer, to the function and back.

Routes, authorizer and the gateway's own answers are those of `template.yaml`. Not imitated: throttling,
compression, access logs, and the memory for authorizers' answers, so that a revoked key ends at once. Unlike
here, the real gateway takes a path with a slash at its end for the same resource.
"""

from __future__ import annotations

import re
import time
import traceback
import uuid
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, unquote_plus

from ops.local.container import FunctionFailed, FunctionTimedOut
from ops.local.template import ACCOUNT, REGION, GatewayResponse, Route, Template

INTEGRATION_SECONDS: Final = 29.0
"""After which the gateway gives up on a function ('Amazon API Gateway quotas')."""

API_ID: Final = "local"

ANY: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
"""The methods that `ANY` stands for ('Methods for REST APIs in API Gateway')."""

_STATUS: Final = {
    "ACCESS_DENIED": 403,
    "AUTHORIZER_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_FAILURE": 500,
    "DEFAULT_4XX": 400,
    "DEFAULT_5XX": 502,
    "INTEGRATION_TIMEOUT": 504,
    "MISSING_AUTHENTICATION_TOKEN": 403,
    "REQUEST_TOO_LARGE": 413,
    "UNAUTHORIZED": 401,
}
"""Statuses where the template does not say ('Gateway response types for API Gateway')."""

Invoke = Callable[[dict[str, Any], float], Any]
"""Calls a function with an event, waiting for so many seconds at most."""


class Request(NamedTuple):
    """What a client sent."""

    method: str
    target: str
    """Path and query as they were sent."""
    headers: list[tuple[str, str]]
    body: bytes = b""
    source_ip: str = "127.0.0.1"
    port: int = 80
    """The one that the client connected to."""
    protocol: str = "HTTP/1.1"


class Answer(NamedTuple):
    """What the client gets."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Refused(Exception):
    """The gateway answers by itself, with the gateway response of this type."""

    def __init__(self, kind: str, status: int | None = None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.status = status


class Gateway:
    """The API of a template, with its functions."""

    def __init__(self, template: Template, functions: Mapping[str, Invoke]) -> None:
        self._template = template
        self._functions = functions
        # A literal segment comes before a parameter, and both before the rest of a path.
        self._resources = sorted({route.resource for route in template.routes}, key=_rank)

    def answer(self, request: Request) -> Answer:
        """The answer to a request, whatever it is."""
        event = proxy_event(request, self._template.stage)
        try:
            return self._answer(request, event)
        except Refused as refused:
            return self.refusal(refused.kind, request.headers, refused.status, event["requestContext"]["requestId"])
        except Exception:
            traceback.print_exc()  # a fault of this imitation, not of the functions
            return self.refusal("DEFAULT_5XX", request.headers, None, event["requestContext"]["requestId"])

    def refusal(
        self, kind: str, headers: Iterable[tuple[str, str]], status: int | None = None, request_id: str | None = None
    ) -> Answer:
        """The gateway's own answer of a type.

        Args:
            headers: those of the request.
            status: what it is unless the template says; None for the type's default.
        """
        status = status or _STATUS[kind]
        responses = self._template.gateway_responses
        response = responses.get(kind) or responses[f"DEFAULT_{status // 100}XX"]
        return _gateway_answer(response, status, headers, request_id or str(uuid.uuid4()))

    def _answer(self, request: Request, event: dict[str, Any]) -> Answer:
        if not event["path"].startswith("/"):
            raise Refused("DEFAULT_4XX", 400)
        route, parameters = self._route(request.method, event["path"])
        event["resource"] = event["requestContext"]["resourcePath"] = route.resource
        event["pathParameters"] = parameters or None
        if route.authorizer is not None:
            event["requestContext"]["authorizer"] = self._authorize(route.authorizer, event)
        try:
            answer = self._functions[route.function](event, INTEGRATION_SECONDS)
        except FunctionTimedOut:
            raise Refused("INTEGRATION_TIMEOUT") from None
        except FunctionFailed:
            raise Refused("DEFAULT_5XX") from None
        return _function_answer(answer)

    def _route(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        for resource in self._resources:
            parameters = match(resource, path)
            if parameters is not None:
                methods = {route.method: route for route in self._template.routes if route.resource == resource}
                found = methods.get(method) or (methods.get("ANY") if method in ANY else None)
                if found is None:
                    break
                return found, parameters
        # What the gateway says of a path or a method that it has no route for.
        raise Refused("MISSING_AUTHENTICATION_TOKEN")

    def _authorize(self, name: str, event: dict[str, Any]) -> dict[str, Any]:
        """What the authorizer says of the caller, as the function gets it."""
        authorizer = self._template.authorizers[name]
        given = {key.lower(): value for key, value in event["headers"].items()}
        if not all(given.get(header.lower()) for header in authorizer.headers):
            raise Refused("UNAUTHORIZED")
        question = authorizer_event(event)
        started = time.monotonic()
        try:
            answer = self._functions[authorizer.function](question, INTEGRATION_SECONDS)
        except FunctionFailed as error:
            # The one message of an exception that the gateway knows.
            raise Refused("UNAUTHORIZED" if str(error).endswith(": Unauthorized") else "AUTHORIZER_FAILURE") from None
        except FunctionTimedOut:
            raise Refused("AUTHORIZER_FAILURE") from None
        try:
            allowed = allows(answer["policyDocument"], question["methodArn"])
            context = {key: _context_value(value) for key, value in (answer.get("context") or {}).items()}
            principal = str(answer["principalId"])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise Refused("AUTHORIZER_CONFIGURATION_ERROR") from None
        if not allowed:
            raise Refused("ACCESS_DENIED")
        milliseconds = int((time.monotonic() - started) * 1000)
        return context | {"principalId": principal, "integrationLatency": milliseconds}


def proxy_event(request: Request, stage: str) -> dict[str, Any]:
    """The event of a REST API for a request, before it has met a route.

    Form: 'Set up Lambda proxy integrations in API Gateway', input format. Of a name that was sent several
    times the single-value fields hold the last value.
    """
    path, _, query = request.target.partition("?")
    now = time.time()
    added = {
        "X-Amzn-Trace-Id": f"Root=1-{int(now):08x}-{uuid.uuid4().hex[:24]}",
        "X-Forwarded-For": request.source_ip,
        "X-Forwarded-Port": str(request.port),
        "X-Forwarded-Proto": "http",
    }
    headers = _together([*request.headers, *added.items()])
    parameters = _together(query_pairs(query))
    last_headers = _last(headers)
    user_agent = next((value for name, value in last_headers.items() if name.lower() == "user-agent"), None)
    request_id = str(uuid.uuid4())
    return {
        "resource": None,
        "path": path,
        "httpMethod": request.method,
        "headers": last_headers,
        "multiValueHeaders": headers,
        "queryStringParameters": _last(parameters) or None,
        "multiValueQueryStringParameters": parameters or None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": API_ID,
            "deploymentId": API_ID,
            "domainName": f"{API_ID}.execute-api.{REGION}.amazonaws.com",
            "domainPrefix": API_ID,
            "extendedRequestId": request_id,
            "httpMethod": request.method,
            "identity": _identity(request.source_ip, user_agent),
            "path": f"/{stage}{path}",
            "protocol": request.protocol,
            "requestId": request_id,
            "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "requestTimeEpoch": int(now * 1000),
            "resourceId": API_ID,
            "resourcePath": None,
            "stage": stage,
        },
        "body": request.body.decode("utf-8", "replace") if request.body else None,
        "isBase64Encoded": False,
    }


def authorizer_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """What an authorizer of type REQUEST gets ('Input to an API Gateway Lambda authorizer').

    Other than a function it gets empty objects for what there is none of, and no body.
    """
    context = event["requestContext"]
    path = event["path"].removeprefix("/")
    arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{API_ID}/{context['stage']}/{event['httpMethod']}/{path}"
    kept = ("resource", "path", "httpMethod", "headers", "multiValueHeaders")
    maps = ("queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "stageVariables")
    return (
        {"type": "REQUEST", "methodArn": arn}
        | {name: event[name] for name in kept}
        | {name: event[name] or {} for name in maps}
        | {"requestContext": dict(context)}
    )


def query_pairs(query: str) -> list[tuple[str, str]]:
    """The parameters of a query string, decoded, in the order they were sent; what is not UTF-8 becomes U+FFFD."""
    pairs = []
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((unquote_plus(name), unquote_plus(value)))
    return pairs


def match(resource: str, path: str) -> dict[str, str] | None:
    """The path parameters when a path is of a resource such as `/v1/{name}` or `/{proxy+}`; None when it is not."""
    pattern = "".join(
        f"(?P<{part[1:-1].rstrip('+')}>{'.+' if part.endswith('+}') else '[^/]+'})"
        if part.startswith("{")
        else re.escape(part)
        for part in re.split(r"(\{[^}]+\})", resource)
    )
    found = re.fullmatch(pattern, path, re.DOTALL)
    return None if found is None else {name: unquote(value) for name, value in found.groupdict().items()}


def allows(policy: Mapping[str, Any], method_arn: str) -> bool:
    """Whether an authorizer's policy lets a method be called: something allows it and nothing denies it.

    Raises:
        KeyError, TypeError, ValueError: it is no policy.
    """
    effects = set()
    for statement in _listed(policy["Statement"]):
        effect = statement["Effect"]
        if effect not in ("Allow", "Deny"):
            raise ValueError(f"no such effect: {effect}")
        is_named = any(_fits(action.lower(), "execute-api:invoke") for action in _listed(statement["Action"]))
        if is_named and any(_fits(resource, method_arn) for resource in _listed(statement["Resource"])):
            effects.add(effect)
    return effects == {"Allow"}


def _rank(resource: str) -> tuple[int, ...]:
    return tuple(0 if not part.startswith("{") else 1 + part.endswith("+}") for part in resource.split("/"))


def _fits(pattern: str, text: str) -> bool:
    """Whether a text is one that a pattern of a policy stands for: `*` is any text, `?` any character."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.DOTALL) is not None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _context_value(value: Any) -> str | None:
    """The gateway passes numbers and booleans on as text, and takes no objects and no lists."""
    if isinstance(value, dict | list):
        raise ValueError("no text")
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def _together(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    together: dict[str, list[str]] = {}
    for name, value in pairs:
        together.setdefault(name, []).append(value)
    return together


def _last(values: Mapping[str, list[str]]) -> dict[str, str]:
    return {name: each[-1] for name, each in values.items()}


def _identity(source_ip: str, user_agent: str | None) -> dict[str, str | None]:
    unknown = (
        "accessKey",
        "accountId",
        "caller",
        "cognitoAuthenticationProvider",
        "cognitoAuthenticationType",
        "cognitoIdentityId",
        "cognitoIdentityPoolId",
        "principalOrgId",
        "user",
        "userArn",
    )
    return dict.fromkeys(unknown) | {"sourceIp": source_ip, "userAgent": user_agent}


def _gateway_answer(
    response: GatewayResponse, status: int, headers: Iterable[tuple[str, str]], request_id: str
) -> Answer:
    sent = {name.lower(): value for name, value in headers}
    answered = []
    for name, value in response.headers.items():
        if value.startswith("'"):
            answered.append((name, value.strip("'")))
        elif value == "context.requestId":
            answered.append((name, request_id))
        elif (header := value.removeprefix("method.request.header.").lower()) in sent:
            answered.append((name, sent[header]))
    body = next(iter(response.templates.values())).replace("$context.requestId", request_id)
    return Answer(response.status or status, answered, body.encode())


def _function_answer(answer: Any) -> Answer:
    """The output of a function as an answer ('Output format of a Lambda function for proxy integration').

    Raises:
        Refused: it has not that form.
    """
    try:
        status = HTTPStatus(int(answer["statusCode"]))
        headers = {name: [str(value)] for name, value in (answer.get("headers") or {}).items()}
        # A name in both: the one with several values holds.
        headers |= {name: list(map(str, values)) for name, values in (answer.get("multiValueHeaders") or {}).items()}
        pairs = [(name, value) for name, values in headers.items() for value in values]
        if not all(_is_sendable(text) for pair in pairs for text in pair):
            raise ValueError("a header cannot be sent")
        body = (answer.get("body") or "").encode()
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Refused("DEFAULT_5XX") from None
    if "content-type" not in (name.lower() for name in headers):
        pairs.append(("Content-Type", "application/json"))
    return Answer(status, pairs, body)


def _is_sendable(text: str) -> bool:
    return text.isascii() and not any(character in text for character in "\r\n\0")
