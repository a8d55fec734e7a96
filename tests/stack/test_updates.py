"""Changes of a stack: versions, rollbacks, and what is left of one that failed or was deleted."""

from __future__ import annotations

from typing import Any

from tests.stack.account import Account, guide

FUNCTIONS = {"ListSessions", "Authorize", "CountSessions"}
COMPLETE, FAILED = "CREATE_COMPLETE", "ROLLBACK_COMPLETE"


def versions(account: Account, stack: str) -> dict[str, str]:
    """Return the version of each function's alias."""
    resources, lambda_ = account.resources(stack), account.client("lambda")
    functions = {name: resources[f"{name}Function"] for name in FUNCTIONS}
    return {
        name: lambda_.get_alias(FunctionName=each, Name="live")["FunctionVersion"] for name, each in functions.items()
    }


def tables(account: Account, stack: str) -> int:
    names = account.client("dynamodb").list_tables()["TableNames"]
    return len([name for name in names if name.startswith(f"{stack}-")])


def broken(template: dict[str, Any]) -> None:
    """Add a resource whose creation fails after all others: an alias that exists."""
    alias = {"FunctionName": {"Ref": "ListSessionsFunction"}, "FunctionVersion": "$LATEST", "Name": "live"}
    resource = {"Type": "AWS::Lambda::Alias", "DependsOn": "LastDeployment", "Properties": alias}
    template["Resources"]["Broken"] = resource


def test_a_changed_parameter_publishes_versions(account: Account, development: str) -> None:
    before = versions(account, development)
    assert account.update(development, CorsOrigins="https://console.example.com") == "UPDATE_COMPLETE"
    after = versions(account, development)
    assert {name for name in FUNCTIONS if before[name] != after[name]} == {"ListSessions"}


def test_a_changed_layer_publishes_versions(account: Account, development: str) -> None:
    def change(template: dict[str, Any]) -> None:
        layer = template["Resources"]["SessionsLayer"]["Properties"]
        bucket, _, key = layer["ContentUri"].removeprefix("s3://").partition("/")
        account.client("s3").copy_object(Bucket=bucket, Key="layer", CopySource=f"{bucket}/{key}")
        layer["ContentUri"] = f"s3://{bucket}/layer"

    before = versions(account, development)
    assert account.update(development, account.template(development, change)) == "UPDATE_COMPLETE"
    after = versions(account, development)
    assert all(before[name] != after[name] for name in FUNCTIONS)


def test_a_failed_update_rolls_back(account: Account, development: str) -> None:
    before, template = versions(account, development), account.template(development, broken)
    assert account.update(development, template, LogLevel="DEBUG") == "UPDATE_ROLLBACK_COMPLETE"
    assert versions(account, development) == before
    assert account.call(development, "/v1/sessions").status_code == 401


def test_a_deleted_stack_keeps_its_tables(account: Account, development: str) -> None:
    assert account.create("deleted", account.template(development)) == COMPLETE
    account.client("cloudformation").delete_stack(StackName="deleted")
    assert tables(account, "deleted") == 3


def test_a_failed_first_deployment_keeps_no_table(account: Account, development: str) -> None:
    assert account.create("first", account.template(development, broken)) == FAILED
    assert tables(account, "first") == 0


def test_the_guide_ends_a_failed_first_deployment(account: Account, development: str) -> None:
    # The emulator deletes protected tables, so that nothing is rolled back here.
    options = {"Parameters": [{"ParameterKey": "DeletionProtection", "ParameterValue": "yes"}]}
    account.create("stuck", account.template(development, broken), OnFailure="DO_NOTHING", **options)
    assert tables(account, "stuck") == 3
    [commands] = guide("After a failed first deployment")
    account.shell(commands.replace("sessions-production", "stuck"))
    assert tables(account, "stuck") == 0
    assert account.create("stuck", account.template(development)) == COMPLETE
