"""Reading the events of a REST API ('Set up Lambda proxy integrations in API Gateway', input format)."""

from collections.abc import Mapping
from typing import Any


def header_values(event: Mapping[str, Any], name: str) -> list[str]:
    """Every value of a header, in any case of its name."""
    headers = event.get("multiValueHeaders") or {key: [value] for key, value in (event.get("headers") or {}).items()}
    return [value for key, values in headers.items() if key.lower() == name.lower() for value in values]


def gateway_request_id(event: Mapping[str, Any]) -> str:
    """The gateway's id of a request: in its access log, in our log and in the response; '' where there is none."""
    context = event.get("requestContext")
    found = context.get("requestId") if isinstance(context, Mapping) else None
    return found if isinstance(found, str) else ""
