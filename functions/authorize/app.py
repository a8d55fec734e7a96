"""The gateway's authorizer: returns a policy and the caller's organization for the headers of a request."""

import os
from typing import Any

from aws_lambda_powertools.utilities.data_classes.api_gateway_authorizer_event import (
    APIGatewayAuthorizerRequestEvent,
    APIGatewayAuthorizerResponse,
)

from sessions.api_keys import ApiKey, ApiKeys, Denial
from sessions.caller import header_values
from sessions.client import create_client
from sessions.observability import Observability

api_keys = ApiKeys(create_client(), os.environ["API_KEYS_TABLE"])
observability = Observability()


@observability.instrument
def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Return an Allow policy for a live key and a Deny policy for anything else.

    Raises:
        Unavailable: DynamoDB did not respond; the gateway answers with status 503.
    """
    request = APIGatewayAuthorizerRequestEvent(event)
    caller = api_keys.identify(header_values(event, "Authorization"))
    if isinstance(caller, Denial):
        is_invalid = caller is Denial.INVALID_ITEM
        metrics = {f"Denied.{caller}": 1} | ({"InvalidKeys": 1} if is_invalid else {})
        observability.write("warning" if is_invalid else "info", "denied", {"reason": caller}, metrics)
        return policy(request, "unknown", {}, is_allowed=False)
    fields = {"organization_id": caller.organization_id, "key_name": caller.name}
    observability.write("info", "allowed", fields, {"Allowed": 1})
    return policy(request, caller.organization_id, context_of(caller), is_allowed=True)


def context_of(caller: ApiKey) -> dict[str, str]:
    """Return the context for `list_sessions`; the gateway accepts only strings, numbers and booleans in it."""
    context = {"organization_id": caller.organization_id, "key_name": caller.name}
    return context if caller.expires_at is None else context | {"expires_at": str(caller.expires_at)}


def policy(
    request: APIGatewayAuthorizerRequestEvent, principal: str, context: dict[str, str], *, is_allowed: bool
) -> dict[str, Any]:
    """Return a policy for the whole stage: the gateway caches it by key and applies it to every route."""
    arn = request.parsed_arn
    response = APIGatewayAuthorizerResponse(
        principal, arn.region, arn.aws_account_id, arn.api_id, arn.stage, context, partition=arn.partition
    )
    add = response.allow_all_routes if is_allowed else response.deny_all_routes
    add()
    return response.asdict()
