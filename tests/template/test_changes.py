"""What a change of each parameter replaces: by CloudFormation's own schemas, and never a table."""

from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from tests.template.stack import ANOTHER, PSEUDO, WHOLE, Stack, change, stack

LIST, AUTHORIZE, COUNT = (
    f"{name}FunctionVersion" for name in ("ListSessions", "Authorize", "CountSessions")
)  # and a hash

# Versions are created and left behind: that is how they change. A parameter that is not here
# replaces nothing.
REPLACED = {
    "Architecture": {LIST, AUTHORIZE, COUNT},
    "BasePath": {"DomainMapping"},
    "CorsOrigins": {LIST},
    "DomainName": {"Domain", "DomainMapping"},
    "DynamoDbEndpoint": {LIST, AUTHORIZE, COUNT},
    "LogLevel": {LIST, AUTHORIZE, COUNT},
    "SnapStart": {LIST, AUTHORIZE},
    "WebAclArn": {"WebAclAssociation"},
}
# With a name that is not given, CloudFormation makes one.
HOLD_DATA = {"AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::Logs::LogGroup"}


def without_hash(name: str) -> str:
    """A logical id of SAM's without the hash that makes it new."""
    stem = name[:-10]
    return stem if stem in (LIST, AUTHORIZE, COUNT, "DependenciesLayer", "SessionsLayer", "ApiDeployment") else name


def create_only(kind: str) -> list[list[str]]:
    """Paths of the properties whose change replaces a resource of this type."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("eu-west-1", kind).schema
    return [path.split("/")[2:] for path in schema.get("createOnlyProperties", [])]


def at(properties: Any, path: list[str]) -> Any:
    for name in path:
        properties = properties.get(name) if isinstance(properties, dict) else None
    return properties


def replaced(before: Stack, after: Stack) -> set[str]:
    """Resources that are replaced: a hash of SAM's, a create-only property or a resource named in one has changed."""
    stems = {without_hash(name) for name in set(before.resources) - set(after.resources)}
    made_anew = stems & {without_hash(name) for name in set(after.resources) - set(before.resources)}
    both = sorted(set(before.resources) & set(after.resources))
    for _ in both:  # as often as one can lead to another
        for name in both:
            old, new = (each.resources[name]["Properties"] for each in (before, after))
            for path in create_only(before.resources[name]["Type"]):
                if at(old, path) != at(new, path) or str(at(new, path)) in made_anew:
                    made_anew.add(name)
    return {without_hash(name) for name in made_anew} - {
        "ApiDeployment"
    }  # a snapshot of the API, made with every deployment


@pytest.mark.parametrize("parameter", sorted(ANOTHER))
def test_a_parameter_replaces_these_resources_and_no_other(parameter: str) -> None:
    before, after = change(parameter)
    if parameter in {"DomainName", "WebAclArn"}:  # replaced where there was one before
        before = stack(**WHOLE)
        after = stack(**WHOLE | {parameter: ANOTHER[parameter] + "0"})
    assert replaced(before, after) == REPLACED.get(parameter, set())


@pytest.mark.parametrize("parameter", sorted(ANOTHER))
def test_no_parameter_replaces_or_removes_what_holds_data(parameter: str) -> None:
    before, after = change(parameter)
    holding = {name for name, each in before.resources.items() if each["Type"] in HOLD_DATA}
    assert len(holding) >= 8
    assert holding <= set(after.resources)
    assert holding.isdisjoint(replaced(before, after))


def test_no_resource_that_holds_data_has_a_name_of_ours() -> None:
    # A stack of another name beside this one would collide with it, and a change of the name would replace it.
    for kind in HOLD_DATA:
        for name, properties in stack(**WHOLE).of_type(kind).items():
            assert not {"TableName", "QueueName", "LogGroupName"} & set(properties), name


def test_the_name_of_the_stack_is_in_no_property_that_replaces() -> None:
    for name, resource in stack(**WHOLE).resources.items():
        for path in create_only(resource["Type"]):
            if resource["Type"] in {"AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard"}:
                continue  # named after the stack, which CloudFormation cannot rename
            assert PSEUDO["AWS::StackName"] not in str(at(resource["Properties"], path)), name
