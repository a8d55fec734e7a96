"""What CloudFormation would create from `template.yaml`: expanded as SAM does it, with parameters resolved."""

from __future__ import annotations

import json
from collections.abc import Iterator
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

RULES: dict[str, dict[str, Any]] = yaml_parse(TEXT)["Rules"]

PSEUDO = PSEUDO_PARAMETERS | {"AWS::StackName": "sessions-test"}
ANOTHER = {
    "AccessLogClients": "yes",
    "AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms",
    "Architecture": "arm64",
    "AuthorizerCacheSeconds": "0",
    "BasePath": "agents",
    "CertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/abc",
    "CorsOrigins": "https://a.example,https://b.example",
    "DefaultEndpoint": "no",
    "DeletionProtection": "yes",
    "DomainName": "api.example.com",
    "DynamoDbEndpoint": "https://vpce.example",
    "Environment": "production",
    "GatewayAccountRole": "yes",
    "LogLevel": "DEBUG",
    "LogRetentionDays": "7",
    "Monitoring": "no",
    "PreTrafficHook": "yes",
    "PreTrafficOrganization": "org_00000000000000000000000000000001",
    "Rollout": "forced",
    "SnapStart": "yes",
    "ThrottlingBurst": "9",
    "ThrottlingRate": "7",
    "WebAclArn": "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/sessions/1-2-3",
}
"""A value of every parameter that is not its default."""

TOGETHER = {
    "BasePath": ("DomainName", "CertificateArn"),
    "CertificateArn": ("DomainName", "CertificateArn"),
    "DefaultEndpoint": ("DomainName", "CertificateArn"),
    "DomainName": ("CertificateArn",),
    "PreTrafficOrganization": ("PreTrafficHook",),
}
"""What else must be chosen for a parameter to make a difference."""

WHOLE = {
    name: ANOTHER[name]
    for name in ("CertificateArn", "DomainName", "GatewayAccountRole", "PreTrafficHook", "SnapStart", "WebAclArn")
}
"""Parameters with which every resource of the template is created."""

PARAMETERS: dict[str, dict[str, Any]] = yaml_parse(TEXT)["Parameters"]


class Rejected(Exception):
    """The parameters break a rule of the template."""


class NoManagedPolicies:
    """Stands for the list of managed policies that SAM would ask IAM for; the template uses none by name."""

    def load(self) -> dict[str, str]:
        return {}


class Stack:
    """Resources by logical id, with references as texts: `Name` for a Ref, `Name.Attribute` for a GetAtt."""

    def __init__(self, expanded: dict[str, Any], parameters: dict[str, str]) -> None:
        intrinsics = Intrinsics(expanded, PSEUDO | parameters)
        for rule in RULES.values():
            for assertion in rule["Assertions"]:
                if not intrinsics.resolve(assertion["Assert"]):
                    raise Rejected(assertion["AssertDescription"])

        def made(section: str) -> dict[str, Any]:
            return {
                name: intrinsics.resolve(each)
                for name, each in expanded[section].items()
                if "Condition" not in each or intrinsics.holds(each["Condition"])
            }

        self.resources = made("Resources")
        self.outputs = made("Outputs")

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Properties of every resource of a type."""
        return {name: each["Properties"] for name, each in self.resources.items() if each["Type"] == kind}

    def properties(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.resources[name]["Properties"]
        return found

    def versions(self) -> dict[str, tuple[str, str]]:
        """The version that each function's alias points to: a logical id or a description that changes is a new one."""
        names = {
            alias["FunctionName"]: alias["FunctionVersion"].removesuffix(".Version")
            for alias in self.of_type("AWS::Lambda::Alias").values()
        }
        return {function: (name, self.properties(name)["Description"]) for function, name in names.items()}


def stack(*, code: dict[str, str] | None = None, **parameters: str) -> Stack:
    """The stack with these parameters; `code` says what was uploaded for a function or layer."""
    return _stack(json.dumps(code or {}, sort_keys=True), json.dumps(parameters, sort_keys=True))


def change(parameter: str) -> tuple[Stack, Stack]:
    """The stack before and after a parameter is given another value."""
    others = {name: ANOTHER[name] for name in TOGETHER.get(parameter, ())}
    other = ANOTHER[parameter] + "0" if parameter in others else ANOTHER[parameter]
    return stack(**others), stack(**others | {parameter: other})


@cache
def _stack(code: str, parameters: str) -> Stack:
    expanded, values = expand(code, parameters)
    return Stack(expanded, values)


def expand(
    code: str = "{}", parameters: str = "{}", region: str = PSEUDO["AWS::Region"]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The template as SAM hands it to CloudFormation, and the values of all parameters."""
    template = yaml_parse(TEXT)
    uploaded = json.loads(code)
    for name, resource in template["Resources"].items():
        for key in ("CodeUri", "ContentUri"):
            if key in resource["Properties"]:
                resource["Properties"][key] = f"s3://bucket/{uploaded.get(name, name)}"
    defaults = {name: each["Default"] for name, each in template["Parameters"].items() if "Default" in each}
    values = {name: str(value) for name, value in (defaults | json.loads(parameters)).items()}
    assert set(values) == set(template["Parameters"])
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("AWS_DEFAULT_REGION", region)
        monkeypatch.setattr(ArnGenerator, "BOTO_SESSION_REGION_NAME", region)  # kept from the first transform
        return transform(template, dict(values), NoManagedPolicies()), values


def statements(role: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every action that a role's own policies allow, with its resource."""
    for policy in role.get("Policies", []):
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            for action in _listed(statement["Action"]):
                for resource in _listed(statement["Resource"]):
                    yield action, resource


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
