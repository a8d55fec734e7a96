"""CodeDeploy's hook before traffic: calls the new versions of `list_sessions` and `authorize` as the gateway would.

It stands on Lambda's runtime alone: its boto3, and its `logging`, which Lambda writes as JSON.
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
"""Has the form of a key, so that it is looked up."""

ALWAYS: Final = {"id", "organization_id", "agent_id", "status", "created_at", "updated_at"}
"""Fields of a session that always have a value."""

# A version that hangs is stopped by its own timeout of 20 seconds; nothing is asked twice.
once: Final = Config(connect_timeout=5, read_timeout=40, retries={"total_max_attempts": 1})
lambda_: Final = boto3.client("lambda", config=once)
codedeploy: Final = boto3.client("codedeploy")
logger: Final = logging.getLogger()


class ReleaseRefused(Exception):
    """A new version does not do what the contract says."""


def handler(event: dict[str, Any], _context: object) -> None:
    """Tells CodeDeploy that the deployment may go on, or that it has failed.

    Raises:
        ClientError: CodeDeploy cannot be told; it waits for an hour and fails the deployment then.
    """
    status = "Succeeded"
    try:
        check_key()
        check_page()
        check_refusal()
    except Exception:  # whatever it is, the version gets no traffic
        logger.exception("release refused")
        status = "Failed"
    codedeploy.put_lifecycle_event_hook_execution_status(
        deploymentId=event["DeploymentId"],
        lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
        status=status,
    )


def check_key() -> None:
    """A key that does not exist is looked up and denied."""
    method = "arn:aws:execute-api:eu-west-1:123456789012:abcdef1234/live/GET/v1/sessions"
    policy = invoke(AUTHORIZE, request() | {"type": "REQUEST", "methodArn": method})
    effects = [statement["Effect"] for statement in policy["policyDocument"]["Statement"]]
    expect(effects == ["Deny"], f"authorize returned {effects} for an unknown key")


def check_page() -> None:
    """The first page has the form of the contract, and a total that agrees with it."""
    response = list_sessions(limit="5")
    expect(response["statusCode"] == 200, f"list_sessions returned {response['statusCode']}")
    page = json.loads(response["body"])
    expect(set(page) == {"data", "total", "offset", "limit"}, f"a page has {sorted(page)}")
    expect((page["offset"], page["limit"]) == (0, 5), "the page is another one than was asked for")
    # Items that break the contract are left out, so that a page may hold fewer than its total says.
    total, held = page["total"], len(page["data"])
    expect(type(total) is int and held <= min(total, 5), f"a page of {held} entries has the total {total!r}")
    for entry in page["data"]:
        expect(all(entry.get(name) for name in ALWAYS), f"a session lacks one of {sorted(ALWAYS)}")
        expect(entry["organization_id"] == ORGANIZATION, "a session belongs to another organization")


def check_refusal() -> None:
    """A wrong parameter is refused in the form of the contract."""
    response = list_sessions(limit="0")
    seen = response["statusCode"], json.loads(response["body"])["error"]["code"]
    expect(seen == (400, "invalid_parameter"), f"list_sessions returned {seen} for an invalid limit")


def list_sessions(**query: str) -> Any:
    """The response to a caller whom the authorizer has let in."""
    event = request(query)
    event["requestContext"]["authorizer"] = {"organization_id": ORGANIZATION, "principalId": ORGANIZATION}
    return invoke(LIST_SESSIONS, event)


def invoke(version: str, event: dict[str, Any]) -> Any:
    """What a version of a function returns.

    Raises:
        ReleaseRefused: it crashed, timed out or could not start.
        ClientError, BotoCoreError: Lambda did not call it, or did not respond.
    """
    response = lambda_.invoke(FunctionName=version, Payload=json.dumps(event))
    payload = json.loads(response["Payload"].read())
    expect("FunctionError" not in response, f"{version} crashed: {payload}")
    return payload


def expect(is_true: bool, otherwise: str) -> None:
    """Raises what is wrong, unless nothing is."""
    if not is_true:
        raise ReleaseRefused(otherwise)


def request(query: dict[str, str] | None = None) -> dict[str, Any]:
    """`GET /v1/sessions` as the gateway hands it to a function ('Input format of a Lambda function')."""
    headers = {"Accept": "application/json", "Authorization": UNKNOWN_KEY, "Host": "check-release.invalid"}
    return {
        "resource": "/v1/sessions",
        "path": "/v1/sessions",
        "httpMethod": "GET",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": query and {name: [value] for name, value in query.items()},
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abcdef1234",
            "domainName": "check-release.invalid",
            "domainPrefix": "check-release",
            "extendedRequestId": "check-release",
            "httpMethod": "GET",
            "identity": {"sourceIp": "127.0.0.1", "userAgent": "check-release"},
            "path": "/live/v1/sessions",
            "protocol": "HTTP/1.1",
            "requestId": "check-release",  # in the functions' log lines
            "requestTime": "01/Jan/2026:00:00:00 +0000",
            "requestTimeEpoch": 1767225600000,
            "resourceId": "abcdef",
            "resourcePath": "/v1/sessions",
            "stage": "live",
        },
        "body": None,
        "isBase64Encoded": False,
    }
