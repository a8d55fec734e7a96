"""Fixtures: an account with the stacks of both environments."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stack.account import Account, guide, policy_document
from tests.stack.emulator import PORT

DEVELOPMENT, PRODUCTION = "sessions-development", "sessions-production"


@pytest.fixture(scope="session")
def account() -> Iterator[Account]:
    found = Account()
    yield found
    found.close()


@pytest.fixture(scope="session")
def development(account: Account) -> str:
    """The stack's name; it is deployed as the guide deploys without an account."""
    emulator, deploy = guide("Without an account")
    assert emulator == "make emulator\n"  # which `account` has started
    assert "CREATE_COMPLETE" in account.shell(deploy.replace(f"http://127.0.0.1:{PORT}", account.url))
    return DEVELOPMENT


@pytest.fixture(scope="session")
def production(account: Account) -> str:
    """The stack's name; root has deployed it the first time, and the pipeline the second time."""
    account.deploy("production", "--parameter-overrides", "Environment=production")
    [bucket] = account.client("s3").list_buckets()["Buckets"]
    account.client("s3").delete_bucket_policy(Bucket=bucket["Name"])  # it denies HTTP, which the emulator speaks
    trust = policy_document("cloudformation-trust", PRODUCTION)
    role = account.client("iam").create_role(RoleName=f"cloudformation-{PRODUCTION}", AssumeRolePolicyDocument=trust)
    account.deploy("production", "--role-arn", role["Role"]["Arn"], user=account.user("pipeline", PRODUCTION))
    return PRODUCTION
