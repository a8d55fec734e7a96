"""Demo keys: every organization that has sessions on this machine gets a predictable key."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from sessions.api_keys import parse_key
from sessions.schema import ORGANIZATION_ID
from sessions_cli.keys import demo_key, put

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DemoKeys:
    """The demo keys in the table of API keys."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self.issued: dict[str, str] = {}
        """Keys by organization, in the order in which they were issued."""
        self._impossible: set[str] = set()

    def on_record(self, record: dict[str, Any]) -> None:
        """Issue the key of the organization in a stream record, if it is new."""
        match record["dynamodb"].get("NewImage"):
            case dict(item) if "S" in item.get(ORGANIZATION_ID, {}):
                self.issue(item[ORGANIZATION_ID]["S"])

    def issue(self, organization_id: str) -> None:
        """Issue the key of an organization once; after it is revoked it stays revoked."""
        if organization_id in self.issued or organization_id in self._impossible:
            return
        key = demo_key(organization_id)
        if not organization_id.startswith("org_") or parse_key([key]) != key:
            self._impossible.add(organization_id)
            print(f"{organization_id!r} gets no demo key: {key!r} is not a valid API key", file=sys.stderr)
            return
        put(self._dynamodb, self._table, key, organization_id, "local")
        self.issued[organization_id] = key
