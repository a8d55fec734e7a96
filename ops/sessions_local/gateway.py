"""API Gateway on this machine: a request past its route and the authorizer to the function, and back.

Routes, authorizer and gateway responses are those of `template.yaml`. Not imitated: throttling, compression,
access logs, and the cache of the authorizer's results, so that a revoked key stops working at once. One thing is
better than on AWS, where a gateway response cannot choose among origins: an allowed origin gets the headers that
it gets with a page.
"""

from __future__ import annotations

import re
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

from sessions_local.http_server import HttpRequest, HttpResponse
from sessions_local.lambda_runtime import FunctionFailed, FunctionTimedOut, Invocation
from sessions_local.proxy_events import LambdaEventConverter
from sessions_local.sam_template import GatewayResponse, Route, Template

ANY: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
"""The methods that `ANY` stands for ('Methods for REST APIs in API Gateway')."""

EXPOSED_HEADERS: Final = "Link,Retry-After,X-Request-Id"
"""What an allowed origin may read of a gateway response, as of a page."""

_DEFAULT_STATUS: Final = {
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

Invoke = Callable[[dict[str, Any]], Invocation]
"""Calls a function with an event."""


class GatewayError(Exception):
    """The gateway responds by itself, with the gateway response of this type."""

    def __init__(self, response_type: str, status: int | None = None) -> None:
        super().__init__(response_type)
        self.response_type = response_type
        self.status = status


class Gateway:
    """The API of a template, with its functions."""

    def __init__(self, template: Template, functions: Mapping[str, Invoke], cors_origins: Sequence[str] = ()) -> None:
        self._template = template
        self._functions = functions
        self._cors_origins = cors_origins
        self._routes = RouteMatcher(template.routes)
        self._events = LambdaEventConverter(template.stage)

    def respond(self, request: HttpRequest) -> HttpResponse:
        """The response to a request, whatever it is."""
        event = self._events.proxy_event(request)
        request_id = event["requestContext"]["requestId"]
        try:
            return self._respond(request, event)
        except GatewayError as error:
            return self.refuse(error.response_type, error.status, request.headers, request_id)
        except Exception:
            traceback.print_exc()  # a fault of this imitation, not of the functions
            return self.refuse("DEFAULT_5XX", None, request.headers, request_id)

    def refuse(
        self,
        response_type: str,
        status: int | None,
        headers: list[tuple[str, str]],
        request_id: str | None = None,
    ) -> HttpResponse:
        """The gateway response of a type.

        Args:
            status: the one it has unless the template says otherwise; None for the type's default.
            headers: those of the request.
        """
        status = status or _DEFAULT_STATUS[response_type]
        responses = self._template.gateway_responses
        response = responses.get(response_type) or responses[f"DEFAULT_{status // 100}XX"]
        request_id = request_id or str(uuid.uuid4())
        sent = {name.lower(): value for name, value in headers}
        body = next(iter(response.templates.values())).replace("$context.requestId", request_id)
        made = _gateway_headers(response, sent, request_id)
        if sent.get("origin") in self._cors_origins:
            made |= {
                "Access-Control-Allow-Origin": sent["origin"],
                "Access-Control-Expose-Headers": EXPOSED_HEADERS,
                "Vary": "Origin",
            }
        return HttpResponse(response.status or status, list(made.items()), body.encode())

    def _respond(self, request: HttpRequest, event: dict[str, Any]) -> HttpResponse:
        if not request.path.startswith("/"):
            raise GatewayError("DEFAULT_4XX", 400)
        route, parameters = self._routes.match(request.method, request.path)
        event["resource"] = event["requestContext"]["resourcePath"] = route.resource
        event["pathParameters"] = parameters or None
        if route.authorizer is not None:
            event["requestContext"]["authorizer"] = self._authorize(route.authorizer, event)
        try:
            invocation = self._functions[route.function](event)
        except FunctionTimedOut:
            raise GatewayError("INTEGRATION_TIMEOUT") from None
        except FunctionFailed:
            raise GatewayError("DEFAULT_5XX") from None
        return _function_response(invocation)

    def _authorize(self, name: str, event: dict[str, Any]) -> dict[str, Any]:
        """What the authorizer says of the caller, as the function gets it."""
        authorizer = self._template.authorizers[name]
        sent = {key.lower(): value for key, value in event["headers"].items()}
        if not all(sent.get(header.lower()) for header in authorizer.headers):
            raise GatewayError("UNAUTHORIZED")
        authorizer_event = self._events.authorizer_event(event)
        started = time.monotonic()
        try:
            result = self._functions[authorizer.function](authorizer_event).payload
        except FunctionFailed as error:
            # The one message of an exception that the gateway knows.
            is_unauthorized = str(error).endswith(": Unauthorized")
            raise GatewayError("UNAUTHORIZED" if is_unauthorized else "AUTHORIZER_FAILURE") from None
        except FunctionTimedOut:
            raise GatewayError("AUTHORIZER_FAILURE") from None
        try:
            allowed = allows(result["policyDocument"], authorizer_event["methodArn"])
            context = {key: _context_value(value) for key, value in (result.get("context") or {}).items()}
            principal = str(result["principalId"])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise GatewayError("AUTHORIZER_CONFIGURATION_ERROR") from None
        if not allowed:
            raise GatewayError("ACCESS_DENIED")
        milliseconds = int((time.monotonic() - started) * 1000)
        return context | {"principalId": principal, "integrationLatency": milliseconds}


class RouteMatcher:
    """Finds the route of a request: a literal segment comes before a parameter, and both before `{proxy+}`."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._resources = sorted({route.resource for route in routes}, key=_rank)

    def match(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route, and the parameters in the path.

        Raises:
            GatewayError: there is none.
        """
        for resource in self._resources:
            parameters = path_parameters(resource, path)
            if parameters is not None:
                methods = {route.method: route for route in self._routes if route.resource == resource}
                route = methods.get(method) or (methods.get("ANY") if method in ANY else None)
                if route is None:
                    break
                return route, parameters
        # What the gateway says of a path or a method without a route.
        raise GatewayError("MISSING_AUTHENTICATION_TOKEN")


def path_parameters(resource: str, path: str) -> dict[str, str] | None:
    """The parameters when a path is of a resource such as `/v1/{name}` or `/{proxy+}`; None when it is not.

    A slash at the end makes no difference, as on API Gateway.
    """
    pattern = "".join(
        f"(?P<{part[1:-1].rstrip('+')}>{'.+?' if part.endswith('+}') else '[^/]+'})"
        if part.startswith("{")
        else re.escape(part)
        for part in re.split(r"(\{[^}]+\})", resource.rstrip("/"))
    )
    found = re.fullmatch(f"{pattern}/?", path, re.DOTALL)
    return None if found is None else {name: unquote(value) for name, value in found.groupdict().items()}


def allows(policy: Mapping[str, Any], method_arn: str) -> bool:
    """Whether an authorizer's policy lets a method be called: something allows it and nothing denies it.

    Raises:
        KeyError, TypeError, ValueError: it is not a policy.
    """
    effects = set()
    for statement in _listed(policy["Statement"]):
        effect = statement["Effect"]
        if effect not in ("Allow", "Deny"):
            raise ValueError(f"unknown effect: {effect}")
        is_named = any(_matches(action.lower(), "execute-api:invoke") for action in _listed(statement["Action"]))
        if is_named and any(_matches(resource, method_arn) for resource in _listed(statement["Resource"])):
            effects.add(effect)
    return effects == {"Allow"}


def _rank(resource: str) -> tuple[int, ...]:
    return tuple(0 if not part.startswith("{") else 1 + part.endswith("+}") for part in resource.split("/"))


def _matches(pattern: str, text: str) -> bool:
    """Whether a text matches a pattern of a policy: `*` is any text, `?` any character."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.DOTALL) is not None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _context_value(value: Any) -> str | None:
    """The gateway passes numbers and booleans on as text, and refuses objects and lists."""
    if isinstance(value, dict | list):
        raise ValueError("neither text nor number")
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def _gateway_headers(response: GatewayResponse, sent: Mapping[str, str], request_id: str) -> dict[str, str]:
    """The headers of a gateway response; `sent` are the request's by lower-case name."""
    made = {}
    for name, value in response.headers.items():
        if value.startswith("'"):
            made[name] = value.strip("'")
        elif value == "context.requestId":
            made[name] = request_id
        elif (header := value.removeprefix("method.request.header.").lower()) in sent:
            made[name] = sent[header]
    return made


def _function_response(invocation: Invocation) -> HttpResponse:
    """The output of a function as a response ('Output format of a Lambda function for proxy integration').

    Raises:
        GatewayError: it does not have that form.
    """
    output = invocation.payload
    try:
        status = HTTPStatus(int(output["statusCode"]))
        headers = {name: [str(value)] for name, value in (output.get("headers") or {}).items()}
        # Of a name in both, the one with several values wins.
        headers |= {name: list(map(str, values)) for name, values in (output.get("multiValueHeaders") or {}).items()}
        pairs = [(name, value) for name, values in headers.items() for value in values]
        if not all(_is_sendable(text) for pair in pairs for text in pair):
            raise ValueError("a header cannot be sent")
        body = (output.get("body") or "").encode()
    except (AttributeError, KeyError, TypeError, ValueError):
        raise GatewayError("DEFAULT_5XX") from None
    if "content-type" not in (name.lower() for name in headers):
        pairs.append(("Content-Type", "application/json"))
    return HttpResponse(status, pairs, body, invocation.metrics)


def _is_sendable(text: str) -> bool:
    return text.isascii() and not any(character in text for character in "\r\n\0")
