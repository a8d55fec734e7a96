"""The target of a command: a stack or a DynamoDB-compatible engine, its tables, and AWS clients for them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import boto3
import botocore.session
import click
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as BotocoreConnectionError
from botocore.utils import is_valid_endpoint_url, is_valid_ipv6_endpoint_url

from sessions_cli.tables import Tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient
    from mypy_boto3_sqs import SQSClient

LOCAL_REGION: Final = "eu-west-1"
LOCAL_CREDENTIAL: Final = "local"
"""Region and credentials for an engine other than AWS if none are configured; such engines do not check them."""

CONFIG: Final = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 4},
    max_pool_connections=32,
)

SESSIONS: Final = "SessionsTableName"
COUNTS: Final = "CountsTableName"
API_KEYS: Final = "ApiKeysTableName"
FAILURE_QUEUE: Final = "FailureQueueUrl"
"""Outputs of the stack."""

LOCAL_NAMES: Final = {SESSIONS: "sessions", COUNTS: "counts", API_KEYS: "api_keys"}
"""The tables of `make run`."""


_WHICH_TABLE: Final = (
    "Which table? Use --stack NAME, {} NAME, or --endpoint-url http://127.0.0.1:8001 for what `make run` serves."
)
WHICH: Final = {
    SESSIONS: _WHICH_TABLE.format("--table"),
    COUNTS: _WHICH_TABLE.format("--counts-table"),
    API_KEYS: _WHICH_TABLE.format("--table"),
    FAILURE_QUEUE: "Which queue? Use --stack NAME or --queue-url URL.",
}
"""The message of a command that names no target."""


class ConfigurationError(click.ClickException):
    """No target was given, or it does not exist; the message says what to do."""


def is_url(text: str) -> bool:
    """Return whether a text is an HTTP URL that a client accepts as its endpoint."""
    try:
        parts = urlsplit(text)
        has_host = is_valid_endpoint_url(text) or is_valid_ipv6_endpoint_url(text)
        return parts.scheme in ("http", "https") and has_host and parts.port != 0
    except ValueError:  # brackets that do not close, a port that is not a number
        return False


def is_aws_host(host: str) -> bool:
    """Return whether a host is an endpoint of AWS."""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))


class Target:
    """The tables and the queue of a stack, of an account, or of another DynamoDB-compatible engine.

    Args:
        endpoint_url: the endpoint of DynamoDB; None for AWS.
        stack: the CloudFormation stack whose outputs name what `names` does not.
        names: names of tables, or the URL of the queue, by the output of the stack.
        session: botocore's session; a new one unless given.
    """

    def __init__(
        self,
        endpoint_url: str | None = None,
        stack: str | None = None,
        names: Mapping[str, str | None] | None = None,
        session: botocore.session.Session | None = None,
    ) -> None:
        if endpoint_url and not is_url(endpoint_url):
            raise ConfigurationError(f"The endpoint {endpoint_url!r} is not a URL such as http://127.0.0.1:8001.")
        self._endpoint_url = endpoint_url or None
        self.stack = stack
        self._given = names or {}
        self._base = session
        self._used: list[str] = []

    @property
    def has_custom_endpoint(self) -> bool:
        """Return whether DynamoDB is an engine other than AWS, which needs no configuration."""
        host = urlsplit(self._endpoint_url or "").hostname
        return bool(host) and not is_aws_host(str(host))

    @property
    def description(self) -> str:
        """Return the endpoint and the region, for messages."""
        where = f"region {self._session.get_config_variable('region')}"
        return f"{self._endpoint_url}, {where}" if self._endpoint_url else where

    def name(self, output: str) -> str:
        """Return the name of a table, or the URL of the queue, by the output of the stack that has it."""
        name = self._given.get(output)
        if not name and self.stack:
            name = self.outputs.get(output)
            if name is None:
                raise ConfigurationError(f"The stack {self.stack} has no output {output}.")
        if not name and self.has_custom_endpoint:
            name = LOCAL_NAMES.get(output)
            if name is None:
                raise ConfigurationError("Only a stack has a failure queue; use --stack or --queue-url.")
        if not name:
            raise ConfigurationError(WHICH[output])
        self._used.append(name)
        return name

    @cached_property
    def tables(self) -> Tables:
        sessions, counts = self.name(SESSIONS), self.name(COUNTS)  # a missing name is reported before a missing region
        return Tables(self.dynamodb, sessions, counts)

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """Return the outputs of the stack."""
        return {each["OutputKey"]: each["OutputValue"] for each in self.stack_description.get("Outputs", [])}

    @cached_property
    def stack_description(self) -> dict[str, Any]:
        """Return CloudFormation's description of the stack."""
        cloudformation = self._beside_dynamodb("cloudformation", f"The stack {self.stack} is")
        described: dict[str, Any] = cloudformation.describe_stacks(StackName=self.stack)["Stacks"][0]
        return described

    @cached_property
    def dynamodb(self) -> DynamoDBClient:
        return cast("DynamoDBClient", self.client("dynamodb", self._endpoint_url))

    @cached_property
    def streams(self) -> DynamoDBStreamsClient:
        """Return a client of DynamoDB Streams, which another engine serves at the endpoint of DynamoDB."""
        endpoint_url = self._endpoint_url if self.has_custom_endpoint else None
        return cast("DynamoDBStreamsClient", self.client("dynamodbstreams", endpoint_url))

    @cached_property
    def sqs(self) -> SQSClient:
        return cast("SQSClient", self._beside_dynamodb("sqs", "The failure queue is"))

    def client(self, service: str, endpoint_url: str | None = None) -> Any:
        """Return a new client of any service."""
        session: Any = self._boto3
        return session.client(service, endpoint_url=endpoint_url, config=CONFIG)

    def explain(self, error: BotoCoreError | ClientError) -> str:
        """Return an error of AWS in one line."""
        match error:
            case NoCredentialsError() | PartialCredentialsError() | CredentialRetrievalError():
                return "There are no AWS credentials; `aws configure`, `aws sso login` or AWS_PROFILE supplies them."
            case NoRegionError():
                return "There is no AWS region; AWS_REGION, AWS_DEFAULT_REGION or the profile supplies it."
            case BotocoreConnectionError() | HTTPClientError():
                return f"No response: {_one_line(str(error))}"
            case ClientError():
                return self._explain_refusal(error)
        return _one_line(str(error))

    def _explain_refusal(self, error: ClientError) -> str:
        code, message = error.response["Error"]["Code"], _one_line(error.response["Error"].get("Message", ""))
        if code == "ResourceNotFoundException" and self._used:
            return f"There is no table {' or '.join(dict.fromkeys(self._used))} ({self.description})."
        if code.isdigit() and self.has_custom_endpoint:  # a response that is not DynamoDB's has only a status
            return (
                f"{self._endpoint_url} is not a DynamoDB endpoint: it responds to {error.operation_name} with status "
                f"{code}. `make run` has DynamoDB on DYNAMODB_PORT, 8001 unless changed, and the API on PORT."
            )
        return f"{error.operation_name}: {code}: {message}"

    def _beside_dynamodb(self, service: str, what: str) -> Any:
        """Return a client of a service, unless it is in AWS and DynamoDB is not."""
        client = self.client(service)
        if self.has_custom_endpoint and is_aws_host(str(urlsplit(client.meta.endpoint_url).hostname)):
            raise ConfigurationError(
                f"{what} in AWS, and DynamoDB at {self._endpoint_url}. Set no endpoint for AWS, or "
                "AWS_ENDPOINT_URL for an emulator of all services."
            )
        return client

    @cached_property
    def _boto3(self) -> boto3.session.Session:
        # A second session would register boto3's additions to S3 again, which then fail.
        return boto3.session.Session(botocore_session=self._session)

    @cached_property
    def _session(self) -> botocore.session.Session:
        session = self._base or botocore.session.get_session()
        # botocore reads only AWS_DEFAULT_REGION; Lambda, the AWS CLI and the other SDKs prefer AWS_REGION.
        if region := os.environ.get("AWS_REGION"):
            session.set_config_variable("region", region)
        if self.has_custom_endpoint:
            session.get_component("credential_provider").remove("iam-role")  # looking for a role only takes time
            if session.get_credentials() is None:
                session.set_credentials(LOCAL_CREDENTIAL, LOCAL_CREDENTIAL)
            if session.get_config_variable("region") is None:
                session.set_config_variable("region", LOCAL_REGION)
        return session


def _one_line(text: str) -> str:
    return " ".join(text.split())
