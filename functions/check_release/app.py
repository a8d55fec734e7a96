"""CodeDeploy's hook before traffic: call the new versions of `list_sessions` and `authorize` as the gateway would.

It uses nothing but Lambda's runtime: its boto3, and its `logging`, which Lambda writes as JSON.
"""

import json
import logging
import os
from typing import Any, Final

import boto3
from botocore.config import Config

LIST_SESSIONS: Final = os.environ["LIST_SESSIONS_VERSION"]
AUTHORIZE: Final = os.environ["AUTHORIZE_VERSION"]
ORGANIZATION: Final = os.environ["ORGANIZATION"]

UNKNOWN_KEY: Final = "evr_check_release_0000000000000000"
"""Has the form of a key, so that the authorizer looks it up."""

ALWAYS: Final = {"id", "organization_id", "agent_id", "status", "created_at", "updated_at"}
"""Fields of a session that always have a value."""

PENDING: Final = {"Delay": 5, "MaxAttempts": 60}
"""How long to wait for the snapshot of a version, in seconds and tries."""

# A version that hangs is stopped by its own timeout of 20 seconds; no call is repeated.
lambda_: Final = boto3.client("lambda", config=Config(read_timeout=40, retries={"total_max_attempts": 1}))
codedeploy: Final = boto3.client("codedeploy")
logger: Final = logging.getLogger()


class ReleaseRefused(Exception):
    """A new version that contradicts the contract."""


def handler(event: dict[str, Any], _context: object) -> None:
    """Tell CodeDeploy whether the deployment may go on.

    Raises:
        ClientError: CodeDeploy cannot be told; it waits for an hour and fails the deployment then.
    """
    status = "Succeeded"
    try:
        for version in (AUTHORIZE, LIST_SESSIONS):
            lambda_.get_waiter("published_version_active").wait(FunctionName=version, WaiterConfig=PENDING)
        check_key()
        check_page()
        check_refusal()
    except Exception:  # any fault stops the deployment
        logger.exception("release refused")
        status = "Failed"
    codedeploy.put_lifecycle_event_hook_execution_status(
        deploymentId=event["DeploymentId"],
        lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
        status=status,
    )


def check_key() -> None:
    """Check that an unknown key is looked up and denied."""
    method = "arn:aws:execute-api:eu-west-1:123456789012:abcdef1234/live/GET/v1/sessions"
    policy = invoke(AUTHORIZE, request() | {"type": "REQUEST", "methodArn": method})
    effects = [statement["Effect"] for statement in policy["policyDocument"]["Statement"]]
    expect(effects == ["Deny"], f"authorize returned {effects} for an unknown key")


def check_page() -> None:
    """Check that the first page has the form of the contract and a total that agrees with it."""
    response = list_sessions(limit="5")
    expect(response["statusCode"] == 200, f"list_sessions returned {response['statusCode']}")
    page = json.loads(response["body"])
    expect(set(page) == {"data", "total", "offset", "limit"}, f"a page has {sorted(page)}")
    expect((page["offset"], page["limit"]) == (0, 5), "the page has another offset or limit than requested")
    # A page may hold fewer sessions than its total, since it leaves out items that break the contract.
    total, held = page["total"], len(page["data"])
    expect(type(total) is int and held <= min(total, 5), f"a page of {held} sessions has the total {total!r}")
    for session in page["data"]:
        expect(all(session.get(name) for name in ALWAYS), f"a session lacks one of {sorted(ALWAYS)}")
        expect(session["organization_id"] == ORGANIZATION, "a session belongs to another organization")


def check_refusal() -> None:
    """Check that an invalid parameter is refused in the form of the contract."""
    response = list_sessions(limit="0")
    seen = response["statusCode"], json.loads(response["body"])["error"]["code"]
    expect(seen == (400, "invalid_parameter"), f"list_sessions returned {seen} for an invalid limit")


def list_sessions(**query: str) -> Any:
    """Return the response to a caller whom the authorizer has allowed."""
    event = request(query)
    event["requestContext"]["authorizer"] = {"organization_id": ORGANIZATION}
    return invoke(LIST_SESSIONS, event)


def invoke(version: str, event: dict[str, Any]) -> Any:
    """Return what a version of a function returns.

    Raises:
        ReleaseRefused: it crashed, timed out or could not start.
        ClientError, BotoCoreError: Lambda did not call it, or did not respond.
    """
    response = lambda_.invoke(FunctionName=version, Payload=json.dumps(event))
    payload = json.loads(response["Payload"].read())
    expect("FunctionError" not in response, f"{version} crashed: {payload}")
    return payload


def expect(condition: bool, message: str) -> None:
    if not condition:
        raise ReleaseRefused(message)


def request(query: dict[str, str] | None = None) -> dict[str, Any]:
    """Return `GET /v1/sessions` as the gateway passes it to a function, with the fields that the functions read."""
    headers = {"Authorization": UNKNOWN_KEY}
    return {
        "resource": "/v1/sessions",
        "path": "/v1/sessions",
        "httpMethod": "GET",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": query and {name: [value] for name, value in query.items()},
        "requestContext": {"requestId": "check-release", "resourcePath": "/v1/sessions", "stage": "live"},
        "body": None,
        "isBase64Encoded": False,
    }
