"""What the emulator does not support: each test fails once it does, and its workaround can go."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.stack.account import Account

ALARM = {
    "Type": "AWS::CloudWatch::Alarm",
    "Properties": {
        "ComparisonOperator": "GreaterThanThreshold",
        "EvaluationPeriods": 1,
        "Threshold": 0,
        "Metrics": [{"Id": "one", "Expression": "1"}],
    },
}
BODY = {
    "openapi": "3.0.1",
    "info": {"title": "imported", "version": "1"},
    "paths": {"/": {"x-amazon-apigateway-any-method": {"x-amazon-apigateway-integration": {"type": "mock"}}}},
    "x-amazon-apigateway-gateway-responses": {"UNAUTHORIZED": {"statusCode": "418"}},
}
API = {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Body": BODY}}


def create(account: Account, name: str, resource: dict[str, Any], **options: Any) -> str:
    template = json.dumps({"Resources": {"One": resource}})
    account.client("cloudformation").create_stack(StackName=name, TemplateBody=template, **options)
    return account.status(name)


def test_codedeploy_is_unknown(account: Account) -> None:
    resource = {"Type": "AWS::CodeDeploy::Application", "Properties": {"ComputePlatform": "Lambda"}}
    with pytest.raises(ClientError, match="Unrecognized resource types"):
        create(account, "codedeploy", resource)


def test_metric_math_is_refused(account: Account) -> None:
    assert create(account, "alarm", ALARM) == "ROLLBACK_COMPLETE"


def test_gateway_responses_and_any_methods_are_not_imported(account: Account) -> None:
    assert create(account, "api", API) == "CREATE_COMPLETE"
    gateway, api = account.client("apigateway"), account.resources("api")["One"]
    responses = {each["responseType"]: each for each in gateway.get_gateway_responses(restApiId=api)["items"]}
    assert responses["UNAUTHORIZED"]["statusCode"] == "401"
    [root] = gateway.get_resources(restApiId=api)["items"]
    assert not root.get("resourceMethods")


def test_a_failed_creation_deletes_protected_tables(account: Account) -> None:
    table = {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
            "DeletionProtectionEnabled": True,
        },
    }
    template = json.dumps({"Resources": {"One": table, "Two": ALARM | {"DependsOn": "One"}}})
    account.client("cloudformation").create_stack(StackName="protected", TemplateBody=template)
    assert account.status("protected") == "ROLLBACK_COMPLETE"  # ROLLBACK_FAILED on AWS
