"""The guides of docs/ bring back what was lost, by their own commands, counts included."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import urllib3

from tests.cli.command import at, ndjson, shell, written
from tests.cli.test_sources import export
from tests.running import ROOT, Running, local_api
from tests.service import ORGANIZATION, OTHER_ORGANIZATION, Service, item_of, session

ENTRIES = [
    session(
        number, organization_id=organization, created_at=f"2026-{1 + number % 11:02}-{1 + number % 28:02}T12:00:00Z"
    )
    for number, organization in enumerate([ORGANIZATION, ORGANIZATION, OTHER_ORGANIZATION] * 20)
]


def section(title: str) -> str:
    """A section of the operator's guide."""
    text = (ROOT / "docs" / "operations.md").read_text()
    found = re.search(rf"^## {title}\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def commands(text: str) -> list[str]:
    """The `sessions` commands of its ```sh blocks; those of AWS have nobody to talk to here."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if "sessions " in line and not line.startswith("aws ")]


def follow(api: Running, found: list[str]) -> None:
    """Run commands as they stand, on the tables of a local API in the place of the stack's."""
    assert found
    for command in found:
        here = command.replace(" --stack sessions-production", "").replace("RESTORED", "restored")
        ran = shell(here, dict(os.environ) | at(api))
        assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A local API, for tests that lose its sessions and bring them back."""
    data = tmp_path_factory.mktemp("data") / "sessions.ndjson"
    data.write_bytes(ndjson(*ENTRIES))
    with local_api(DATA=str(data)) as api:
        yield api


def dynamodb(api: Running) -> Any:
    return boto3.client("dynamodb", endpoint_url=api.dynamodb_url)


def items(api: Running) -> list[dict[str, Any]]:
    pages = dynamodb(api).get_paginator("scan").paginate(TableName="sessions", ConsistentRead=True)
    return sorted((item for page in pages for item in page["Items"]), key=lambda item: str(item["id"]["S"]))


@pytest.fixture
def restored(api: Running) -> Iterator[list[dict[str, Any]]]:
    """What `aws dynamodb restore-table-to-point-in-time` makes, and its items."""
    dynamodb(api).create_table(
        TableName="restored",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    before = items(api)
    for item in before:
        dynamodb(api).put_item(TableName="restored", Item=item)
    yield before
    dynamodb(api).delete_table(TableName="restored")


def lose(api: Running, session_ids: list[str]) -> None:
    for session_id in session_ids:
        dynamodb(api).delete_item(TableName="sessions", Key={"id": {"S": session_id}})


def pages(api: Running) -> list[Any]:
    """The first and a later page of each organization, as its clients see them."""
    found = []
    for organization in (ORGANIZATION, OTHER_ORGANIZATION):
        for query in ("limit=3", "limit=3&offset=15"):
            key = f"evr_local_{organization.removeprefix('org_')}"
            response = urllib3.request("GET", f"{api.url}/v1/sessions?{query}", headers={"Authorization": key})
            found.append(json.loads(response.data))
    return found


@pytest.mark.parametrize(("every", "loads"), [(1, "sessions.ndjson.gz --stack"), (10, "--only")], ids=["all", "some"])
def test_lost_sessions_are_restored_by_the_commands_of_the_guide(
    api: Running, restored: list[dict[str, Any]], every: int, loads: str
) -> None:
    seen = pages(api)
    lost = [item["id"]["S"] for item in restored[::every]]
    Path("ids.txt").write_text("\n".join(lost) + "\n")
    lose(api, lost)
    found = commands(section("Back up and restore"))
    follow(api, [command for command in found if "sessions load" not in command or loads in command])
    assert items(api) == restored
    assert pages(api) == seen


def test_existing_data_moves_in_by_the_commands_of_the_guide(api: Running) -> None:
    before = len(items(api))
    written("sessions.ndjson", ndjson(session(1001), session(1002)))
    written("more.ndjson.gz", gzip.compress(ndjson(session(1003))))
    export(session(1004), session(1005), session(1006))
    follow(api, commands(section("Move an existing table in")))
    assert len(items(api)) == before + 6


def test_wrong_bins_are_corrected_by_the_command_of_the_guide(api: Running) -> None:
    key = {"scope": {"S": ORGANIZATION}, "bucket": {"S": "M2026-11"}}
    before = dynamodb(api).get_item(TableName="counts", Key=key)["Item"]
    dynamodb(api).put_item(TableName="counts", Item=before | {"01": {"N": "7000"}})
    found = commands(section("Empty the counts and rebuild"))
    follow(api, [command.replace("--empty-first", "--empty-first --yes") for command in found])
    assert dynamodb(api).get_item(TableName="counts", Key=key)["Item"] == before


@pytest.mark.parametrize("stored", [{}, {"usage": {"M": {"input_tokens": {"N": "1"}, "output_tokens": {"N": "2"}}}}])
def test_the_documented_update_works_with_and_without_usage(service: Service, stored: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "data-layout.md").read_text()
    (update,) = re.findall(r"### UpdateItem changes\n.*?```json\n(.*?)```", text, re.DOTALL)
    request = json.loads(update)
    item = item_of(session(1)) | {"id": request["Key"]["id"]} | stored
    service.dynamodb.put_item(TableName="sessions", Item=item)
    service.dynamodb.update_item(**request)
    found = service.dynamodb.get_item(TableName="sessions", Key=request["Key"])["Item"]
    assert (found["status"], found["usage"]) == ({"S": "idle"}, request["ExpressionAttributeValues"][":usage"])
