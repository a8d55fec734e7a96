"""The policies that the emulator cannot check: CloudFormation's, CodeDeploy's and what Lambda does with a role."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from moto.iam.models import aws_managed_policies_data

from tests.template.stack import ROOT, WHOLE, expand, stack

FOLDER = ROOT / "docs" / "policies"
UNUSED = re.compile(
    r"""
    (amplify|apprunner|appsync|bedrock-agentcore|cognito-idp|ec2|elasticloadbalancing):.*  # other uses of a web ACL
    | wafv2:(Get|Put)PermissionPolicy | iam:(CreateServiceLinkedRole|(Put|Delete)RolePermissionsBoundary)
    | (elasticfilesystem|s3files|kms|kinesis|firehose):.* | s3:(GetObjectMetadata|ListBucket|REST\.PUT\.OBJECT)
    | dynamodb:(AssociateTableReplica|CreateTableReplica|BatchWriteItem|(Put|Get|Delete|Update)Item|Query|Scan)
    | dynamodb:(DescribeImport|ImportTable|(Enable|Disable|Update)KinesisStreamingDestination)
    | dynamodb:(UpdateContributorInsights|(Put|Delete)ResourcePolicy) | codedeploy:RegisterOnPremisesInstance
    | lambda:(AssociateRuntimeAlias|GetCodeSigningConfig|(Put|Delete)FunctionCodeSigningConfig|PassCapacityProvider)
    | lambda:((Put|Delete)FunctionConcurrency|PutFunctionRecursionConfig|PutFunctionScalingConfig)
    | lambda:(Put|Delete)ProvisionedConcurrencyConfig | logs:PutLogGroupDeletionProtection
    | logs:((Associate|Disassociate)KmsKey|CreateLogDelivery|CreateLogStream|DescribeLogStreams|PutLogEvents)
    | logs:((Put|Delete)(DataProtectionPolicy|IndexPolicy|ResourcePolicy)|PutBearerTokenAuthentication)
    """,
    re.VERBOSE,
)
"""Actions of CloudFormation's handlers for features that the template does not use."""

UNSAID = {"iam:PassRole", "lambda:ListTags"}
"""Actions that the handlers need and their schemas do not name."""


def statements(document: dict[str, Any]) -> list[tuple[str, str]]:
    def listed(value: Any) -> list[Any]:
        return value if isinstance(value, list) else [value]

    return [
        (action, resource)
        for statement in document["Statement"]
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]


def policy(name: str) -> list[tuple[str, str]]:
    return statements(json.loads((FOLDER / f"{name}.json").read_text()))


def role(name: str) -> set[str]:
    [only] = stack(**WHOLE).properties(name)["Policies"]
    return {action for action, _ in statements(only["PolicyDocument"])}


def managed(name: str) -> set[str]:
    return {action for action, _ in statements(json.loads(aws_managed_policies_data)[name]["Document"])}


def test_cloudformation_may_do_what_the_types_need_and_no_more() -> None:
    needed: set[str] = set()
    for kind in {each["Type"] for each in stack(**WHOLE).resources.values()}:
        handlers = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema["handlers"]
        verbs = [handlers[verb]["permissions"] for verb in ("create", "read", "update", "delete") if verb in handlers]
        needed |= {action for said in verbs for action in said if not UNUSED.fullmatch(action)}
    assert {action for action, _ in policy("cloudformation")} - UNSAID == needed - UNSAID


def test_roles_have_what_aws_policies_give_lambda_and_codedeploy() -> None:
    streams = {each for each in managed("AWSLambdaDynamoDBExecutionRole") if each.startswith("dynamodb:")}
    assert streams <= role("CountSessionsRole")
    deployment = role("DeploymentRole") - {"lambda:InvokeFunction"}  # AWS's own allows only CodeDeployHook_*
    assert deployment <= managed("AWSCodeDeployRoleForLambda") | {"lambda:GetProvisionedConcurrencyConfig"}


def test_the_pipeline_deletes_versions_and_writes_keys_alone() -> None:
    data = {pair for pair in policy("pipeline") if pair[0].startswith("dynamodb:")}
    assert data == {("dynamodb:PutItem", "arn:PARTITION:dynamodb:REGION:ACCOUNT:table/STACK-ApiKeysTable-*")}
    [delete] = [resource for action, resource in policy("pipeline") if action == "lambda:DeleteFunction"]
    assert not fnmatchcase("arn:PARTITION:lambda:REGION:ACCOUNT:function:STACK-Name-ABC", delete)


def test_policies_match_the_names_of_the_longest_stack_name() -> None:
    # CloudFormation shortens what is longer than a type's limit: STACK-LOGICALID- and 12 or 13 characters.
    limits = {"AWS::Lambda::Function": 64, "AWS::IAM::Role": 64, "AWS::SQS::Queue": 80, "AWS::DynamoDB::Table": 255}
    names = {name: limits[each["Type"]] for name, each in expand()[0]["Resources"].items() if each["Type"] in limits}
    longest = min(limit - len(f"--{name}") - 13 for name, limit in names.items())
    assert f"at most {longest} characters" in (ROOT / "docs" / "deployment.md").read_text()


@pytest.mark.parametrize("partition", ["aws", "aws-us-gov", "aws-cn"])
def test_every_arn_is_of_the_partition(partition: str) -> None:
    found = json.dumps(stack(**WHOLE, partition=partition).resources)
    assert set(re.findall(r"arn:(aws[a-z-]*):", found)) == {partition}
