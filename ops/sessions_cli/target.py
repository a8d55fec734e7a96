"""What a command works on: a stack, or another DynamoDB-compatible engine; and AWS's faults in plain words."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import boto3
import botocore.session
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

from sessions_cli.errors import ConfigurationError
from sessions_cli.tables import Tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient
    from mypy_boto3_sqs import SQSClient

LOCAL_REGION: Final = "eu-west-1"
LOCAL_KEY: Final = "local"
"""What another engine is told when nothing is configured; none of them looks at it closely."""

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


def is_url(text: str) -> bool:
    """Whether a text is a URL of HTTP that a client can be pointed at."""
    try:
        parts = urlsplit(text)
        has_host = is_valid_endpoint_url(text) or is_valid_ipv6_endpoint_url(text)
        return parts.scheme in ("http", "https") and has_host and parts.port != 0
    except ValueError:  # brackets without an end, a port that is not a number
        return False


def is_aws_host(host: str) -> bool:
    """Whether a host is an endpoint of AWS itself."""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))


class Target:
    """A stack or an account of AWS, or another DynamoDB-compatible engine, and the tables there."""

    def __init__(
        self,
        endpoint_url: str | None = None,
        stack: str | None = None,
        names: Mapping[str, str | None] | None = None,
        session: botocore.session.Session | None = None,
    ) -> None:
        """
        Args:
            endpoint_url: of DynamoDB; None for AWS itself.
            stack: the CloudFormation stack whose outputs name what `names` does not.
            names: names of tables, or the URL of the queue, that were given one by one, by the stack's output.
            session: botocore's, instead of a new one.

        Raises:
            ConfigurationError: the endpoint is not a URL.
        """
        if endpoint_url and not is_url(endpoint_url):
            raise ConfigurationError(f"The endpoint {endpoint_url!r} is not a URL such as http://127.0.0.1:8001.")
        self._endpoint_url = endpoint_url or None
        self.stack = stack
        self._given = names or {}
        self._base = session
        self._used: list[str] = []

    @property
    def required_stack(self) -> str:
        """The stack, for what only a stack has.

        Raises:
            ConfigurationError: none was named.
        """
        if not self.stack:
            raise ConfigurationError("Name the stack with --stack.")
        return self.stack

    @property
    def is_other_engine(self) -> bool:
        """Whether DynamoDB is not AWS's; then nothing has to be configured."""
        host = urlsplit(self._endpoint_url or "").hostname
        return bool(host) and not is_aws_host(str(host))

    @property
    def description(self) -> str:
        """Where this is, for messages."""
        where = f"region {self._session.get_config_variable('region')}"
        return f"{self._endpoint_url}, {where}" if self._endpoint_url else where

    @cached_property
    def sessions_table(self) -> str:
        """Raises ConfigurationError, as all names do, when nothing says what it is."""
        return self._name(SESSIONS, "--table")

    @cached_property
    def counts_table(self) -> str:
        """See `sessions_table`."""
        return self._name(COUNTS, "--counts-table")

    @cached_property
    def api_keys_table(self) -> str:
        """See `sessions_table`."""
        return self._name(API_KEYS, "--table")

    @cached_property
    def failure_queue(self) -> str:
        """The URL of the queue of what could not be counted; see `sessions_table`."""
        return self._name(FAILURE_QUEUE, "--queue-url")

    @cached_property
    def tables(self) -> Tables:
        """The tables that are counted and count."""
        sessions, counts = self.sessions_table, self.counts_table  # before the client: a missing name is likelier
        return Tables(self.dynamodb, sessions, counts)

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """The outputs of the stack."""
        return {each["OutputKey"]: each["OutputValue"] for each in self.stack_description.get("Outputs", [])}

    @cached_property
    def stack_description(self) -> dict[str, Any]:
        """What CloudFormation knows of the stack."""
        described: dict[str, Any] = self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"][0]
        return described

    @cached_property
    def dynamodb(self) -> DynamoDBClient:
        """The client of DynamoDB, or of the engine at the endpoint."""
        return cast("DynamoDBClient", self.client("dynamodb", self._endpoint_url))

    @cached_property
    def streams(self) -> DynamoDBStreamsClient:
        """The client of DynamoDB Streams; another engine serves them at the same URL."""
        own = self._endpoint_url if self.is_other_engine else None
        return cast("DynamoDBStreamsClient", self.client("dynamodbstreams", own))

    @cached_property
    def sqs(self) -> SQSClient:
        """The client of SQS, which is always AWS's."""
        return cast("SQSClient", self.client("sqs"))

    def client(self, service: str, endpoint_url: str | None = None) -> Any:
        """A new client of any service."""
        session: Any = self._boto3
        return session.client(service, endpoint_url=endpoint_url, config=CONFIG)

    def explain(self, error: BotoCoreError | ClientError) -> str:
        """A fault of AWS in one line."""
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
        if code.isdigit() and self.is_other_engine:  # a response in another form has only a status
            return (
                f"{self._endpoint_url} is not a DynamoDB endpoint: it responds to {error.operation_name} with status "
                f"{code}. `make run` has DynamoDB on DYNAMODB_PORT, 8001 unless changed, and the API on PORT."
            )
        return f"{error.operation_name}: {code}: {message}"

    def _name(self, output: str, option: str) -> str:
        name = self._given.get(output)
        if not name and self.stack:
            name = self.outputs.get(output)
            if name is None:
                raise ConfigurationError(f"The stack {self.stack} has no output {output}.")
        if not name and self.is_other_engine:
            name = LOCAL_NAMES.get(output)
        if not name and self.is_other_engine:
            raise ConfigurationError(f"Only a stack has a failure queue; use --stack or {option}.")
        if not name:
            if output == FAILURE_QUEUE:
                raise ConfigurationError(f"Which queue? Use --stack NAME or {option} URL.")
            raise ConfigurationError(
                f"Which table? Use --stack NAME, {option} NAME, or --endpoint-url http://127.0.0.1:8001 for what "
                "`make run` serves."
            )
        self._used.append(name)
        return name

    @cached_property
    def _boto3(self) -> boto3.session.Session:
        # One for all clients: a second one would register boto3's additions to S3 again, which then fail.
        return boto3.session.Session(botocore_session=self._session)

    @cached_property
    def _session(self) -> botocore.session.Session:
        session = self._base or botocore.session.get_session()
        # botocore knows AWS_DEFAULT_REGION alone; Lambda, the AWS CLI and the other SDKs put this one first.
        if region := os.environ.get("AWS_REGION"):
            session.set_config_variable("region", region)
        if self.is_other_engine:
            # Asking a machine in the cloud for its role would only take time here.
            session.get_component("credential_provider").remove("iam-role")
            if session.get_credentials() is None:
                session.set_credentials(LOCAL_KEY, LOCAL_KEY)
            if session.get_config_variable("region") is None:
                session.set_config_variable("region", LOCAL_REGION)
        return session


def _one_line(text: str) -> str:
    return " ".join(text.split())
