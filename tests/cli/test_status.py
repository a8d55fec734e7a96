"""`sessions status`: a stack on one screen, and what needs attention."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.session
import pytest
from moto import mock_aws

from tests.cli.command import fault, sessions
from tests.cli.moto_stack import for_moto, upload
from tests.service import Service, item_of, session
from tests.template.stack import expand

pytestmark = pytest.mark.filterwarnings("ignore:Tried to parse .* not supported by moto")

STACK = "sessions-production"
MAPPING = "AWS::Lambda::EventSourceMapping"


@pytest.fixture
def stack(environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The outputs of a stack with two sessions, one of them counted; aliases are made as CloudFormation would."""
    # moto does not know the addresses that botocore makes from an account's number.
    monkeypatch.setenv("AWS_ACCOUNT_ID_ENDPOINT_MODE", "disabled")
    with mock_aws():
        template, values = expand()
        upload(template)
        resources = template["Resources"]
        # moto would run the function in Docker.
        template["Resources"] = {name: each for name, each in resources.items() if each["Type"] != MAPPING}
        cloudformation = boto3.client("cloudformation")
        cloudformation.create_stack(
            StackName=STACK,
            TemplateBody=json.dumps(for_moto(template)),
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        [described] = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
        outputs = {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}
        for name in ("ListSessions", "Authorize", "CountSessions"):
            function = outputs[f"{name}FunctionName"]
            version = boto3.client("lambda").publish_version(FunctionName=function)["Version"]
            boto3.client("lambda").create_alias(FunctionName=function, Name="live", FunctionVersion=version)
        put(outputs, 1)
        assert sessions("counts", "rebuild", "--stack", STACK).exit_code == 0
        put(outputs, 700)  # in other bins than the first
        yield outputs


def put(outputs: dict[str, str], number: int) -> None:
    boto3.client("dynamodb").put_item(TableName=outputs["SessionsTableName"], Item=item_of(session(number)))


def listener(hook: Callable[..., Any]) -> botocore.session.Session:
    """A session that tells of every call before it is made, and takes what the hook returns for the response."""
    found = botocore.session.get_session()
    found.register("before-call", hook)
    return found


def with_alarms(*names: str) -> botocore.session.Session:
    """A session for which the stack has these alarms, which moto does not make."""
    return listener(lambda model, **_: resources(*names) if model.name == "ListStackResources" else None)


def resources(*alarms: str) -> Any:
    """What CloudFormation says that a stack with these alarms has."""
    found = [{"ResourceType": "AWS::CloudWatch::Alarm", "PhysicalResourceId": name} for name in alarms]
    return SimpleNamespace(status_code=200), {"StackResourceSummaries": found}


@pytest.fixture
def alarms(stack: dict[str, str]) -> botocore.session.Session:
    """Two alarms of the stack, one of which is on, as is one of another stack."""
    cloudwatch = boto3.client("cloudwatch")
    names = [f"{STACK}-latency", f"{STACK}-negative-bins", f"{STACK}-eu-latency"]
    for name, value in zip(names, ("OK", "ALARM", "ALARM"), strict=True):
        cloudwatch.put_metric_alarm(
            AlarmName=name, EvaluationPeriods=1, ComparisonOperator="GreaterThanThreshold", Threshold=0, Period=60,
            Namespace="Sessions", MetricName="NegativeBins", Statistic="Sum",
        )  # fmt: skip
        cloudwatch.set_alarm_state(AlarmName=name, StateValue=value, StateReason="")
    return with_alarms(*names[:2])


def deliver(stack: dict[str, str], behind: float) -> None:
    """The stream is on, and so many seconds behind."""
    stream = boto3.client("dynamodb").describe_table(TableName=stack["SessionsTableName"])["Table"]["LatestStreamArn"]
    function = stack["CountSessionsFunctionName"]
    boto3.client("lambda").create_event_source_mapping(
        EventSourceArn=stream, FunctionName=f"{function}:live", StartingPosition="TRIM_HORIZON"
    )
    dimensions = [{"Name": "FunctionName", "Value": function}, {"Name": "Resource", "Value": f"{function}:live"}]
    metric = {"MetricName": "IteratorAge", "Dimensions": dimensions, "Value": behind * 1000}
    boto3.client("cloudwatch").put_metric_data(Namespace="AWS/Lambda", MetricData=[metric])


def test_the_status_of_a_stack_is_on_one_screen(stack: dict[str, str], alarms: botocore.session.Session) -> None:
    deliver(stack, behind=1.5)
    boto3.client("sqs").send_message(QueueUrl=stack["FailureQueueUrl"], MessageBody="{}")
    ran = sessions("status", "--stack", STACK, session=alarms)
    assert ran.exit_code == 1
    shown = [re.split(r" {2,}", line.strip(), maxsplit=1) for line in ran.stdout.splitlines()]
    assert len(shown) <= 20
    assert [line[0] for line in shown] == [
        "target", "table", "table", "table", "counted", "stream", "failure queue", "alarms",
        "list_sessions", "authorize", "count_sessions", "deployed", "!", "!", "!",
    ]  # fmt: skip
    said = {name: text for name, text in shown if name not in ("table", "!")}
    assert said["target"] == STACK
    assert said["counted"] == "1 of 2 sampled sessions"
    assert said["stream"] == "Enabled, 1.5 s behind"
    assert said["failure queue"] == "1 waiting, 0 in flight"
    assert said["alarms"] == "1 of 2 on"
    assert said["list_sessions"] == "version 1"
    assert said["deployed"].endswith("Z, CREATE_COMPLETE")
    tables = [text for name, text in shown if name == "table"]
    assert tables[0].startswith(f"{stack['SessionsTableName']}: ACTIVE, about 2 items, ")
    problems = [text for name, text in shown if name == "!"]
    assert problems[:2] == [
        "Not all sessions are counted; `sessions counts audit --wait` tells lag from what is wrong.",
        "The failure queue is not empty; see `sessions counts redrive`.",
    ]
    assert problems[2].startswith(f"Alarm {STACK}-negative-bins has been on since 20")


def test_the_status_of_a_healthy_stack_is_a_success(stack: dict[str, str]) -> None:
    assert sessions("counts", "rebuild", "--stack", STACK).exit_code == 0
    deliver(stack, behind=0)
    ran = sessions("status", "--stack", STACK, "--json", session=with_alarms())
    found = json.loads(ran.stdout)
    assert (ran.exit_code, found["problems"]) == (0, [])
    assert found["counted"] == {"sample": 2, "counted": 2}
    assert (found["alarms"], found["failure_queue"]) == (
        {"total": 0, "in_alarm": {}},
        {"waiting": 0, "in_flight": 0},
    )
    assert found["stream"] == {"states": ["Enabled"], "last_results": [""], "behind_seconds": 0.0}
    assert found["functions"]["authorize"] == {"version": "1", "shifting_to": {}}


def test_a_stack_without_its_event_source_mapping_needs_a_look(stack: dict[str, str]) -> None:
    ran = sessions("status", "--stack", STACK, session=with_alarms())
    assert ran.exit_code == 1
    assert "There is no event source mapping: nothing is counted." in ran.stdout
    assert "nothing delivered lately" in ran.stdout


def test_a_deployment_on_its_way_is_shown_with_its_share(stack: dict[str, str]) -> None:
    function = stack["ListSessionsFunctionName"]
    boto3.client("lambda").update_alias(
        FunctionName=function, Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 0.1}}
    )
    assert "version 1, 10% to 2" in sessions("status", "--stack", STACK, session=with_alarms()).stdout


def test_a_table_of_another_kind_is_refused(service: Service) -> None:
    said = fault("status", "--counts-table", "sessions")
    assert said == "sessions is the wrong table: its key is id and not scope, bucket."
