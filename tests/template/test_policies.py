"""The policies of the pipeline's role and of CloudFormation's: enough for the template, and no more than they need."""

import json
import re
from fnmatch import fnmatchcase
from typing import Any

import boto3
import pytest
import yaml
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from moto import mock_aws

from sessions_cli import rollback
from tests.template.stack import ROOT, WHOLE, stack

FOLDER = ROOT / "docs" / "policies"
STACK = "sessions-production"
VALUES = {
    "PARTITION": "aws-us-gov",
    "REGION": "us-gov-west-1",
    "ACCOUNT": "123456789012",
    "STACK": STACK,
    "OWNER/REPOSITORY": "owner/repository",
    "ENVIRONMENT": "production",
}

# What CloudFormation's handlers can do besides, for features that the template does not use.
UNUSED = re.compile(
    r"""
    (amplify|apprunner|appsync|bedrock-agentcore|cognito-idp|ec2|elasticloadbalancing):.*  # other uses of a web ACL
    | wafv2:(Get|Put)PermissionPolicy  # web ACLs of Firewall Manager
    | (ec2|elasticfilesystem|s3files):.*  # functions in a network or with a file system
    | (kms|kinesis|firehose):.*  # customer-managed keys, streams and deliveries
    | iam:CreateServiceLinkedRole  # of replicas
    | iam:(Put|Delete)RolePermissionsBoundary
    | dynamodb:(AssociateTableReplica|CreateTableReplica)
    | dynamodb:(BatchWriteItem|(Put|Get|Delete|Update)Item|Query|Scan)  # of replicas too
    | dynamodb:(DescribeImport|ImportTable|(Enable|Disable|Update)KinesisStreamingDestination)
    | dynamodb:(UpdateContributorInsights|(Put|Delete)ResourcePolicy)
    | lambda:(AssociateRuntimeAlias|GetCodeSigningConfig|(Put|Delete)FunctionCodeSigningConfig|PassCapacityProvider)
    | lambda:((Put|Delete)FunctionConcurrency|PutFunctionRecursionConfig|PutFunctionScalingConfig)
    | lambda:(Put|Delete)ProvisionedConcurrencyConfig
    | codedeploy:RegisterOnPremisesInstance
    | logs:((Associate|Disassociate)KmsKey|CreateLogDelivery|CreateLogStream|DescribeLogStreams|PutLogEvents)
    | logs:((Put|Delete)(DataProtectionPolicy|IndexPolicy|ResourcePolicy)|PutBearerTokenAuthentication)
    | logs:PutLogGroupDeletionProtection
    | s3:(GetObjectMetadata|ListBucket|REST\.PUT\.OBJECT)  # imports and deliveries
    """,
    re.VERBOSE,
)
# What handlers need and do not say: the transfer of a role, and what they read through a call of another name.
UNSAID = {"iam:PassRole", "lambda:ListTags"}


def statements(name: str) -> list[dict[str, Any]]:
    text = (FOLDER / f"{name}.json").read_text()
    for placeholder, value in VALUES.items():
        text = text.replace(placeholder, value)
    found: list[dict[str, Any]] = json.loads(text)["Statement"]
    return found


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def actions(name: str) -> set[str]:
    return {action for statement in statements(name) for action in listed(statement["Action"])}


def allows(name: str, action: str, resource: str) -> bool:
    return any(
        action in listed(statement["Action"])
        and any(fnmatchcase(resource, pattern) for pattern in listed(statement["Resource"]))
        for statement in statements(name)
    )


def needed() -> dict[str, set[str]]:
    """What CloudFormation does for each type of the template, as its own schemas say."""
    kinds = {each["Type"] for each in stack(**WHOLE).resources.values()}
    made: dict[str, set[str]] = {}
    for kind in kinds:
        handlers = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema["handlers"]
        verbs = [handlers[verb]["permissions"] for verb in ("create", "read", "update", "delete") if verb in handlers]
        made[kind] = {action for said in verbs for action in said if not UNUSED.fullmatch(action)}
    return made


@pytest.mark.parametrize("kind", sorted(needed()))
def test_cloudformation_may_do_what_a_type_of_the_template_needs(kind: str) -> None:
    assert needed()[kind] - actions("cloudformation") == set()


def test_cloudformation_may_do_nothing_that_no_type_needs() -> None:
    assert actions("cloudformation") - set().union(*needed().values()) - UNSAID == set()


# The other names are those of the stack, which CloudFormation begins with its name.
NAMED = {
    "AWS::DynamoDB::Table": ("dynamodb:UpdateTable", "dynamodb:us-gov-west-1:123456789012:table/{}"),
    "AWS::IAM::Role": ("iam:PutRolePolicy", "iam::123456789012:role/{}"),
    "AWS::Lambda::Function": ("lambda:UpdateFunctionCode", "lambda:us-gov-west-1:123456789012:function:{}"),
    "AWS::Logs::LogGroup": ("logs:PutRetentionPolicy", "logs:us-gov-west-1:123456789012:log-group:{}"),
    "AWS::SQS::Queue": ("sqs:SetQueueAttributes", "sqs:us-gov-west-1:123456789012:{}"),
}


