"""The gateway's authorizer: a request's headers in, a policy and the caller's organization out."""

import gc

gc.disable()  # nothing that imports make is garbage, and looking for it takes a twelfth of a cold start

from typing import Any

from sessions import dynamodb, settings
from sessions.identity import header_values
from sessions.keys import ApiKeys, key_in

environment = settings.read(settings.AuthorizeSettings)
api_keys = ApiKeys(dynamodb.client(), environment.api_keys_table)
gc.enable()


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """An Allow policy for a live key, a Deny policy for anything else; only faults of ours raise.

    Raises:
        Unavailable: DynamoDB did not answer; the gateway turns it into a 503.
    """
    given = header_values(event, "Authorization")
    key = key_in(given[0]) if len(given) == 1 else None  # two keys are as good as none
    found = None if key is None else api_keys.find(key)
    if found is None:
        return _policy("unknown", "Deny", event["methodArn"], {})
    context_values = {"organization_id": found.organization_id, "key_name": found.name}
    if found.expires_at is not None:
        context_values["expires_at"] = str(found.expires_at)
    return _policy(found.organization_id, "Allow", event["methodArn"], context_values)


def _policy(principal: str, effect: str, method_arn: str, context: dict[str, str]) -> dict[str, Any]:
    # The gateway caches the policy by key, whatever route it was made for: it covers the whole stage.
    api, stage, *_ = method_arn.split("/")
    return {
        "principalId": principal,
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Action": "execute-api:Invoke", "Effect": effect, "Resource": f"{api}/{stage}/*"}],
        },
        "context": context,
    }
