"""The events that API Gateway makes of a request: for a function, and for an authorizer."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

from sessions_local.http_server import HttpRequest
from sessions_local.sam_template import ACCOUNT, REGION

API_ID: Final = "local"

_UNKNOWN_IDENTITY: Final = (
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
"""Fields of the caller's identity that only callers with IAM credentials have."""


class LambdaEventConverter:
    """Makes the events of one stage."""

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def proxy_event(
        self, request: HttpRequest, resource: str | None = None, path_parameters: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The event of a REST API ('Set up Lambda proxy integrations in API Gateway', input format).

        Of a name that was sent several times the single-value fields hold the last value.
        """
        query = request.target.partition("?")[2]
        now = time.time()
        added = {
            "X-Amzn-Trace-Id": f"Root=1-{int(now):08x}-{uuid.uuid4().hex[:24]}",
            "X-Forwarded-For": request.source_ip,
            "X-Forwarded-Port": str(request.port),
            "X-Forwarded-Proto": "http",
        }
        headers = _grouped([*request.headers, *added.items()])
        parameters = _grouped(query_pairs(query))
        request_id = str(uuid.uuid4())
        return {
            "resource": resource,
            "path": request.path,
            "httpMethod": request.method,
            "headers": _last_values(headers),
            "multiValueHeaders": headers,
            "queryStringParameters": _last_values(parameters) or None,
            "multiValueQueryStringParameters": parameters or None,
            "pathParameters": path_parameters or None,
            "stageVariables": None,
            "requestContext": {
                "accountId": ACCOUNT,
                "apiId": API_ID,
                "deploymentId": API_ID,
                "domainName": f"{API_ID}.execute-api.{REGION}.amazonaws.com",
                "domainPrefix": API_ID,
                "extendedRequestId": request_id,
                "httpMethod": request.method,
                "identity": dict.fromkeys(_UNKNOWN_IDENTITY)
                | {"sourceIp": request.source_ip, "userAgent": request.header("User-Agent") or None},
                "path": f"/{self._stage}{request.path}",
                "protocol": request.protocol,
                "requestId": request_id,
                "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
                "requestTimeEpoch": int(now * 1000),
                "resourceId": API_ID,
                "resourcePath": resource,
                "stage": self._stage,
            },
            "body": request.body.decode("utf-8", "replace") if request.body else None,
            "isBase64Encoded": False,
        }

    def authorizer_event(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """What an authorizer of type REQUEST gets ('Input to an API Gateway Lambda authorizer').

        Unlike a function it gets empty objects where there is nothing, and no body.
        """
        path = event["path"].removeprefix("/")
        arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{API_ID}/{self._stage}/{event['httpMethod']}/{path}"
        kept = ("resource", "path", "httpMethod", "headers", "multiValueHeaders")
        maps = ("queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "stageVariables")
        return (
            {"type": "REQUEST", "methodArn": arn}
            | {name: event[name] for name in kept}
            | {name: event[name] or {} for name in maps}
            | {"requestContext": dict(event["requestContext"])}
        )


def query_pairs(query: str) -> list[tuple[str, str]]:
    """The parameters of a query string, decoded, in the order they were sent; what is not UTF-8 becomes U+FFFD."""
    pairs = []
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((unquote_plus(name), unquote_plus(value)))
    return pairs


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return grouped


def _last_values(values: Mapping[str, list[str]]) -> dict[str, str]:
    return {name: each[-1] for name, each in values.items()}
