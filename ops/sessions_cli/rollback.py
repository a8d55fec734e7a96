"""Rolls a stack back to the template and the parameters that it had before a release.

The rollback goes through CloudFormation, which would not know of aliases that were moved by hand: every later release
would fail ('The Lambda function alias version does not match the current version in AppSpec file').
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Final, NamedTuple

import click
from botocore.exceptions import ClientError, WaiterError

CAPABILITIES: Final = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
"""Capabilities that the update needs: the template has roles and SAM's transform."""

ROLLOUT: Final = {"Rollout": "forced"}
"""The parameter that ships at once and past the alarms, which the release to roll back may have set off."""

POLL_SECONDS: Final = 10
POLLS_MAX: Final = 180
"""Seconds between two polls of the update, and how many there are: half an hour."""

ARTIFACT: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]+)/")


class RollbackFailed(click.ClickException):
    """The stack could not be rolled back; the message says why."""


class Snapshot(NamedTuple):
    """The template and the parameters of a stack."""

    template: str
    """As it was deployed, before SAM's transform."""
    parameters: dict[str, str]
    tags: dict[str, str]


def save(cloudformation: Any, stack: str) -> Snapshot | None:
    """Return the present template and parameters of a stack, or None if it does not exist yet."""
    try:
        [described] = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    except ClientError as error:
        if "does not exist" in error.response["Error"].get("Message", ""):
            return None
        raise
    body = cloudformation.get_template(StackName=stack, TemplateStage="Original")["TemplateBody"]
    return Snapshot(
        body if isinstance(body, str) else json.dumps(body),  # boto3 parses a template in JSON
        {each["ParameterKey"]: each["ParameterValue"] for each in described.get("Parameters", [])},
        {each["Key"]: each["Value"] for each in described.get("Tags", [])},
    )


def restore(cloudformation: Any, s3: Any, stack: str, snapshot: Snapshot) -> bool:
    """Update the stack to a snapshot, and wait for it.

    Returns:
        Whether there was anything to change.
    """
    rollout = {name: value for name, value in ROLLOUT.items() if name in snapshot.parameters}
    parameters = snapshot.parameters | rollout
    try:
        cloudformation.update_stack(
            StackName=stack,
            TemplateURL=upload(s3, stack, snapshot.template),
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
            Tags=[{"Key": name, "Value": value} for name, value in snapshot.tags.items()],
            Capabilities=CAPABILITIES,
        )
    except ClientError as error:
        if "No updates are to be performed" in error.response["Error"].get("Message", ""):
            return False
        raise
    try:
        waiter = cloudformation.get_waiter("stack_update_complete")
        waiter.wait(StackName=stack, WaiterConfig={"Delay": POLL_SECONDS, "MaxAttempts": POLLS_MAX})
    except WaiterError as error:
        raise RollbackFailed(reason(cloudformation, stack) or str(error)) from error
    return True


def upload(s3: Any, stack: str, template: str) -> str:
    """Put the template beside its artifacts, since an UpdateStack request takes no more than 51,200 bytes."""
    artifact = ARTIFACT.search(template)
    if artifact is None:
        raise RollbackFailed("The template names no artifact, such as s3://bucket/key, whose bucket could hold it.")
    key = f"{stack}/rollback/{hashlib.sha256(template.encode()).hexdigest()}.template"
    s3.put_object(Bucket=artifact[1], Key=key, Body=template.encode())
    url: str = s3.generate_presigned_url("get_object", Params={"Bucket": artifact[1], "Key": key})
    return url.partition("?")[0]  # CloudFormation reads it with the caller's permissions


def reason(cloudformation: Any, stack: str) -> str:
    """Return the first failure of the last update, or ''."""
    failure = ""
    for event in cloudformation.describe_stack_events(StackName=stack)["StackEvents"]:  # newest first
        status = event["ResourceStatus"]
        if event["LogicalResourceId"] == stack and status == "UPDATE_IN_PROGRESS":
            break
        if status.endswith("_FAILED"):
            failure = f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', status)}"
    return failure
