"""`sessions rollback`: the stack is what it was before, or the command says why not."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber
from click.testing import Result
from moto import mock_aws

from sessions_cli import rollback
from sessions_cli.rollback import RollbackFailed, Snapshot, restore
from tests.cli.command import sessions

STACK = "sessions-production"
BUCKET = "aws-sam-cli-managed-default-samclisourcebucket-abc"


def template(code: str = "old") -> str:
    """A small stack with the one parameter that matters here; every release has a resource of its own."""
    return json.dumps(
        {
            "Parameters": {
                "Rollout": {"Type": "String", "Default": "guarded"},
                "Days": {"Type": "Number", "Default": 1},
            },
            "Resources": {
                code.title(): {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": code}},
            },
            "Metadata": {"CodeUri": f"s3://{BUCKET}/{STACK}/{code}"},
        }
    )


@pytest.fixture
def cloudformation(environment: None) -> Iterator[Any]:
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield boto3.client("cloudformation")


def ship(cloudformation: Any, body: str, days: str, *, first: bool = False) -> None:
    call = cloudformation.create_stack if first else cloudformation.update_stack
    parameters = [{"ParameterKey": "Days", "ParameterValue": days}]
    call(StackName=STACK, TemplateBody=body, Parameters=parameters, Tags=[{"Key": "project", "Value": "sessions"}])


def command(action: str, kept: Path, session: botocore.session.Session | None = None) -> Result:
    return sessions("rollback", action, str(kept), "--stack", STACK, session=session)


def queues() -> list[str]:
    return [url.rsplit("/", 1)[1] for url in boto3.client("sqs").list_queues().get("QueueUrls", [])]


def test_a_stack_is_taken_back_to_its_template_and_parameters(cloudformation: Any) -> None:
    ship(cloudformation, template(), "7", first=True)
    kept = Path("before.json")
    assert command("save", kept).stdout == f"Saved {STACK} to {kept}.\n"
    ship(cloudformation, template("broken"), "14")
    assert queues() == ["broken"]
    assert command("restore", kept).stdout == f"Rolling {STACK} back ...\n{STACK} is rolled back.\n"
    [made] = cloudformation.list_stack_resources(StackName=STACK)["StackResourceSummaries"]
    assert made["LogicalResourceId"] == "Old"
    [stack] = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
    values = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
    assert values == {"Days": "7", "Rollout": "forced"}
    assert stack["Tags"] == [{"Key": "project", "Value": "sessions"}]
    [uploaded] = boto3.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]
    assert uploaded["Key"].startswith(f"{STACK}/rollback/")


def test_an_older_template_is_given_no_unknown_parameter() -> None:
    client = boto3.client("cloudformation")
    expected = {
        "StackName": STACK,
        "TemplateURL": ANY,
        "Parameters": [{"ParameterKey": "Days", "ParameterValue": "7"}],
        "Tags": [],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    }
    stubber = Stubber(client)
    stubber.add_client_error("update_stack", "AccessDenied", expected_params=expected)
    with stubber, pytest.raises(ClientError):
        restore(client, FakeS3(), STACK, Snapshot(template(), {"Days": "7"}, {}))


class FakeS3:
    """Accepts every upload."""

    def put_object(self, **_: Any) -> None: ...

    def generate_presigned_url(self, _: str, Params: dict[str, str]) -> str:  # noqa: N803
        return f"https://{Params['Bucket']}.s3.eu-west-1.amazonaws.com/{Params['Key']}?signature"


def test_a_first_release_has_nothing_to_go_back_to(cloudformation: Any) -> None:
    kept = Path("before.json")
    assert command("save", kept).stdout == f"{STACK} does not exist yet.\n"
    assert json.loads(kept.read_text()) is None
    assert command("restore", kept).stderr == (
        f"Error: {STACK} did not exist when {kept} was saved; there is nothing to roll back to.\n"
    )


SNAPSHOT = Snapshot(template(), {"Days": "7", "Rollout": "guarded"}, {})


def stubbed() -> tuple[Any, Stubber]:
    client = boto3.client("cloudformation")
    return client, Stubber(client)


def test_a_stack_that_never_changed_is_left_alone() -> None:
    client, stubber = stubbed()
    stubber.add_client_error("update_stack", "ValidationError", "No updates are to be performed.")
    with stubber:
        assert restore(client, FakeS3(), STACK, SNAPSHOT) is False


def test_a_missing_permission_is_reported(cloudformation: Any) -> None:
    kept = Path("before.json")
    kept.write_text(json.dumps(SNAPSHOT._asdict()))
    error = {"Code": "AccessDenied", "Message": "not authorized to perform: cloudformation:UpdateStack"}
    refused = {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 403}}
    session = botocore.session.get_session()
    session.register("before-call.cloudformation.UpdateStack", lambda **_: (SimpleNamespace(status_code=403), refused))
    ran = command("restore", kept, session)
    assert (ran.exit_code, ran.stderr) == (
        1,
        "Error: UpdateStack: AccessDenied: not authorized to perform: cloudformation:UpdateStack\n",
    )


@pytest.mark.parametrize("text", ["no json", "[1]", '{"template": "{}"}'])
def test_a_file_of_something_else_is_reported(cloudformation: Any, text: str) -> None:
    kept = Path("before.json")
    kept.write_text(text)
    assert command("restore", kept).stderr == f"Error: {kept} is not what `sessions rollback save` writes.\n"


def described(status: str) -> dict[str, Any]:
    return {"Stacks": [{"StackName": STACK, "StackStatus": status, "CreationTime": 0}]}


def event(resource: str, status: str, reason: str = "") -> dict[str, Any]:
    more = {"ResourceStatusReason": reason} if reason else {}
    return {"StackId": "x", "EventId": "x", "StackName": STACK, "Timestamp": 0} | {
        "LogicalResourceId": resource,
        "ResourceStatus": status,
        **more,
    }


@pytest.mark.parametrize(
    ("status", "events", "said"),
    [
        (
            "UPDATE_ROLLBACK_COMPLETE",
            [
                event(STACK, "UPDATE_ROLLBACK_IN_PROGRESS"),
                event("AuthorizeFunctionAliaslive", "UPDATE_FAILED", "Resource update cancelled"),
                event("ListSessionsFunctionAliaslive", "UPDATE_FAILED", "The hook failed."),
                event(STACK, "UPDATE_IN_PROGRESS"),
                event("Queue", "UPDATE_FAILED", "of the release before"),
            ],
            r"^ListSessionsFunctionAliaslive: The hook failed\.$",
        ),
        ("UPDATE_IN_PROGRESS", [event(STACK, "UPDATE_IN_PROGRESS")], "Max attempts exceeded"),
    ],
    ids=["fails", "takes too long"],
)
def test_an_update_that_fails_is_reported_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, status: str, events: list[dict[str, Any]], said: str
) -> None:
    monkeypatch.setattr(rollback, "POLL_SECONDS", 0)
    monkeypatch.setattr(rollback, "POLLS_MAX", 1)
    client, stubber = stubbed()
    stubber.add_response("update_stack", {"StackId": "x"})
    stubber.add_response("describe_stacks", described(status))
    stubber.add_response("describe_stack_events", {"StackEvents": events})
    with stubber, pytest.raises(RollbackFailed, match=said):
        restore(client, FakeS3(), STACK, SNAPSHOT)


def test_a_template_without_artifacts_is_refused() -> None:
    with pytest.raises(RollbackFailed, match="names no artifact"):
        restore(stubbed()[0], FakeS3(), STACK, Snapshot("{}", {}, {}))


def test_a_snapshot_that_cannot_be_written_is_one_line(cloudformation: Any) -> None:
    assert command("save", Path("no/such/folder")).stderr == "Error: no/such/folder: No such file or directory.\n"
