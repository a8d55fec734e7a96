"""The gateway's authorizer: a request's headers in, a policy and the caller's organization out."""

from sessions import cold_start  # must be first: it keeps out modules that nobody uses

# isort: split

from typing import Any

from aws_lambda_powertools.utilities.data_classes.api_gateway_authorizer_event import (
    APIGatewayAuthorizerRequestEvent,
    APIGatewayAuthorizerResponse,
)

from sessions import client as dynamodb
from sessions import settings
from sessions.api_keys import ApiKey, ApiKeys, Denial
from sessions.events import header_values
from sessions.observability import Observability

environment = settings.read(settings.AuthorizeSettings)
api_keys = ApiKeys(dynamodb.client(), environment.api_keys_table)
observability = Observability()
cold_start.finish()


@observability.instrument
def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """An Allow policy for a live key, a Deny policy for anything else; only faults of ours raise.

    Raises:
        Unavailable: DynamoDB did not respond; the gateway turns it into a 503.
    """
    request = APIGatewayAuthorizerRequestEvent(event)
    caller = api_keys.identify(header_values(request, "Authorization"))
    if isinstance(caller, Denial):
        observability.write("info", "denied", {"reason": caller.reason}, {f"Denied.{caller.reason}": 1})
        return policy(request, "unknown", {}, is_allowed=False)
    observability.write(
        "info", "allowed", {"organization_id": caller.organization_id, "key_name": caller.name}, {"Allowed": 1}
    )
    return policy(request, caller.organization_id, context_of(caller), is_allowed=True)


def context_of(caller: ApiKey) -> dict[str, str]:
    """What `list_sessions` is told of the caller; the gateway takes only strings, numbers and booleans."""
    context = {"organization_id": caller.organization_id, "key_name": caller.name}
    return context if caller.expires_at is None else context | {"expires_at": str(caller.expires_at)}


def policy(
    request: APIGatewayAuthorizerRequestEvent, principal: str, context: dict[str, str], *, is_allowed: bool
) -> dict[str, Any]:
    """The policy, which the gateway caches by key, whatever route it was made for: it covers the whole stage."""
    arn = request.parsed_arn
    response = APIGatewayAuthorizerResponse(
        principal, arn.region, arn.aws_account_id, arn.api_id, arn.stage, context, partition=arn.partition
    )
    add = response.allow_all_routes if is_allowed else response.deny_all_routes
    add()
    return response.asdict()
