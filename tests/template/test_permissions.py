"""Least privilege: every action and resource of every role, written out."""

import re

import pytest

from tests.template.stack import TEXT, WHOLE, stack, statements

TRACES = {("xray:PutTraceSegments", "*"), ("xray:PutTelemetryRecords", "*")}
FUNCTIONS = ("ListSessionsFunction", "AuthorizeFunction", "CountSessionsFunction")
WHOLE_STACK = stack(**WHOLE)


def logs(group: str) -> set[tuple[str, str]]:
    return {(action, f"{group}.Arn") for action in ("logs:CreateLogStream", "logs:PutLogEvents")}


EXPECTED = {
    "ListSessionsRole": {
        ("dynamodb:Query", "SessionsTable.Arn/index/by_organization"),
        ("dynamodb:Query", "SessionsTable.Arn/index/by_organization_agent"),
        ("dynamodb:Query", "CountsTable.Arn"),
    }
    | TRACES
    | logs("ListSessionsLogs"),
    "AuthorizeRole": {("dynamodb:GetItem", "ApiKeysTable.Arn")} | TRACES | logs("AuthorizeLogs"),
    "CountSessionsRole": {
        ("dynamodb:DescribeStream", "SessionsTable.StreamArn"),
        ("dynamodb:GetRecords", "SessionsTable.StreamArn"),
        ("dynamodb:GetShardIterator", "SessionsTable.StreamArn"),
        ("dynamodb:ListStreams", "*"),
        ("dynamodb:BatchGetItem", "CountsTable.Arn"),
        ("dynamodb:PutItem", "CountsTable.Arn"),
        ("dynamodb:UpdateItem", "CountsTable.Arn"),
        ("dynamodb:DeleteItem", "CountsTable.Arn"),
        ("sqs:SendMessage", "FailureQueue.Arn"),
    }
    | TRACES
    | logs("CountSessionsLogs"),
    "CheckReleaseRole": {
        ("lambda:InvokeFunction", "ListSessionsFunction.Arn:*"),
        ("lambda:InvokeFunction", "AuthorizeFunction.Arn:*"),
        (
            "codedeploy:PutLifecycleEventHookExecutionStatus",
            "arn:aws:codedeploy:eu-west-1:123456789012:deploymentgroup:ServerlessDeploymentApplication/*",
        ),
    }
    | TRACES
    | logs("CheckReleaseLogs"),
    "DeploymentRole": {("cloudwatch:DescribeAlarms", "*"), ("lambda:InvokeFunction", "CheckReleaseFunction.Arn")}
    | {
        (action, f"{function}.Arn{qualifier}")
        for action in ("lambda:GetAlias", "lambda:UpdateAlias", "lambda:GetProvisionedConcurrencyConfig")
        for function in FUNCTIONS
        for qualifier in ("", ":*")
    },
    "GatewayAccountLogsRole": set(),
}
TRUSTED = {
    "ListSessionsRole": "lambda.amazonaws.com",
    "AuthorizeRole": "lambda.amazonaws.com",
    "CountSessionsRole": "lambda.amazonaws.com",
    "CheckReleaseRole": "lambda.amazonaws.com",
    "DeploymentRole": "codedeploy.amazonaws.com",
    "GatewayAccountLogsRole": "apigateway.amazonaws.com",
}


def test_there_is_no_other_role() -> None:
    assert set(WHOLE_STACK.of_type("AWS::IAM::Role")) == set(EXPECTED)
    assert set(stack().of_type("AWS::IAM::Role")) == set(EXPECTED) - {"CheckReleaseRole", "GatewayAccountLogsRole"}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_role_allows_this_and_nothing_else(name: str) -> None:
    assert set(statements(WHOLE_STACK.properties(name))) == EXPECTED[name]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_role_is_for_one_service_and_takes_no_managed_policy(name: str) -> None:
    role = WHOLE_STACK.properties(name)
    [statement] = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement == {"Effect": "Allow", "Principal": {"Service": TRUSTED[name]}, "Action": "sts:AssumeRole"}
    # The account's role for the gateway's logs is the exception: it serves every API of the account.
    account = ["arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"]
    assert role.get("ManagedPolicyArns", []) == (account if name == "GatewayAccountLogsRole" else [])


@pytest.mark.parametrize("name", [*FUNCTIONS, "CheckReleaseFunction"])
def test_each_function_has_a_role_of_its_own(name: str) -> None:
    assert WHOLE_STACK.properties(name)["Role"] == name.removesuffix("Function") + "Role.Arn"


def test_no_action_is_a_wildcard() -> None:
    allowed = [action for role in EXPECTED for action, _ in statements(WHOLE_STACK.properties(role))]
    assert [action for action in allowed if "*" in action] == []


def test_without_the_hook_codedeploy_may_call_no_function() -> None:
    allowed = {action for action, _ in statements(stack().properties("DeploymentRole"))}
    assert "lambda:InvokeFunction" not in allowed


def test_the_reason_stands_beside_every_wildcard_of_a_resource() -> None:
    lines = TEXT.splitlines()
    wild = [number for number, line in enumerate(lines) if re.search(r'Resource: "\*"|:\*$', line)]
    assert len(wild) == 8
    for number in wild:
        statement = next(above for above in range(number, 0, -1) if lines[above].lstrip().startswith("- "))
        around = [line for line in lines[number - 6 : number + 1] if "#" in line]
        assert around, f"line {number + 1}, in the statement of line {statement + 1}"
