"""What the emulator does not support: a test fails once it does, and its workaround can go."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.stack.account import Account

ALARM = {"ComparisonOperator": "GreaterThanThreshold", "EvaluationPeriods": 1, "Threshold": 0}
ALARM |= {"Metrics": [{"Id": "one", "Expression": "1"}]}
BODY = {
    "openapi": "3.0.1",
    "info": {"title": "imported", "version": "1"},
    "paths": {"/": {"x-amazon-apigateway-any-method": {"x-amazon-apigateway-integration": {"type": "mock"}}}},
    "x-amazon-apigateway-gateway-responses": {"UNAUTHORIZED": {"statusCode": "418"}},
}
ID = {"AttributeName": "id"}
TABLE = {"AttributeDefinitions": [ID | {"AttributeType": "S"}], "KeySchema": [ID | {"KeyType": "HASH"}]}
TABLE |= {"BillingMode": "PAY_PER_REQUEST", "DeletionProtectionEnabled": True}


def create(account: Account, name: str, *resources: tuple[str, dict[str, Any]]) -> str:
    """Create a stack of resources, one after the other, and return its status then."""
    template = {f"R{at}": {"Type": kind, "Properties": each} for at, (kind, each) in enumerate(resources)}
    for at in range(1, len(resources)):
        template[f"R{at}"]["DependsOn"] = f"R{at - 1}"
    account.client("cloudformation").create_stack(StackName=name, TemplateBody=json.dumps({"Resources": template}))
    return account.status(name)


def test_codedeploy_is_unknown(account: Account) -> None:
    with pytest.raises(ClientError, match="Unrecognized resource types"):
        create(account, "codedeploy", ("AWS::CodeDeploy::Application", {"ComputePlatform": "Lambda"}))


def test_metric_math_is_refused(account: Account) -> None:
    assert create(account, "alarm", ("AWS::CloudWatch::Alarm", ALARM)) == "ROLLBACK_COMPLETE"


def test_responses_and_any_methods_are_not_imported(account: Account) -> None:
    assert create(account, "api", ("AWS::ApiGateway::RestApi", {"Body": BODY})) == "CREATE_COMPLETE"
    gateway, api = account.client("apigateway"), account.resources("api")["R0"]
    assert gateway.get_gateway_response(restApiId=api, responseType="UNAUTHORIZED")["statusCode"] == "401"
    assert not gateway.get_resources(restApiId=api)["items"][0].get("resourceMethods")


def test_a_failed_creation_deletes_protected_tables(account: Account) -> None:
    # AWS ends in ROLLBACK_FAILED.
    resources = ("AWS::DynamoDB::Table", TABLE), ("AWS::CloudWatch::Alarm", ALARM)
    assert create(account, "protected", *resources) == "ROLLBACK_COMPLETE"
