"""The commands on a stack, each as a user with its own policy of docs/policies and no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from sessions_cli.cli import main
from tests.service import session
from tests.stack.account import Account, Environment, eventually, policy_document
from tests.stack.test_roles import permissions

LINE = json.dumps(session(900)) + "\n"


class Command(NamedTuple):
    """Calls of a command that together need its whole policy."""

    calls: tuple[tuple[str, ...], ...]
    prepare: Callable[[Account, str], Any] = lambda account, stack: None
    text: str = ""


def table(account: Account, stack: str, name: str) -> str:
    return account.resources(stack)[f"{name}Table"]


def orphan(account: Account, stack: str) -> None:
    """Write the marker of a session that does not exist."""
    counts = table(account, stack, "Counts")
    item = {"scope": {"S": "session#session_9"}, "bucket": {"S": "S"}, "organization_agent": {"S": "org_1#agent_1"}}
    item |= {"organization_id": {"S": "org_1"}, "created_at_id": {"S": "2026-11-23T16:41:46.463925Z#session_9"}}
    account.client("dynamodb").put_item(TableName=counts, Item=item)


def api_key(account: Account, stack: str) -> None:
    item = {"key_hash": {"S": "abcd" + "0" * 60}, "organization_id": {"S": "org_1"}, "name": {"S": "x"}}
    account.client("dynamodb").put_item(TableName=table(account, stack, "ApiKeys"), Item=item)


def set_aside(account: Account, stack: str) -> None:
    """Put the message that Lambda would send for a session that lost its marker and one that left its marker behind."""
    dynamodb, streams = account.client("dynamodb"), account.client("dynamodbstreams")
    sessions, counts = table(account, stack, "Sessions"), table(account, stack, "Counts")
    account.run("sessions", "load", "-", "--stack", stack, text=LINE)
    marker = {"scope": {"S": f"session#{session(900)['id']}"}, "bucket": {"S": "S"}}
    found = eventually(lambda: dynamodb.get_item(TableName=counts, Key=marker).get("Item"))
    dynamodb.delete_item(TableName=sessions, Key={"id": {"S": session(900)["id"]}})
    eventually(lambda: "Item" not in dynamodb.get_item(TableName=counts, Key=marker))
    dynamodb.put_item(TableName=counts, Item=found)
    [stream] = streams.list_streams(TableName=sessions)["Streams"]
    [shard] = streams.describe_stream(StreamArn=stream["StreamArn"])["StreamDescription"]["Shards"]
    place = {"StreamArn": stream["StreamArn"], "ShardId": shard["ShardId"]}
    iterator = streams.get_shard_iterator(**place, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    numbers = [each["dynamodb"]["SequenceNumber"] for each in streams.get_records(ShardIterator=iterator)["Records"]]
    batch = {"streamArn": stream["StreamArn"], "shardId": shard["ShardId"]}
    batch |= {"startSequenceNumber": numbers[0], "endSequenceNumber": numbers[-1]}
    queue = account.resources(stack)["FailureQueue"]
    account.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps({"DDBStreamBatchInfo": batch}))


COMMANDS = {
    "load": Command((("load", "-"),), text=LINE),
    "export": Command((("export", "-"), ("export", "-", "--organization", "org_1"))),
    "status": Command((("status",),)),
    "keys-create": Command((("keys", "create", "--organization", "org_1"),)),
    "keys-list": Command((("keys", "list"),)),
    "keys-revoke": Command((("keys", "revoke", "abcd000000000000"),), api_key),
    "counts-audit": Command((("counts", "audit"),), orphan),
    "counts-rebuild": Command((("counts", "rebuild"), ("counts", "rebuild", "--empty-first", "--yes")), orphan),
    "counts-redrive": Command((("counts", "redrive"),), set_aside),
}

MISREAD = {
    "operator-status": ["lambda:ListAliases"],  # checked for GetAlias
    "operator-counts-redrive": ["dynamodb:GetRecords", "dynamodb:GetShardIterator"],  # checked on every resource
}
"""Actions that the emulator checks in another way than AWS."""

NOT_CHECKED = {"lambda:GetAlias", "dynamodb:GetRecords", "dynamodb:GetShardIterator"}


def succeeds(code: int, said: str) -> bool:
    """Return whether a command was allowed to do its work; an audit that finds differences ends with 1."""
    return code in (0, 1, 3) and "AccessDenied" not in said


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_needs_its_policy_and_no_other(name: str, account: Account, development: str) -> None:
    command, policy = COMMANDS[name], f"operator-{name}"
    calls = [(*words, "--stack", development) for words in command.calls]
    user, iam = account.user(policy, development, also=MISREAD.get(policy, [])), account.client("iam")
    command.prepare(account, development)
    for words in calls:
        ran = account.attempt("sessions", *words, as_user=user, text=command.text)
        assert succeeds(ran.returncode, ran.stdout + ran.stderr), ran.stderr
    for action, lacking in permissions(json.loads(policy_document(policy, development))):
        if action not in NOT_CHECKED:
            document = json.dumps(lacking)
            iam.put_user_policy(UserName=f"{policy}-{development}", PolicyName=policy, PolicyDocument=document)
            command.prepare(account, development)
            assert not all(in_process(account, user, words, command.text) for words in calls), action


def in_process(account: Account, user: Environment, words: tuple[str, ...], text: str) -> bool:
    """Return whether a command succeeds, without the time that a process takes to start."""
    ran = CliRunner().invoke(main, words, input=text, env=account.environment(**user))
    return succeeds(ran.exit_code, ran.output)


@pytest.mark.parametrize("policy", MISREAD)
def test_the_emulator_misreads_these_actions(policy: str, account: Account, development: str) -> None:
    command = COMMANDS[policy.removeprefix("operator-")]
    command.prepare(account, development)
    user = account.user(policy, development, name=f"misread-{policy}")
    assert not in_process(account, user, (*command.calls[0], "--stack", development), command.text)
