"""Fixtures: one account, and the stack of development in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stack.account import Account, policy_document

DEVELOPMENT = "sessions-development"
PRODUCTION = "sessions-production"


@pytest.fixture(scope="session")
def account() -> Iterator[Account]:
    found = Account()
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(scope="session")
def development(account: Account) -> str:
    """The name of a stack that `sam deploy --config-env development` has created."""
    account.deploy("development")
    return DEVELOPMENT


@pytest.fixture(scope="session")
def production(account: Account) -> str:
    """The name of a stack of production, deployed the first time by root and the second time by the pipeline."""
    account.deploy("production", "--parameter-overrides", "Environment=production")
    [bucket] = account.client("s3").list_buckets()["Buckets"]
    account.client("s3").delete_bucket_policy(Bucket=bucket["Name"])  # it denies HTTP, which the emulator speaks
    role = account.client("iam").create_role(
        RoleName=f"cloudformation-{PRODUCTION}",
        AssumeRolePolicyDocument=policy_document("cloudformation-trust", PRODUCTION),
    )["Role"]
    account.deploy("production", "--role-arn", role["Arn"], as_user=account.user("pipeline", PRODUCTION))
    return PRODUCTION
