"""The functions' roles: with any of its permissions taken away, a function fails."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import pytest

from tests.service import ORGANIZATION, ROOT, event
from tests.stack.account import Account

NOT_CHECKED = {
    *("logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"),
    *("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"),
    *("sqs:SendMessage", "codedeploy:PutLifecycleEventHookExecutionStatus"),
}
"""Actions that Lambda itself needs the role for, which the emulator does not check, and of CodeDeploy."""

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
    change = record["dynamodb"] | {"OldImage": record["dynamodb"]["NewImage"]}
    del change["NewImage"]
    removed = {"Records": [record | {"eventName": "REMOVE", "dynamodb": change}]}
    return all(invoke(each) == {"batchItemFailures": []} for each in (inserted, removed))


def accepts(invoke: Invoke) -> bool:
    return b"release refused" not in invoke({"DeploymentId": "d-1", "LifecycleEventHookExecutionId": "e"})


PROBES = {"ListSessions": lists, "Authorize": authorizes, "CountSessions": counts, "CheckRelease": accepts}


def pairs(policy: dict[str, Any]) -> list[tuple[str, str]]:
    """Return each action of a policy on each resource."""
    return [
        (action, resource)
        for statement in policy["Statement"]
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("name", PROBES)
def test_a_function_needs_its_role(name: str, account: Account, production: str) -> None:
    resources, lambda_, iam = account.resources(production), account.client("lambda"), account.client("iam")

    def invoke(made: dict[str, Any]) -> Any:
        returned = lambda_.invoke(FunctionName=resources[f"{name}Function"], Payload=json.dumps(made), LogType="Tail")
        return b64decode(returned["LogResult"]) if name == "CheckRelease" else json.load(returned["Payload"])

    role = {"RoleName": resources[f"{name}Role"]}
    role["PolicyName"] = iam.list_role_policies(**role)["PolicyNames"][0]
    whole = iam.get_role_policy(**role)["PolicyDocument"]
    assert PROBES[name](invoke)
    for pair in pairs(whole):
        left = [{"Effect": "Allow", "Action": each[0], "Resource": each[1]} for each in pairs(whole) if each != pair]
        iam.put_role_policy(**role, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": left}))
        assert PROBES[name](invoke) == (pair[0] in NOT_CHECKED), pair
    iam.put_role_policy(**role, PolicyDocument=json.dumps(whole))
    assert PROBES[name](invoke)
