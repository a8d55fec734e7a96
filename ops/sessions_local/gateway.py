"""API Gateway on this machine: finds a request's route, asks the authorizer, and calls the function.

Routes, authorizer and gateway responses are those of `template.yaml`. Not imitated: throttling, compression, access
logs, and the cache of the authorizer's results, so that a revoked key stops working at once.
"""

from __future__ import annotations

import re
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import unquote

from werkzeug import Request, Response
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from sessions_local.functions import FunctionFailed, Invocation
from sessions_local.proxy_events import authorizer_event, proxy_event, request_path
from sessions_local.sam_template import Route, Template, function_in

ANY: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
"""The methods that `ANY` stands for ('Methods for REST APIs in API Gateway')."""

BODY_BYTES_MAX: Final = 10 * 1024 * 1024
"""Largest body of a request ('Amazon API Gateway quotas')."""

SERVER_TIMING: Final = {
    "Duration": "function;dur={:g}",
    "RoundTrips": 'round_trips;desc="{:g}"',
    "ReadUnits": 'read_units;desc="{:g}"',
}
"""Metrics of `list_sessions` as parts of the header `Server-Timing` (W3C)."""

Invoke = Callable[[dict[str, Any]], Invocation]


class GatewayError(Exception):
    """A request that the gateway answers itself, with a gateway response of one type."""


class Gateway:
    """The API of a template, with its functions."""

    def __init__(self, template: Template, functions: Mapping[str, Invoke]) -> None:
        self._template = template
        self._functions = functions
        resources = dict.fromkeys(route.resource for route in template.routes)
        # werkzeug writes `/{name}` as `/<name>` and `/{proxy+}` as `/<path:proxy>`.
        rules = [
            Rule(re.sub(r"\{(\w+)\}", r"<\1>", re.sub(r"\{(\w+)\+\}", r"<path:\1>", each)), endpoint=each)
            for each in resources
        ]
        self._resources = Map(rules, strict_slashes=False, merge_slashes=False).bind("localhost")
        self._routes = {(route.resource, route.method): route for route in template.routes}

    def respond(self, request: Request) -> Response:
        request.max_content_length = BODY_BYTES_MAX
        try:
            return self._respond(request)
        except GatewayError as error:
            return self._gateway_response(str(error))
        except HTTPException as error:  # werkzeug's, for a body that is too large or not whole
            return self._gateway_response("REQUEST_TOO_LARGE" if error.code == 413 else "DEFAULT_4XX")
        except Exception:
            traceback.print_exc()  # a fault of this imitation, not of the functions
            return self._gateway_response("DEFAULT_5XX")

    def _respond(self, request: Request) -> Response:
        route, parameters = self._match(request.method, request_path(request))
        event = proxy_event(request, self._template.stage, route.resource, parameters)
        if route.authorizer is not None:
            event["requestContext"]["authorizer"] = self._authorize(route.authorizer, event)
        try:
            return _function_response(self._functions[route.function](event))
        except FunctionFailed:
            raise GatewayError("DEFAULT_5XX") from None

    def _match(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        if not path.startswith("/"):
            raise GatewayError("DEFAULT_4XX")
        try:
            # An empty segment belongs to no resource but `{proxy+}`; werkzeug would skip it.
            resource, parameters = self._resources.match(path.replace("//", "/%2F"))
        except HTTPException:
            raise GatewayError("MISSING_AUTHENTICATION_TOKEN") from None  # the gateway's word for an unknown path
        route = self._routes.get((resource, method)) or (self._routes.get((resource, "ANY")) if method in ANY else None)
        if route is None:
            raise GatewayError("MISSING_AUTHENTICATION_TOKEN")
        return route, {name: unquote(value) for name, value in parameters.items()}

    def _authorize(self, name: str, event: dict[str, Any]) -> dict[str, Any]:
        """Return the authorizer's context as the function gets it."""
        authorizer = self._template.authorizers[name]
        sent = Headers(event["headers"])
        if not all(sent.get(header) for header in authorizer["Identity"]["Headers"]):
            raise GatewayError("UNAUTHORIZED")
        asked = authorizer_event(event)
        started = time.monotonic()
        try:
            result = self._functions[function_in(authorizer["FunctionArn"])](asked).payload
        except FunctionFailed as error:
            # The only exception message that the gateway treats differently.
            is_unauthorized = str(error).endswith(": Unauthorized")
            raise GatewayError("UNAUTHORIZED" if is_unauthorized else "AUTHORIZER_FAILURE") from None
        try:
            allowed = allows(result["policyDocument"], asked["methodArn"])
            context = {key: _context_value(value) for key, value in (result.get("context") or {}).items()}
            principal = str(result["principalId"])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise GatewayError("AUTHORIZER_CONFIGURATION_ERROR") from None
        if not allowed:
            raise GatewayError("ACCESS_DENIED")
        milliseconds = int((time.monotonic() - started) * 1000)
        return context | {"principalId": principal, "integrationLatency": milliseconds}

    def _gateway_response(self, response_type: str) -> Response:
        made = self._template.gateway_responses[response_type]
        request_id = str(uuid.uuid4())
        headers = Headers({"Content-Type": "application/json"})
        for name, value in made["ResponseParameters"]["Headers"].items():
            headers[name] = request_id if value == "context.requestId" else value.strip("'")
        # The template leaves out the status of DEFAULT_4XX alone.
        return Response(made["ResponseTemplates"]["application/json"], int(made.get("StatusCode", 400)), headers)


def allows(policy: Mapping[str, Any], method_arn: str) -> bool:
    """Return whether an authorizer's policy allows a method, and nothing in it denies the method."""
    effects = set()
    for statement in _listed(policy["Statement"]):
        effect = statement["Effect"]
        if effect not in ("Allow", "Deny"):
            raise ValueError(f"unknown effect: {effect}")
        has_action = any(fnmatchcase("execute-api:invoke", action.lower()) for action in _listed(statement["Action"]))
        if has_action and any(fnmatchcase(method_arn, resource) for resource in _listed(statement["Resource"])):
            effects.add(effect)
    return effects == {"Allow"}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _context_value(value: Any) -> str | None:
    """Return a value of the context as text, as the gateway does, which refuses objects and lists."""
    if isinstance(value, dict | list):
        raise ValueError("neither text nor number")
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def _function_response(invocation: Invocation) -> Response:
    """Return a function's output as a response ('Output format of a Lambda function for proxy integration')."""
    output = invocation.payload
    try:
        headers = Headers(output.get("headers") or {})
        # For a name in both, the one with several values wins.
        headers.update(output.get("multiValueHeaders") or {})
        headers.setdefault("Content-Type", "application/json")
        response = Response((output.get("body") or "").encode(), int(output["statusCode"]), headers)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise GatewayError("DEFAULT_5XX") from None
    timing = [
        part.format(invocation.metrics[name]) for name, part in SERVER_TIMING.items() if name in invocation.metrics
    ]
    if timing:
        response.headers["Server-Timing"] = ", ".join(timing)
    return response
