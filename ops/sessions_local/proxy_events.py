"""The events that API Gateway makes from a request, for a function and for an authorizer."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any, Final

from werkzeug import Request
from werkzeug.datastructures import MultiDict

from sessions_local.http_server import ALL_HEADERS
from sessions_local.sam_template import ACCOUNT, REGION, ROOT

RECORDED: Final[dict[str, Any]] = json.loads((ROOT / "events" / "list_first_page.json").read_text(encoding="utf-8"))
"""An event of a real gateway, for the fields that do not depend on the request."""


def request_path(request: Request) -> str:
    """Return the path as it was sent, not decoded; the request line may hold a whole URL."""
    target = request.environ["RAW_URI"].encode("latin-1").decode()  # undo PEP 3333's encoding
    return re.sub(r"^https?://[^/?]*", "", target, flags=re.IGNORECASE).partition("?")[0] or "/"


def proxy_event(request: Request, stage: str, resource: str, path_parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the event of a REST API ('Set up Lambda proxy integrations in API Gateway', input format).

    Of a name that was sent several times the single-value fields hold the last value.
    """
    now = time.time()
    path, request_id = request_path(request), str(uuid.uuid4())
    headers = MultiDict(request.environ.get(ALL_HEADERS, request.headers.items()))
    headers["X-Amzn-Trace-Id"] = f"Root=1-{int(now):08x}-{uuid.uuid4().hex[:24]}"
    headers["X-Forwarded-For"] = str(request.remote_addr)
    headers["X-Forwarded-Port"] = request.environ["SERVER_PORT"]
    headers["X-Forwarded-Proto"] = "http"
    caller = {"sourceIp": request.remote_addr, "userAgent": request.headers.get("User-Agent")}
    context = RECORDED["requestContext"] | {
        "extendedRequestId": request_id,
        "httpMethod": request.method,
        "identity": RECORDED["requestContext"]["identity"] | caller,
        "path": f"/{stage}{path}",
        "protocol": request.environ["SERVER_PROTOCOL"],
        "requestId": request_id,
        "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
        "requestTimeEpoch": int(now * 1000),
        "resourcePath": resource,
        "stage": stage,
    }
    del context["authorizer"]
    return RECORDED | {
        "resource": resource,
        "path": path,
        "httpMethod": request.method,
        "headers": _last_values(headers),
        "multiValueHeaders": headers.to_dict(flat=False),
        "queryStringParameters": _last_values(request.args) or None,
        "multiValueQueryStringParameters": request.args.to_dict(flat=False) or None,
        "pathParameters": dict(path_parameters) or None,
        "requestContext": context,
        "body": request.get_data().decode("utf-8", "replace") or None,
    }


def authorizer_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event of an authorizer of type REQUEST ('Input to an API Gateway Lambda authorizer').

    Unlike a function's it has empty objects where there is nothing, and no body.
    """
    context = event["requestContext"]
    path = f"{context['apiId']}/{context['stage']}/{event['httpMethod']}/{event['path'].removeprefix('/')}"
    kept = ("resource", "path", "httpMethod", "headers", "multiValueHeaders", "requestContext")
    maps = ("queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "stageVariables")
    return (
        {"type": "REQUEST", "methodArn": f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{path}"}
        | {name: event[name] for name in kept}
        | {name: event[name] or {} for name in maps}
    )


def _last_values(values: MultiDict[str, str]) -> dict[str, str]:
    return {name: each[-1] for name, each in values.lists()}
