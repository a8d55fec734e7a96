"""The functions' roles: with each of their permissions taken away, the function fails."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.service import ROOT, event
from tests.stack.account import Account
from tests.stack.test_calls import ORGANIZATION

NOT_CHECKED = {
    "logs:CreateLogStream": "Lambda writes the log",
    "logs:PutLogEvents": "Lambda writes the log",
    "xray:PutTraceSegments": "Lambda sends the traces",
    "xray:PutTelemetryRecords": "Lambda sends the traces",
    "dynamodb:DescribeStream": "Lambda reads the stream",
    "dynamodb:GetRecords": "Lambda reads the stream",
    "dynamodb:GetShardIterator": "Lambda reads the stream",
    "dynamodb:ListStreams": "Lambda reads the stream",
    "sqs:SendMessage": "Lambda writes to the queue",
    "codedeploy:PutLifecycleEventHookExecutionStatus": "the emulator has no CodeDeploy",
}
"""Actions that the emulator does not check, since the service itself uses the role, with the reason."""

Invoke = Callable[[dict[str, Any]], Any]


def lists(invoke: Invoke) -> bool:
    answers = []
    for query in ("", "agent_id=agent_" + "1" * 32):
        made = event(query)
        made["requestContext"]["authorizer"] = {"organization_id": ORGANIZATION}
        answers.append(invoke(made))
    return all(answer["statusCode"] == 200 for answer in answers)


def authorizes(invoke: Invoke) -> bool:
    return "policyDocument" in invoke(json.loads((ROOT / "events" / "authorize.json").read_text()))


def counts(invoke: Invoke) -> bool:
    inserted: dict[str, Any] = json.loads((ROOT / "events" / "count_insert.json").read_text())
    [record] = inserted["Records"]
    image = record["dynamodb"]["NewImage"]
    change = {name: value for name, value in record["dynamodb"].items() if name != "NewImage"} | {"OldImage": image}
    removed = {"Records": [record | {"eventName": "REMOVE", "dynamodb": change}]}
    return all(invoke(each) == {"batchItemFailures": []} for each in (inserted, removed))


def accepts(invoke: Invoke) -> bool:
    return "release refused" not in str(invoke({"DeploymentId": "d-1", "LifecycleEventHookExecutionId": "e"}))


PROBES: dict[str, Callable[[Invoke], bool]] = {
    "ListSessions": lists,
    "Authorize": authorizes,
    "CountSessions": counts,
    "CheckRelease": accepts,
}


def permissions(policy: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each action on each resource of a policy, with the policy that lacks it."""
    pairs = [
        (action, resource)
        for statement in policy["Statement"]
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]
    for pair in pairs:
        left = [{"Effect": "Allow", "Action": action, "Resource": on} for action, on in pairs if (action, on) != pair]
        yield pair[0], {"Version": "2012-10-17", "Statement": left}


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("name", PROBES)
def test_a_function_needs_every_permission_of_its_role(name: str, account: Account, production: str) -> None:
    resources, lambda_, iam = account.resources(production), account.client("lambda"), account.client("iam")

    def invoke(made: dict[str, Any]) -> Any:
        function = resources[f"{name}Function"]
        returned = lambda_.invoke(FunctionName=function, Payload=json.dumps(made), LogType="Tail")
        payload = json.load(returned["Payload"])
        return b64decode(returned["LogResult"]) if name == "CheckRelease" else payload

    role = resources[f"{name}Role"]
    [policy] = iam.list_role_policies(RoleName=role)["PolicyNames"]
    whole = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    assert PROBES[name](invoke)
    for action, lacking in permissions(whole):
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(lacking))
        assert PROBES[name](invoke) == (action in NOT_CHECKED), action
    iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(whole))
    assert PROBES[name](invoke)
