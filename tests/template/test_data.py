"""The data: tables, stream and queue, kept, encrypted and created in a real engine."""

from typing import Any

import boto3
import pytest
from moto import mock_aws

from tests.template.stack import stack

TABLES = ["ApiKeysTable", "CountsTable", "SessionsTable"]
# What CreateTable itself does not take.
SEPARATE = {"PointInTimeRecoverySpecification", "TimeToLiveSpecification"}


def created(name: str) -> dict[str, Any]:
    """The table as the engine describes it after it was created from the template."""
    properties = {key: value for key, value in stack().properties(name).items() if key not in SEPARATE}
    if "StreamSpecification" in properties:  # CloudFormation turns it on where a view type is given
        properties["StreamSpecification"] = {"StreamEnabled": True} | properties["StreamSpecification"]
    dynamodb = boto3.client("dynamodb")
    dynamodb.create_table(TableName=name, **{"SSESpecification": {"Enabled": True}} | _without_sse(properties))
    described: dict[str, Any] = dynamodb.describe_table(TableName=name)["Table"]
    return described


def _without_sse(properties: dict[str, Any]) -> dict[str, Any]:
    # CloudFormation says SSEEnabled, CreateTable says Enabled.
    assert properties["SSESpecification"] == {"SSEEnabled": True}
    return {key: value for key, value in properties.items() if key != "SSESpecification"}


def test_there_are_three_tables() -> None:
    assert sorted(stack().of_type("AWS::DynamoDB::Table")) == TABLES


@pytest.mark.parametrize("name", TABLES)
def test_a_table_outlives_its_stack_and_can_be_restored_to_any_second(name: str) -> None:
    resource = stack().resources[name]
    # Except when its own creation fails: then nothing is in it yet.
    assert resource["DeletionPolicy"] == "RetainExceptOnCreate"
    assert resource["UpdateReplacePolicy"] == "Retain"
    properties = resource["Properties"]
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert properties["BillingMode"] == "PAY_PER_REQUEST"


@pytest.mark.parametrize(("wish", "protected"), [("yes", True), ("no", False)])
@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_protected_from_deletion_when_wished(name: str, wish: str, protected: bool) -> None:
    assert stack(DeletionProtection=wish).properties(name)["DeletionProtectionEnabled"] is protected


@pytest.mark.parametrize("name", TABLES)
@mock_aws
def test_a_table_is_created_and_encrypted(name: str) -> None:
    described = created(name)
    assert described["TableStatus"] == "ACTIVE"
    assert described["SSEDescription"]["Status"] == "ENABLED"
    assert described["KeySchema"] == stack().properties(name)["KeySchema"]


@mock_aws
def test_the_sessions_table_has_its_indexes_and_stream() -> None:
    described = created("SessionsTable")
    indexes = {
        index["IndexName"]: (
            [key["AttributeName"] for key in index["KeySchema"]],
            index["Projection"]["ProjectionType"],
        )
        for index in described["GlobalSecondaryIndexes"]
    }
    assert indexes == {
        "by_organization": (["organization_id", "created_at_id"], "ALL"),
        "by_organization_agent": (["organization_agent", "created_at_id"], "ALL"),
    }
    assert described["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}


@mock_aws
def test_the_failure_queue_keeps_for_two_weeks_and_is_encrypted() -> None:
    properties = {key: str(value).lower() for key, value in stack().properties("FailureQueue").items()}
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="failures", Attributes=properties)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["MessageRetentionPeriod"] == str(14 * 24 * 3600)
    assert attributes["SqsManagedSseEnabled"] == "true"


def test_expired_keys_leave_the_table() -> None:
    assert stack().properties("ApiKeysTable")["TimeToLiveSpecification"] == {
        "AttributeName": "expires_at",
        "Enabled": True,
    }


def test_every_log_group_forgets_after_the_days_of_the_parameter() -> None:
    groups = stack(LogRetentionDays="7").of_type("AWS::Logs::LogGroup")
    assert sorted(groups) == ["ApiLogs", "AuthorizeLogs", "CountSessionsLogs", "ListSessionsLogs"]
    assert {each["RetentionInDays"] for each in groups.values()} == {"7"}


def test_the_outputs_name_what_the_commands_ask_for() -> None:
    outputs = {name: each["Value"] for name, each in stack().outputs.items()}
    assert outputs == {
        "Url": "https://Api.execute-api.eu-west-1.amazonaws.com/live",
        "ApiId": "Api",
        "ApiStage": "ApiliveStage",
        "SessionsTableName": "SessionsTable",
        "CountsTableName": "CountsTable",
        "ApiKeysTableName": "ApiKeysTable",
        "FailureQueueUrl": "FailureQueue",
        "ListSessionsFunctionName": "ListSessionsFunction",
        "AuthorizeFunctionName": "AuthorizeFunction",
        "CountSessionsFunctionName": "CountSessionsFunction",
        "DashboardUrl": "https://eu-west-1.console.aws.amazon.com/cloudwatch/home"
        "?region=eu-west-1#dashboards:name=sessions-test",
    }
