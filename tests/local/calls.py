"""Calls of a local API that runs, as its users make them."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from typing import Any, NamedTuple

import boto3

from sessions_cli.items import item_of
from tests.running import Running

KEY = "evr_local_00000000000000000000000000000001"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


class Answer(NamedTuple):
    """What a client gets."""

    status: int
    headers: Message
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


def call(url: str, method: str = "GET", data: Any = None, **headers: str | None) -> Answer:
    """Return the answer to a request; in names of headers an underscore stands for a hyphen."""
    sent = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
    request = urllib.request.Request(url, data, sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return Answer(response.status, response.headers, response.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read().decode())


def get(running: Running, target: str = "/v1/sessions", key: str | None = KEY, method: str = "GET") -> Answer:
    return call(running.url + target, method, Authorization=key)


def client(running: Running, service: str = "dynamodb", region: str = "ap-southeast-2") -> Any:
    """Return a client of somebody else: another region, other credentials."""
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=running.dynamodb_url,
        region_name=region,
        aws_access_key_id="somebody",
        aws_secret_access_key="else",
    )


def put(running: Running, *sessions: dict[str, Any]) -> None:
    """Write Sessions as another client of DynamoDB does."""
    for each in sessions:
        client(running).put_item(TableName="sessions", Item=item_of(each))


def total(running: Running, key: str) -> int | None:
    """Return the total that the API says, or None while the key has none."""
    answer = get(running, "/v1/sessions?limit=1", key)
    return int(answer.body["total"]) if answer.status == 200 else None


def within_two_seconds(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 2
    while not condition():
        assert time.monotonic() < end, "still not so after two seconds"
        time.sleep(0.05)
