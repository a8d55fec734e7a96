"""The commands on a stack, each as a user with its own policy of docs/policies and no other."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from click.testing import CliRunner

from sessions_cli import audit
from sessions_cli.cli import main
from tests.stack.account import Account, eventually, policy_document
from tests.stack.test_calls import session_line, stored
from tests.stack.test_roles import pairs

NUMBERS = itertools.count(1000, 1000)  # in other bins


def orphan(account: Account, resources: dict[str, str]) -> None:
    """Write the marker of a session that does not exist."""
    item = {"scope": "session#session_9", "bucket": "S", "organization_agent": "org_1#agent_1"}
    item |= {"organization_id": "org_1", "created_at_id": "2026-11-23T16:41:46.463925Z#session_9"}
    put(account, resources["CountsTable"], item)


def api_key(account: Account, resources: dict[str, str]) -> None:
    put(account, resources["ApiKeysTable"], {"key_hash": "abcd" + "0" * 60, "organization_id": "org_1", "name": "x"})


def put(account: Account, table: str, item: dict[str, str]) -> None:
    typed = {name: {"S": value} for name, value in item.items()}
    account.client("dynamodb").put_item(TableName=table, Item=typed)


def set_aside(account: Account, resources: dict[str, str]) -> None:
    """Send what Lambda would for two sessions: one has lost its marker, the other has left its marker behind."""
    dynamodb, streams, table = account.client("dynamodb"), account.client("dynamodbstreams"), resources["SessionsTable"]
    sessions = [stored(next(NUMBERS)) for _ in range(2)]
    keys = [{"scope": {"S": f"session#{each['id']['S']}"}, "bucket": {"S": "S"}} for each in sessions]
    lost, left = ({"TableName": resources["CountsTable"], "Key": key} for key in keys)
    for each in sessions:
        dynamodb.put_item(TableName=table, Item=each)
    marker = eventually(lambda: dynamodb.get_item(**lost).get("Item") and dynamodb.get_item(**left).get("Item"))
    dynamodb.delete_item(TableName=table, Key={"id": sessions[1]["id"]})
    eventually(lambda: "Item" not in dynamodb.get_item(**left))
    dynamodb.put_item(TableName=left["TableName"], Item=marker)
    dynamodb.delete_item(**lost)
    arn = dynamodb.describe_table(TableName=table)["Table"]["LatestStreamArn"]
    [shard] = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    place = {"StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
    records = streams.get_records(ShardIterator=streams.get_shard_iterator(**place)["ShardIterator"])["Records"]
    first, last = (records[at]["dynamodb"]["SequenceNumber"] for at in (0, -1))
    batch = {"streamArn": arn, "shardId": shard["ShardId"], "startSequenceNumber": first, "endSequenceNumber": last}
    message = json.dumps({"DDBStreamBatchInfo": batch})
    account.client("sqs").send_message(QueueUrl=resources["FailureQueue"], MessageBody=message)


Prepare = Callable[[Account, dict[str, str]], None]
COMMANDS: dict[str, tuple[tuple[str, ...], Prepare | None]] = {
    "load": (("load -",), None),
    "export": (("export -", "export - --organization org_1"), None),
    "status": (("status",), None),
    "keys-create": (("keys create --organization org_1",), None),
    "keys-list": (("keys list",), None),
    "keys-revoke": (("keys revoke abcd000000000000",), api_key),
    "counts-audit": (("counts audit",), orphan),
    "counts-rebuild": (("counts rebuild", "counts rebuild --empty-first --yes"), orphan),
    "counts-redrive": (("counts redrive",), set_aside),
}
"""Calls that together need the whole policy of a command, and what they need to work on."""

MISREAD = {
    "status": ["lambda:ListAliases"],  # checked for GetAlias
    "counts-redrive": ["dynamodb:GetRecords", "dynamodb:GetShardIterator"],  # checked on every resource
}
"""Actions that the emulator checks in another way than AWS; the last test fails when that changes."""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_needs_its_policy_and_no_other(
    name: str, account: Account, development: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PAUSE", 0.0)
    (calls, prepare), policy, resources = COMMANDS[name], f"operator-{name}", account.resources(development)
    user, called = account.user(policy, development, also=MISREAD.get(name, [])), set()

    def watch(model: Any, params: dict[str, Any], **_: Any) -> None:
        service = {"monitoring": "cloudwatch"}.get(model.service_model.signing_name, model.service_model.signing_name)
        items = json.loads(params["body"])["TransactItems"] if model.name == "TransactWriteItems" else []
        called.update(f"dynamodb:{kind}Item" for each in items for kind in each)
        called.add(f"{service}:{model.name}")

    listener = botocore.session.get_session()
    listener.register("before-call", watch)
    for words in (["sessions", *call.split(), "--stack", development] for call in calls):
        assert_allowed(*account.attempt(*words, user=user, text=session_line()))
        if prepare:
            prepare(account, resources)
        options = {"input": session_line(), "env": account.environment(user), "obj": listener}
        ran = CliRunner().invoke(main, words[1:], **options)
        assert_allowed(ran.exit_code, ran.output)
    assert {action for action, _ in pairs(json.loads(policy_document(policy, development)))} <= called


def assert_allowed(code: int, printed: str) -> None:
    assert "AccessDenied" not in printed
    assert code in (0, 1, 3), printed  # an audit that finds differences ends with 1


@pytest.mark.parametrize("name", MISREAD)
def test_the_emulator_misreads_these_actions(name: str, account: Account, development: str) -> None:
    (calls, prepare), user = COMMANDS[name], account.user(f"operator-{name}", development, name=f"misread-{name}")
    if prepare:
        prepare(account, account.resources(development))
    assert "AccessDenied" in account.attempt("sessions", *calls[0].split(), "--stack", development, user=user)[1]


def test_the_status_of_a_stack_has_every_part(account: Account, development: str) -> None:
    # An alarm or a message of another test is a problem, and status 1.
    found = json.loads(account.attempt("sessions", "status", "--stack", development, "--json")[1])
    assert {each["status"] for each in found["tables"].values()} == {"ACTIVE"}
    assert found["tables"].keys() == {"sessions", "counts", "api_keys"}
    assert found["functions"].keys() == {"list_sessions", "authorize", "count_sessions"}
    assert all(int(each["version"]) > 0 for each in found["functions"].values())
    assert (found["stream"]["states"], found["stack"]["status"][-9:]) == (["Enabled"], "_COMPLETE")
    assert found["alarms"]["total"] > 0
    assert found["failure_queue"].keys() == {"waiting", "in_flight"}


def test_the_rollback_restores_the_parameters(account: Account, production: str, tmp_path: Path) -> None:
    user, words = account.user("operator-rollback", production), (str(tmp_path / "saved"), "--stack", production)
    account.run("sessions", "rollback", "save", *words, user=user)
    assert account.update(production, LogLevel="DEBUG") == "UPDATE_COMPLETE"
    account.run("sessions", "rollback", "restore", *words, user=user)
    function = account.resources(production)["ListSessionsFunction"]
    live = account.client("lambda").get_function_configuration(FunctionName=function, Qualifier="live")
    assert live["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == "INFO"
