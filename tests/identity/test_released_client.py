"""The platform's released Python client against the local API, with only its base URL set."""

import asyncio

import httpx
import pytest
from everruns_sdk import AuthenticationError, Everruns

from tests.running import Running

KEY = "evr_local_00000000000000000000000000000001"


def test_the_released_client_lists_sessions(running: Running) -> None:
    async def listed() -> list[str]:
        client = Everruns(api_key=KEY, base_url=running.url)
        try:
            return [session.id for session in await client.sessions.list()]
        finally:
            await client.close()

    expected = httpx.get(f"{running.url}/v1/sessions", headers={"Authorization": KEY}).json()["data"]
    assert asyncio.run(listed()) == [session["id"] for session in expected]
    assert len(expected) == 20


@pytest.mark.parametrize("key", ["evr_local_ffffffffffffffffffffffffffffffff", "nonsense"])
def test_the_released_client_raises_its_authentication_error_on_a_bad_key(running: Running, key: str) -> None:
    async def listed() -> None:
        client = Everruns(api_key=key, base_url=running.url)
        try:
            await client.sessions.list()
        finally:
            await client.close()

    with pytest.raises(AuthenticationError):
        asyncio.run(listed())
