"""Where the operator's commands work: clients, the names of the tables, and AWS's faults as plain sentences."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

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

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient
    from mypy_boto3_sqs import SQSClient

LOCAL_REGION: Final = "eu-west-1"
LOCAL_KEY: Final = "local"
"""What an engine of one's own is told when nothing is configured; none of them looks at it closely."""

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


class Unclear(Exception):
    """What to work on was not said, or does not exist; the message says what to do."""


def is_address(text: str) -> bool:
    """Whether a text is an address of HTTP that a client can be pointed at."""
    try:
        parts = urlsplit(text)
        has_host = is_valid_endpoint_url(text) or is_valid_ipv6_endpoint_url(text)
        return parts.scheme in ("http", "https") and has_host and parts.port != 0
    except ValueError:  # brackets without an end, a port that is no number
        return False


class Place:
    """An account and region of AWS, or a DynamoDB-compatible engine of one's own."""

    def __init__(self, endpoint_url: str | None = None, stack: str | None = None) -> None:
        """
        Args:
            endpoint_url: of DynamoDB; None for AWS itself.
            stack: the CloudFormation stack whose outputs name the tables.

        Raises:
            Unclear: the endpoint is no address.
        """
        if endpoint_url and not is_address(endpoint_url):
            raise Unclear(f"The endpoint {endpoint_url!r} is no address such as http://127.0.0.1:8001.")
        self._endpoint_url = endpoint_url or None
        self._stack = stack
        self.names: list[str] = []
        """The tables that were asked for, for error messages."""

    @property
    def is_own_engine(self) -> bool:
        """Whether DynamoDB is not AWS's; then nothing has to be configured."""
        host = urlsplit(self._endpoint_url or "").hostname
        return bool(host) and not str(host).endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))

    @property
    def description(self) -> str:
        """Where this is, for messages."""
        where = f"region {self._session.get_config_variable('region')}"
        return f"{self._endpoint_url}, {where}" if self._endpoint_url else where

    def name(self, output: str, given: str | None, option: str) -> str:
        """The name of a table or queue: as given, as the stack says, or as on an engine of one's own.

        Raises:
            Unclear: none of these.
        """
        name = given
        if not name and self._stack:
            name = self._outputs.get(output)
            if name is None:
                raise Unclear(f"The stack {self._stack} has no output {output}.")
        if not name and self.is_own_engine:
            name = LOCAL_NAMES.get(output)
        if not name:
            own = ", or `make run` with --endpoint-url http://127.0.0.1:8001" if output in LOCAL_NAMES else ""
            raise Unclear(f"Name the stack with --stack, or what to work on with {option}{own}.")
        self.names.append(name)
        return name

    @property
    def dynamodb(self) -> DynamoDBClient:
        """A new client of DynamoDB."""
        return cast("DynamoDBClient", self._client("dynamodb", self._endpoint_url))

    @property
    def streams(self) -> DynamoDBStreamsClient:
        """A new client of DynamoDB Streams, which an engine of one's own has behind the same address."""
        own = self._endpoint_url if self.is_own_engine else None
        return cast("DynamoDBStreamsClient", self._client("dynamodbstreams", own))

    @property
    def sqs(self) -> SQSClient:
        """A new client of SQS."""
        return cast("SQSClient", self._client("sqs", None))

    @cached_property
    def _session(self) -> botocore.session.Session:
        session = botocore.session.get_session()
        if self.is_own_engine:
            # Asking a machine in the cloud for its role would only take time here.
            session.get_component("credential_provider").remove("iam-role")
            if session.get_credentials() is None:
                session.set_credentials(LOCAL_KEY, LOCAL_KEY)
            if session.get_config_variable("region") is None:
                session.set_config_variable("region", LOCAL_REGION)
        return session

    @cached_property
    def _outputs(self) -> Mapping[str, str]:
        answer = self._client("cloudformation", None).describe_stacks(StackName=self._stack)
        return {each["OutputKey"]: each["OutputValue"] for each in answer["Stacks"][0].get("Outputs", [])}

    def _client(self, service: str, endpoint_url: str | None) -> Any:
        return self._session.create_client(service, endpoint_url=endpoint_url, config=CONFIG)


def sentence_of(error: BotoCoreError | ClientError, place: Place) -> str:
    """A fault of AWS in one line for the operator."""
    match error:
        case NoCredentialsError() | PartialCredentialsError() | CredentialRetrievalError():
            return "There are no AWS credentials; `aws configure`, `aws sso login` or AWS_PROFILE supplies them."
        case NoRegionError():
            return "There is no AWS region; AWS_DEFAULT_REGION or the profile supplies it."
        case BotocoreConnectionError() | HTTPClientError():
            return f"No answer: {_one_line(str(error))}"
        case ClientError():
            return _refusal(error, place)
    return _one_line(str(error))


def _refusal(error: ClientError, place: Place) -> str:
    code, message = error.response["Error"]["Code"], _one_line(error.response["Error"].get("Message", ""))
    if code == "ResourceNotFoundException" and place.names:
        names = " or ".join(dict.fromkeys(place.names))
        return f"There is no table {names} ({place.description})."
    return f"{error.operation_name}: {code}: {message}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
