"""Clients of the local DynamoDB, whichever engine it is, and the tables of the template in it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sessions_local.sam_template import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

SESSIONS, COUNTS, API_KEYS = "sessions", "counts", "api_keys"
"""The tables, as their logical ids in `template.yaml` name them."""

CONFIG: Final = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=2, read_timeout=60)


def create_clients(url: str) -> tuple[DynamoDBClient, DynamoDBStreamsClient]:
    """Return clients of the tables and of the streams of the engine at a URL."""
    streams_url = os.environ.get("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", url)
    dynamodb: Any = boto3.client("dynamodb", endpoint_url=url, config=CONFIG)
    streams: Any = boto3.client("dynamodbstreams", endpoint_url=streams_url, config=CONFIG)
    return dynamodb, streams


def create_missing_tables(client: DynamoDBClient, tables: Iterable[Table]) -> None:
    """Create the tables that do not exist, and wait until all can be used."""
    for table in tables:
        try:
            client.create_table(**table.arguments)
        except client.exceptions.ResourceInUseException:
            continue
    for table in tables:
        client.get_waiter("table_exists").wait(TableName=table.name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def stream_arn(dynamodb: DynamoDBClient, streams: DynamoDBStreamsClient, table: str) -> str | None:
    """Return the stream of a table, or None when the engine has none that can be read."""
    try:
        arn = dynamodb.describe_table(TableName=table)["Table"]["LatestStreamArn"]
        streams.describe_stream(StreamArn=arn)
    except (ClientError, BotoCoreError, KeyError):
        return None
    return arn
