"""The platform's released Python client, its oldest and its newest version for this contract, on the local API."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.running import Running

KEY = "evr_local_00000000000000000000000000000001"

PATHS = {"0.1.0": "", "0.1.2": str(Path(sys.prefix) / "newest-client")}
"""Where Python finds each version; '': in the environment of the tests (`make .venv/dev`)."""

LIST = """
import asyncio, json, sys
from importlib.metadata import version
from everruns_sdk import AuthenticationError, Everruns

async def ids():
    client = Everruns(api_key=sys.argv[2], base_url=sys.argv[1])
    try:
        return [session.id for session in await client.sessions.list()]
    except AuthenticationError:
        return "AuthenticationError"
    finally:
        await client.close()

print(json.dumps([version("everruns-sdk"), asyncio.run(ids())]))
"""


def list_ids(version: str, url: str, key: str) -> object:
    """Return the ids that a version of the client lists, or the name of its error."""
    environment = os.environ | {"PYTHONPATH": PATHS[version]}
    command = [sys.executable, "-c", LIST, url, key]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout
    used, ids = json.loads(printed)
    assert used == version
    return ids


@pytest.mark.parametrize("version", PATHS)
def test_the_released_client_lists_sessions(running: Running, version: str) -> None:
    page = httpx.get(f"{running.url}/v1/sessions", headers={"Authorization": KEY}).json()
    assert list_ids(version, running.url, KEY) == [session["id"] for session in page["data"]]
    assert len(page["data"]) == 20


@pytest.mark.parametrize("version", PATHS)
@pytest.mark.parametrize("key", ["evr_local_ffffffffffffffffffffffffffffffff", "nonsense"])
def test_the_released_client_raises_its_error_for_a_bad_key(running: Running, version: str, key: str) -> None:
    assert list_ids(version, running.url, key) == "AuthenticationError"
