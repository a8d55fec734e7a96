"""Fixtures for all tests: no network, no credentials of the machine, the service in one process."""

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import botocore.session
import pytest
from botocore.loaders import create_loader
from hypothesis import HealthCheck, Phase, settings
from moto import mock_aws

from sessions import client
from tests import service as builders
from tests.running import Running, local_api
from tests.service import Service

Lines = Callable[[], list[dict[str, Any]]]

# At a desk a failing property ends at once: it neither shrinks nor explains. `large` does both.
settings.register_profile(
    "desk",
    max_examples=15,
    deadline=None,
    print_blob=False,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("large", settings.get_profile("desk"), max_examples=2000, phases=list(Phase))
settings.register_profile("proof", settings.get_profile("desk"), max_examples=300)
# Many short runs, each of which only has to fail where something is wrong.
settings.register_profile(
    "mutants",
    settings.get_profile("desk"),
    max_examples=6,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "desk"))


@pytest.fixture(scope="session", autouse=True)
def own_state() -> Iterator[None]:
    """Make anew what a process forked by mutmut should not take over: the executor's threads and loaded functions."""
    builders.container.cache_clear()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(client, "_executor", ThreadPoolExecutor())
        yield


@pytest.fixture(scope="session", autouse=True)
def one_loader() -> Iterator[None]:
    """Share what botocore reads from its files between all AWS sessions; reading it takes most of a session."""
    loader = create_loader()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(botocore.session, "create_loader", lambda *_: loader)
        yield


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what Lambda sets, and nothing of this machine's AWS configuration."""
    for name in list(os.environ):
        if name.startswith("AWS_") and name != "AWS_CA_BUNDLE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def service(environment: None) -> Iterator[Service]:
    """Provide empty tables in moto."""
    with mock_aws():
        yield Service()


@pytest.fixture
def memory_service(environment: None, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Provide empty tables in the engine in memory."""
    return builders.memory_service(monkeypatch)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Move the machine's clock out of UTC."""
    with monkeypatch.context() as context:
        context.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    """Provide one local API with the sample data, for tests that only read, or write organizations of their own."""
    with local_api() as api:
        yield api


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    """Return what the functions have logged since the last call, without cold starts, which the first test has."""

    def written() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [line for line in found if "ColdStart" not in line]

    return written