@pytest.mark.parametrize("kind", sorted(NAMED))
def test_cloudformation_may_change_the_resources_of_this_stack_alone(kind: str) -> None:
    action, arn = NAMED[kind]
    for name in stack(**WHOLE).of_type(kind):
        assert allows("cloudformation", action, f"arn:aws-us-gov:{arn}".format(f"{STACK}-{name}-ABC"))
        assert not allows("cloudformation", action, f"arn:aws-us-gov:{arn}".format(f"another-{name}-ABC"))


@pytest.mark.parametrize("role", ["pipeline", "cloudformation"])
def test_nobody_may_change_the_roles_that_deploy(role: str) -> None:
    for name in ("pipeline", "cloudformation"):
        assert not allows(role, "iam:PutRolePolicy", f"arn:aws-us-gov:iam::123456789012:role/{name}-{STACK}")


def test_a_role_is_passed_on_to_the_services_of_the_template_alone() -> None:
    principals = {
        statement["Principal"]["Service"]
        for role in stack(**WHOLE).of_type("AWS::IAM::Role").values()
        for statement in role["AssumeRolePolicyDocument"]["Statement"]
    }
    [passes] = [each for each in statements("cloudformation") if each["Action"] == "iam:PassRole"]
    assert set(passes["Condition"]["StringEquals"]["iam:PassedToService"]) == principals
    [passes] = [each for each in statements("pipeline") if each["Action"] == "iam:PassRole"]
    assert passes["Resource"] == f"arn:aws-us-gov:iam::123456789012:role/cloudformation-{STACK}"
    assert passes["Condition"] == {"StringEquals": {"iam:PassedToService": "cloudformation.amazonaws.com"}}


def test_the_pipeline_may_make_the_calls_of_its_steps() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ship.yml").read_text())["jobs"]
    commands = "\n".join(step.get("run", "") for step in jobs["ship"]["steps"])
    called = re.findall(r"\baws (\w+) ([\w-]+)", commands)
    assert called
    for service, operation in called:
        assert f"{service}:{operation.title().replace('-', '')}" in actions("pipeline")


def test_the_pipeline_may_make_the_calls_of_a_rollback(monkeypatch: pytest.MonkeyPatch) -> None:
    called: set[str] = set()
    with mock_aws():
        cloudformation, s3 = boto3.client("cloudformation"), boto3.client("s3")
        for client in (cloudformation, s3):
            service = client.meta.service_model.service_name
            client.meta.events.register(
                "before-call", lambda model, service=service, **_: called.add(f"{service}:{model.name}")
            )
        s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        template = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}, "Metadata": {"CodeUri": "s3://bucket/key"}}
        cloudformation.create_stack(StackName=STACK, TemplateBody=json.dumps(template))
        snapshot = rollback.save(cloudformation, STACK)
        assert snapshot is not None
        rollback.restore(cloudformation, s3, STACK, snapshot)
        rollback.reason(cloudformation, STACK)
    called -= {"s3:CreateBucket", "cloudformation:CreateStack"}
    assert "cloudformation:UpdateStack" in called
    assert called - actions("pipeline") == set()


def test_the_pipeline_deletes_versions_and_never_a_function() -> None:
    function = f"arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:{STACK}-ListSessionsFunction-ABC"
    assert allows("pipeline", "lambda:DeleteFunction", f"{function}:7")
    assert not allows("pipeline", "lambda:DeleteFunction", function)


def test_the_pipeline_may_issue_keys_and_read_or_change_no_data() -> None:
    assert {each for each in actions("pipeline") if each.startswith("dynamodb:")} == {"dynamodb:PutItem"}
    table = "arn:aws-us-gov:dynamodb:us-gov-west-1:123456789012:table/"
    assert allows("pipeline", "dynamodb:PutItem", f"{table}{STACK}-ApiKeysTable-ABC")
    assert not allows("pipeline", "dynamodb:PutItem", f"{table}{STACK}-SessionsTable-ABC")


@pytest.mark.parametrize("name", ["pipeline", "cloudformation"])
def test_a_policy_fits_into_a_role_and_names_no_action_by_a_wildcard(name: str) -> None:
    # 10,240 characters of all inline policies of a role, spaces left out ('IAM and AWS STS quotas').
    assert len(json.dumps(statements(name), separators=(",", ":"))) < 10_000
    assert [each for each in actions(name) if "*" in each] == []
    everywhere = [each["Sid"] for each in statements(name) if each["Resource"] == "*"]
    assert everywhere == {"pipeline": ["Template"], "cloudformation": ["ListLogGroups", "EventSourceMappings"]}[name]


def test_only_this_repository_and_environment_become_the_pipeline() -> None:
    [trust] = statements("pipeline-trust")
    assert trust["Condition"]["StringEquals"] == {
        "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
        "token.actions.githubusercontent.com:sub": "repo:owner/repository:environment:production",
    }
    [trust] = statements("cloudformation-trust")
    assert trust["Principal"] == {"Service": "cloudformation.amazonaws.com"}


def test_every_placeholder_is_filled_in() -> None:
    for path in FOLDER.glob("*.json"):
        left = json.dumps(statements(path.stem))
        assert not re.search(r"PARTITION|REGION|ACCOUNT|STACK|OWNER|REPOSITORY|ENVIRONMENT", left), path.name
