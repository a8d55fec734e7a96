"""The resources that CloudFormation creates from `template.yaml`: expanded by SAM, with parameters resolved."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from samtranslator.translator.arn_generator import ArnGenerator
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

from sessions_local.intrinsics import PSEUDO_PARAMETERS, Intrinsics

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "template.yaml").read_text()

PARAMETERS: dict[str, dict[str, Any]] = yaml_parse(TEXT)["Parameters"]
PSEUDO = PSEUDO_PARAMETERS | {"AWS::StackName": "sessions-test"}

ANOTHER = {
    name: str(next(value for value in each["AllowedValues"] if value != each["Default"]))
    for name, each in PARAMETERS.items()
    if "AllowedValues" in each
} | {
    "AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms",
    "AuthorizerCacheSeconds": "0",
    "BasePath": "agents",
    "CertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/abc",
    "CorsOrigins": "https://a.example,https://b.example",
    "DomainName": "api.example.com",
    "DynamoDbEndpoint": "https://dynamodb.example",
    "PreTrafficOrganization": "org_00000000000000000000000000000001",
    "ThrottlingBurst": "9",
    "ThrottlingRate": "7",
    "WebAclArn": "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/sessions/1-2-3",
}
"""For each parameter a value that is not its default."""

TOGETHER = {
    "BasePath": ("DomainName", "CertificateArn"),
    "CertificateArn": ("DomainName", "CertificateArn"),
    "DefaultEndpoint": ("DomainName", "CertificateArn"),
    "DomainName": ("CertificateArn",),
    "PreTrafficOrganization": ("PreTrafficHook",),
}
"""Parameters without which another one has no effect."""

WHOLE = {
    name: ANOTHER[name]
    for name in ("CertificateArn", "DomainName", "GatewayAccountRole", "PreTrafficHook", "SnapStart", "WebAclArn")
}
"""Parameters with which every resource exists."""

REGIONS = {"aws": "eu-west-1", "aws-us-gov": "us-gov-west-1", "aws-cn": "cn-north-1"}


class NoManagedPolicies:
    """The managed policies that SAM would ask IAM for: the template names none."""

    def load(self) -> dict[str, str]:
        return {}


class Stack:
    """Resources by logical id, with references as texts: `Name` for a Ref, `Name.Attribute` for a GetAtt."""

    def __init__(self, expanded: dict[str, Any], parameters: dict[str, str]) -> None:
        intrinsics = Intrinsics(expanded, PSEUDO | parameters)
        self.resources = {
            name: intrinsics.resolve(each)
            for name, each in expanded["Resources"].items()
            if "Condition" not in each or intrinsics.holds(each["Condition"])
        }

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the properties of every resource of a type."""
        return {name: each["Properties"] for name, each in self.resources.items() if each["Type"] == kind}

    def properties(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.resources[name]["Properties"]
        return found

    def versions(self) -> dict[str, tuple[str, str]]:
        """Return the version of each function's alias: another logical id or description is a new version."""
        names = {
            alias["FunctionName"]: alias["FunctionVersion"].removesuffix(".Version")
            for alias in self.of_type("AWS::Lambda::Alias").values()
        }
        return {function: (name, self.properties(name)["Description"]) for function, name in names.items()}


def change(parameter: str) -> tuple[Stack, Stack]:
    """Return the stack before and after a parameter gets another value."""
    others = {name: ANOTHER[name] for name in TOGETHER.get(parameter, ())}
    other = ANOTHER[parameter] + "0" if parameter in others else ANOTHER[parameter]
    return stack(**others), stack(**others | {parameter: other})


@cache
def stack(*, partition: str = "aws", **parameters: str) -> Stack:
    """Return the stack with these parameters."""
    given = {name: value.replace("arn:aws:", f"arn:{partition}:") for name, value in parameters.items()}
    expanded, values = expand(json.dumps(given), REGIONS[partition])
    return Stack(expanded, values | {"AWS::Partition": partition, "AWS::Region": REGIONS[partition]})


def expand(parameters: str = "{}", region: str = REGIONS["aws"]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the template as SAM passes it to CloudFormation, and the values of all parameters."""
    template = yaml_parse(TEXT)
    for name, resource in template["Resources"].items():
        for key in ("CodeUri", "ContentUri"):
            if key in resource["Properties"]:
                resource["Properties"][key] = f"s3://bucket/{name}"
    defaults = {name: each["Default"] for name, each in PARAMETERS.items()}
    values = {name: str(value) for name, value in (defaults | json.loads(parameters)).items()}
    assert set(values) == set(PARAMETERS)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("AWS_DEFAULT_REGION", region)
        monkeypatch.setattr(ArnGenerator, "BOTO_SESSION_REGION_NAME", region)  # kept from the first transform
        return transform(template, dict(values), NoManagedPolicies()), values
