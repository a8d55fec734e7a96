"""The parameters: what they accept, and which versions and resources their change replaces."""

from __future__ import annotations

import re
from typing import Any

import pytest
from botocore.session import get_session
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from tests.template.stack import ANOTHER, PARAMETERS, ROOT, change, stack

HOLD_DATA = {"AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::Logs::LogGroup"}
FUNCTIONS = {"ListSessionsFunction": "list_sessions", "AuthorizeFunction": "authorize"}
FUNCTIONS |= {"CountSessionsFunction": "count_sessions"}
READ_BY_LIBRARIES = {"POWERTOOLS_LOG_LEVEL", "POWERTOOLS_SERVICE_NAME", "AWS_ENDPOINT_URL_DYNAMODB"}
NAME = re.compile(r'environ(?:\[|\.get\()"(\w+)"')


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_gets_the_variables_that_it_reads(name: str) -> None:
    shared = (ROOT / "layers" / "sessions" / "observability.py").read_text()
    read = set(NAME.findall((ROOT / "functions" / FUNCTIONS[name] / "app.py").read_text() + shared))
    given = stack(DynamoDbEndpoint=ANOTHER["DynamoDbEndpoint"]).properties(name)["Environment"]["Variables"]
    assert set(given) == read | READ_BY_LIBRARIES


@pytest.mark.parametrize("parameter", sorted(ANOTHER))
def test_a_parameter_publishes_the_versions_that_get_it(parameter: str) -> None:
    before, after = change(parameter)
    old, new = before.versions(), after.versions()
    getting = {name for name in FUNCTIONS if before.properties(name) != after.properties(name)}
    assert {name for name in FUNCTIONS if old[name] != new[name]} == getting


@pytest.mark.parametrize("parameter", sorted(ANOTHER))
def test_a_parameter_replaces_nothing_that_holds_data(parameter: str) -> None:
    before, after = change(parameter)
    assert before.resources != after.resources
    for name, resource in before.resources.items():
        if resource["Type"] in HOLD_DATA:
            for path in PROVIDER_SCHEMA_MANAGER.get_resource_schema("eu-west-1", resource["Type"]).schema[
                "createOnlyProperties"
            ]:
                key = path.split("/")[2]
                assert resource["Properties"].get(key) == after.properties(name).get(key), (name, key)


def test_the_description_of_a_version_fits() -> None:
    longest = {name: "x" * PARAMETERS[name]["MaxLength"] for name in ("CorsOrigins", "DynamoDbEndpoint")}
    versions = stack(**longest, SnapStart="yes", LogLevel="DEBUG").of_type("AWS::Lambda::Version").values()
    assert max(len(each["Description"]) for each in versions) <= 256  # 'PublishVersion', Description


def test_every_endpoint_of_dynamodb_fits() -> None:
    session, suffixes = get_session(), {"aws": "com", "aws-cn": "com.cn", "aws-us-gov": "com"}
    for partition, suffix in suffixes.items():
        for region in session.get_available_regions("dynamodb", partition):
            vpc_endpoint = f"vpce-{'0' * 17}-{'a' * 8}-{region}a.dynamodb.{region}.vpce.amazonaws.{suffix}"
            assert len(f"https://{vpc_endpoint}") <= PARAMETERS["DynamoDbEndpoint"]["MaxLength"]


@pytest.mark.parametrize(
    ("origins", "accepted"),
    [
        ("", True),
        ("https://console.example.com", True),
        ("https://a.example, http://localhost:8080,https://b.example:8443", True),
        ("http://a.example:443", True),
        ("https://a.example/", False),
        ("https://A.example", False),
        ("https://a.example:443", False),
        ("http://a.example:80", False),
        ("https://a.example,", False),
        ("https://a.example,https://b.example:443", False),
        ("https://*.example", False),
    ],
)
def test_origins_are_as_browsers_send_them(origins: str, accepted: bool) -> None:
    assert bool(re.fullmatch(PARAMETERS["CorsOrigins"]["AllowedPattern"], origins)) is accepted


def test_production_is_guarded_by_a_canary_and_alarms() -> None:
    def group(name: str, **parameters: Any) -> tuple[str, bool]:
        found = stack(Environment="production", **parameters).properties(f"{name}DeploymentGroup")
        return found["DeploymentConfigName"], bool(found.get("AlarmConfiguration", {}).get("Alarms"))

    for name in FUNCTIONS:
        assert group(name, Monitoring="no") == ("CodeDeployDefault.LambdaCanary10Percent5Minutes", True)
        assert group(name, Rollout="forced") == ("CodeDeployDefault.LambdaAllAtOnce", False)
