"""The expanded template, deployed by moto's CloudFormation: as much of it as moto knows how to make."""

import ast
import io
import json
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from tests.template.stack import WHOLE, expand

NAME = "sessions-test"

NOT_MADE = {
    "AWS::ApiGateway::Account",
    "AWS::ApiGateway::BasePathMapping",
    "AWS::ApiGateway::DomainName",
    "AWS::CloudWatch::Alarm",
    "AWS::CodeDeploy::Application",
    "AWS::CodeDeploy::DeploymentGroup",
    "AWS::Lambda::Alias",
    "AWS::WAFv2::WebACLAssociation",
}
"""Types that moto passes over."""

REFUSED = {"AWS::ApiGateway::Deployment", "AWS::ApiGateway::Stage"}
"""Types that moto would make of methods, and it makes none of the API's Body."""


@pytest.fixture(scope="module")
def deployed() -> Iterator[dict[str, Any]]:
    """The stack with all its options: resources that were made, by logical id, and what CloudFormation says of it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(variable, "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        with mock_aws():
            template, values = expand(parameters=json.dumps(WHOLE))
            upload(template)
            cloudformation = boto3.client("cloudformation")
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Tried to parse .* not supported by moto")
                cloudformation.create_stack(
                    StackName=NAME,
                    TemplateBody=json.dumps(for_moto(template)),
                    Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()],
                    Capabilities=["CAPABILITY_IAM"],
                )
                [stack] = cloudformation.describe_stacks(StackName=NAME)["Stacks"]
                made = cloudformation.list_stack_resources(StackName=NAME)["StackResourceSummaries"]
            yield {
                "expanded": template,
                "status": stack["StackStatus"],
                "outputs": {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]},
                "ids": {
                    each["LogicalResourceId"]: each["PhysicalResourceId"] for each in made if each["LogicalResourceId"]
                },
            }


def upload(template: dict[str, Any]) -> None:
    """Puts an archive where every function and layer looks for its code."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("app.py", "def handler(event, context): ...")
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for resource in template["Resources"].values():
        code = resource["Properties"].get("Code") or resource["Properties"].get("Content") or {}
        if "S3Key" in code:
            s3.put_object(Bucket=code["S3Bucket"], Key=code["S3Key"], Body=archive.getvalue())


def for_moto(template: dict[str, Any]) -> dict[str, Any]:
    """The template without what moto does not make; functions stand in for their aliases."""
    text = json.dumps(template)
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Lambda::Alias":
            text = text.replace(json.dumps({"Ref": name}), json.dumps(resource["Properties"]["FunctionName"]))
    short: dict[str, Any] = json.loads(text)
    gone = {name for name, each in short["Resources"].items() if each["Type"] in NOT_MADE | REFUSED}
    short["Resources"] = {name: each for name, each in short["Resources"].items() if each["Type"] not in REFUSED}
    short["Resources"]["Api"]["Properties"]["Name"] = {"Ref": "AWS::StackName"}  # CloudFormation takes the title
    short["Outputs"] = {
        name: each
        for name, each in short["Outputs"].items()
        if not any(json.dumps(word) in json.dumps(each["Value"]) for word in gone)
    }
    return short


def test_everything_that_moto_knows_is_created(deployed: dict[str, Any]) -> None:
    assert deployed["status"] == "CREATE_COMPLETE"
    resources = deployed["expanded"]["Resources"]
    expected = {name for name, each in resources.items() if each["Type"] not in NOT_MADE | REFUSED}
    assert set(deployed["ids"]) == expected
    assert len(expected) >= 26


def test_the_functions_get_the_names_of_the_tables_that_were_made(deployed: dict[str, Any]) -> None:
    ids = deployed["ids"]
    lambda_ = boto3.client("lambda", region_name="eu-west-1")
    variables = {
        name: lambda_.get_function_configuration(FunctionName=ids[f"{name}Function"])["Environment"]["Variables"]
        for name in ("ListSessions", "Authorize", "CountSessions")
    }
    assert (
        variables["ListSessions"]["SESSIONS_TABLE"] == ids["SessionsTable"] == deployed["outputs"]["SessionsTableName"]
    )
    assert variables["ListSessions"]["COUNTS_TABLE"] == ids["CountsTable"] == deployed["outputs"]["CountsTableName"]
    assert variables["Authorize"]["API_KEYS_TABLE"] == ids["ApiKeysTable"] == deployed["outputs"]["ApiKeysTableName"]
    assert variables["CountSessions"]["COUNTS_TABLE"] == ids["CountsTable"]
    assert {each["STACK_NAME"] for each in variables.values()} == {NAME}


def test_the_tables_exist_with_their_indexes_and_stream(deployed: dict[str, Any]) -> None:
    dynamodb = boto3.client("dynamodb", region_name="eu-west-1")
    sessions = dynamodb.describe_table(TableName=deployed["ids"]["SessionsTable"])["Table"]
    assert {each["IndexName"] for each in sessions["GlobalSecondaryIndexes"]} == {
        "by_organization",
        "by_organization_agent",
    }
    [mapping] = boto3.client("lambda", region_name="eu-west-1").list_event_source_mappings()["EventSourceMappings"]
    assert mapping["EventSourceArn"] == sessions["LatestStreamArn"]


def test_the_logs_of_every_function_have_a_group_and_its_role_may_write_there(deployed: dict[str, Any]) -> None:
    groups = {
        each["logGroupName"]: each
        for each in boto3.client("logs", region_name="eu-west-1").describe_log_groups()["logGroups"]
    }
    iam = boto3.client("iam")
    for name in ("ListSessions", "Authorize", "CountSessions", "CheckRelease"):
        group = groups[deployed["ids"][f"{name}Logs"]]
        assert group["retentionInDays"] == 30
        role = deployed["ids"][f"{name}Role"]
        [policy] = iam.list_role_policies(RoleName=role)["PolicyNames"]
        text: Any = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
        document = ast.literal_eval(text)  # moto keeps a document of CloudFormation's as Python writes it
        allowed = [each["Resource"] for each in document["Statement"] if "logs:PutLogEvents" in each["Action"]]
        # CloudFormation's own ends with ':*', for the streams of the group; moto's does not.
        assert [arn.removesuffix(":*") for arn in allowed] == [group["arn"].removesuffix(":*")]


def test_the_url_leads_to_the_domain(deployed: dict[str, Any]) -> None:
    assert deployed["outputs"]["Url"] == "https://api.example.com"
    assert deployed["outputs"]["ApiId"] == deployed["ids"]["Api"]
