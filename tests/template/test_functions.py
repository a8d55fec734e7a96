"""The functions: their environment, their versions, how they are deployed, and how the stream reaches them."""

from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from sessions.settings import AuthorizeSettings, CountSettings, ListSettings
from tests.template.stack import ANOTHER, PARAMETERS, ROOT, TEXT, Stack, change, stack

SETTINGS = {
    "ListSessionsFunction": ListSettings,
    "AuthorizeFunction": AuthorizeSettings,
    "CountSessionsFunction": CountSettings,
}
FUNCTIONS = sorted(SETTINGS)
LAYERS = ["DependenciesLayer", "SessionsLayer"]
ENGINE = {"AWS_ENDPOINT_URL_DYNAMODB": "https://vpce.example"}
COMMON = {"POWERTOOLS_LOG_LEVEL": "INFO", "POWERTOOLS_METRICS_NAMESPACE": "Sessions", "STACK_NAME": "sessions-test"}
"""What Powertools reads, and the dimension that tells the metrics of two stacks apart."""


def environment(name: str) -> dict[str, str]:
    found: dict[str, str] = stack().properties(name)["Environment"]["Variables"]
    return found


def changed(one: Stack, other: Stack) -> set[str]:
    """Functions whose alias points to another version."""
    before, after = one.versions(), other.versions()
    assert set(before) == set(after) == set(FUNCTIONS)
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_gets_the_variables_that_its_settings_name_and_no_other(name: str) -> None:
    settings = {field.upper() for field in SETTINGS[name]._fields}
    assert set(environment(name)) == settings | set(COMMON) | {"POWERTOOLS_SERVICE_NAME"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_uses_another_dynamodb_when_the_stack_names_one(name: str) -> None:
    variables = stack(DynamoDbEndpoint="https://vpce.example").properties(name)["Environment"]["Variables"]
    assert variables == environment(name) | ENGINE


def test_the_variables_name_the_tables_of_the_stack() -> None:
    assert environment("ListSessionsFunction") == COMMON | {
        "POWERTOOLS_SERVICE_NAME": "list_sessions",
        "SESSIONS_TABLE": "SessionsTable",
        "COUNTS_TABLE": "CountsTable",
        "CORS_ORIGINS": "",
    }
    assert environment("AuthorizeFunction") == COMMON | {
        "POWERTOOLS_SERVICE_NAME": "authorize",
        "API_KEYS_TABLE": "ApiKeysTable",
    }
    assert environment("CountSessionsFunction") == COMMON | {
        "POWERTOOLS_SERVICE_NAME": "count_sessions",
        "COUNTS_TABLE": "CountsTable",
    }


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
def test_lambda_and_powertools_agree_on_the_level(name: str, level: str) -> None:
    # Otherwise Powertools warns at every start (`Logger._determine_log_level`).
    function = stack(LogLevel=level).properties(name)
    assert function["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == level
    assert function["LoggingConfig"]["ApplicationLogLevel"] == level


def test_no_level_is_offered_that_would_drop_the_lines_with_metrics() -> None:
    assert PARAMETERS["LogLevel"]["AllowedValues"] == ["DEBUG", "INFO"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_runs_its_folder_with_both_layers_traced_and_logged(name: str) -> None:
    function = stack(Architecture="arm64").properties(name)
    assert function["Runtime"] == "python3.13"
    assert function["Architectures"] == ["arm64"]
    assert function["Handler"] == "app.handler"
    assert function["TracingConfig"] == {"Mode": "Active"}
    assert function["LoggingConfig"] == {
        "LogFormat": "JSON",
        "ApplicationLogLevel": "INFO",
        "SystemLogLevel": "INFO",
        "LogGroup": name.removesuffix("Function") + "Logs",
    }
    assert [layer.startswith(("SessionsLayer", "DependenciesLayer")) for layer in function["Layers"]] == [True, True]


@pytest.mark.parametrize("name", ["functions/list_sessions", "functions/authorize", "functions/count_sessions"])
def test_the_code_lies_where_the_template_says(name: str) -> None:
    assert f"CodeUri: {name}\n" in TEXT
    assert (ROOT / name / "app.py").is_file()


def test_the_same_code_makes_the_same_versions() -> None:
    assert changed(stack(), stack(code={})) == set()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_changed_function_alone_makes_a_version_of_that_function(name: str) -> None:
    assert changed(stack(), stack(code={name: "changed"})) == {name}


@pytest.mark.parametrize("name", LAYERS)
def test_a_changed_layer_alone_makes_a_version_of_every_function(name: str) -> None:
    assert changed(stack(), stack(code={name: "changed"})) == set(FUNCTIONS)


@pytest.mark.parametrize("parameter", sorted(ANOTHER))
def test_a_parameter_that_a_function_gets_makes_a_version_and_no_other_does(parameter: str) -> None:
    # An alias keeps the configuration of its version, and Lambda refuses a version that changes nothing.
    before, after = change(parameter)
    getting = {name for name in FUNCTIONS if before.properties(name) != after.properties(name)}
    assert changed(before, after) == getting


def test_functions_get_their_settings_from_parameters() -> None:
    assert changed(stack(), stack(CorsOrigins=ANOTHER["CorsOrigins"])) == {"ListSessionsFunction"}
    assert changed(stack(), stack(Architecture="arm64")) == set(FUNCTIONS)
    assert changed(stack(), stack(SnapStart="yes")) == {"ListSessionsFunction", "AuthorizeFunction"}


def test_a_description_of_a_version_fits_and_replaces_it() -> None:
    longest = {"CorsOrigins": "https://" + "a" * 112, "DynamoDbEndpoint": "https://" + "a" * 72}
    versions = stack(**longest, Architecture="x86_64").of_type("AWS::Lambda::Version").values()
    descriptions = {each["FunctionName"]: each["Description"] for each in versions}
    assert descriptions["ListSessionsFunction"] == (
        f"x86_64, snapshot no, log INFO, DynamoDB {longest['DynamoDbEndpoint']}, origins {longest['CorsOrigins']}"
    )
    assert max(map(len, descriptions.values())) <= 256  # CreateFunction and PublishVersion, Description
    assert {name: PARAMETERS[name]["MaxLength"] for name in longest} == {each: len(longest[each]) for each in longest}
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("eu-west-1", "AWS::Lambda::Version").schema
    assert "/properties/Description" in schema["createOnlyProperties"]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("environment_", "kind"), [("development", "LambdaAllAtOnce"), ("production", "LambdaCanary10Percent5Minutes")]
)
def test_a_version_is_shipped_by_canary_in_production_and_rolled_back_by_alarms(
    name: str, environment_: str, kind: str
) -> None:
    found = stack(Environment=environment_, Monitoring="no")
    group = found.properties(f"{name}DeploymentGroup")
    assert group["DeploymentConfigName"] == f"CodeDeployDefault.{kind}"
    assert group["ServiceRoleArn"] == "DeploymentRole.Arn"
    assert group["AutoRollbackConfiguration"]["Enabled"] is True
    assert "DEPLOYMENT_STOP_ON_ALARM" in group["AutoRollbackConfiguration"]["Events"]
    alarms = [each["Name"] for each in group["AlarmConfiguration"]["Alarms"]]
    assert alarms
    assert set(alarms) <= set(found.of_type("AWS::CloudWatch::Alarm"))
    update = found.resources[f"{name}Aliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    assert update["DeploymentGroupName"] == f"{name}DeploymentGroup"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_forced_version_is_shipped_at_once_past_every_alarm(name: str) -> None:
    # While an alarm is on, CodeDeploy stops every deployment, that of the fix too.
    group = stack(Environment="production", Rollout="forced").properties(f"{name}DeploymentGroup")
    assert group["DeploymentConfigName"] == "CodeDeployDefault.LambdaAllAtOnce"
    assert group.get("AlarmConfiguration", {}).get("Alarms", []) == []


@pytest.mark.parametrize("name", ["ListSessionsFunction", "AuthorizeFunction"])
def test_the_hook_is_asked_before_traffic_when_wished(name: str) -> None:
    updates = {
        wish: stack(PreTrafficHook=wish).resources[f"{name}Aliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
        for wish in ("yes", "no")
    }
    assert updates["yes"]["BeforeAllowTrafficHook"] == "CheckReleaseFunction"
    assert "BeforeAllowTrafficHook" not in updates["no"]
    assert "CheckReleaseFunction" not in stack(PreTrafficHook="no").resources


def test_the_hook_calls_the_versions_that_are_being_deployed_and_uses_no_layer() -> None:
    found = stack(PreTrafficHook="yes")
    hook = found.properties("CheckReleaseFunction")
    versions = {function: version for function, (version, _) in found.versions().items()}
    variables = hook["Environment"]["Variables"]
    assert variables["LIST_SESSIONS_VERSION"] == versions["ListSessionsFunction"]
    assert variables["AUTHORIZE_VERSION"] == versions["AuthorizeFunction"]
    assert variables["ORGANIZATION"] == "org_" + "0" * 32
    assert "Layers" not in hook
    assert "CheckReleaseFunctionAliaslive" not in found.resources


@pytest.mark.parametrize(("wish", "applied"), [("yes", "PublishedVersions"), ("no", "None")])
def test_the_functions_that_callers_wait_for_start_from_a_snapshot_when_wished(wish: str, applied: str) -> None:
    found = stack(SnapStart=wish)
    starts = {name: found.properties(name).get("SnapStart", {}).get("ApplyOn") for name in FUNCTIONS}
    assert starts == {
        "ListSessionsFunction": applied,
        "AuthorizeFunction": applied,
        "CountSessionsFunction": None,
    }


def test_the_stream_is_delivered_to_the_alias_and_the_queue() -> None:
    [mapping] = stack().of_type("AWS::Lambda::EventSourceMapping").values()
    expected: dict[str, Any] = {
        "EventSourceArn": "SessionsTable.StreamArn",
        "FunctionName": "CountSessionsFunctionAliaslive",
        "StartingPosition": "TRIM_HORIZON",
        "BatchSize": 100,
        "MaximumBatchingWindowInSeconds": 1,
        "BisectBatchOnFunctionError": True,
        "MaximumRetryAttempts": 20,
        "MaximumRecordAgeInSeconds": 21600,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["INSERT", "REMOVE"]}'}]},
        "DestinationConfig": {"OnFailure": {"Destination": "FailureQueue.Arn"}},
    }
    assert mapping == expected


def test_no_function_outlives_the_gateways_patience_with_a_caller_waiting() -> None:
    for name in ("ListSessionsFunction", "AuthorizeFunction"):
        assert stack().properties(name)["Timeout"] < 29  # 'Amazon API Gateway quotas', integration timeout
