"""Every command: its help, and the faults that an operator meets, each in one line."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import boto3
import click
import pytest
from botocore.config import Config

from sessions_cli import smoke, target
from sessions_cli.cli import main
from tests.cli.command import TABLES, at, fault, sessions, shell
from tests.running import Running, free_port
from tests.service import Service

KEYS_LIST = ("keys", "list")
EVERY_USE = [
    ("load", "-"),
    ("export", "-"),
    ("status",),
    ("counts", "rebuild"),
    ("counts", "audit"),
    KEYS_LIST,
    ("keys", "create", "--organization", "org_1"),
    ("keys", "revoke", "9f86d081884c7d65"),
]


def commands(group: click.Group, *path: str) -> Iterator[tuple[click.Command, tuple[str, ...]]]:
    """Every command below a group with the words that call it, the groups among them."""
    yield group, path
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield command, (*path, name)


ALL = list(commands(main))
LEAVES = [path for command, path in ALL if not isinstance(command, click.Group)]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """One try, so that a test does not wait for the others."""
    monkeypatch.setattr(
        target, "CONFIG", Config(connect_timeout=0.2, read_timeout=0.2, retries={"total_max_attempts": 1})
    )


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("path", [path for _, path in ALL], ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...], flag: str) -> None:
    ran = sessions(*path, flag)
    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"Usage: {' '.join(['sessions', *path])} ")
    assert path not in LEAVES or f"sessions {' '.join(path)} " in example(path)


def example(path: tuple[str, ...]) -> str:
    """The example of a command's help."""
    text = sessions(*path, "--help", COLUMNS="100").stdout.partition("Example:\n")[2]
    return text.partition("\n\n")[0]


@pytest.mark.parametrize("path", [path for path in LEAVES if "--stack" not in example(path)], ids=" ".join)
def test_the_example_of_every_command_works_with_make_run(running: Running, path: tuple[str, ...]) -> None:
    here = example(path).replace("http://127.0.0.1:8080", running.url)
    here = here.replace("http://127.0.0.1:8001", running.dynamodb_url)
    if "$(" in here:
        ran = shell(here, dict(os.environ))
        assert ran.returncode == 0, ran.stderr
    else:  # without a shell, and without the time that a process takes to start
        for line in here.splitlines():
            assert sessions(*line.split()[1:]).exit_code == 0


def test_the_version_is_known() -> None:
    assert sessions("--version").stdout.endswith(", version 1.0.0\n")


@pytest.mark.parametrize("use", [*EVERY_USE, ("counts", "redrive", "--queue-url", "https://sqs.example.com/1/q")])
def test_without_credentials_it_is_said_what_supplies_them(
    use: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    assert fault(*use) == (
        "There are no AWS credentials; `aws configure`, `aws sso login` or AWS_PROFILE supplies them."
    )


def test_without_a_region_it_is_said_what_supplies_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    assert fault(*KEYS_LIST) == "There is no AWS region; AWS_REGION, AWS_DEFAULT_REGION or the profile supplies it."


def test_the_region_is_that_of_aws_region_before_all_others(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert fault(*KEYS_LIST, AWS_REGION="eu-central-1") == "There is no table api_keys (region eu-central-1)."


def test_the_port_of_the_api_is_distinguished_from_an_engine(running: Running) -> None:
    assert fault(*KEYS_LIST, "--endpoint-url", running.url) == (
        f"{running.url} is not a DynamoDB endpoint: it responds to Scan with status 404. `make run` has DynamoDB on "
        "DYNAMODB_PORT, 8001 unless changed, and the API on PORT."
    )


@pytest.mark.parametrize("use", EVERY_USE, ids=" ".join)
def test_a_table_that_is_not_there_is_named(service: Service, use: tuple[str, ...]) -> None:
    for table in service.dynamodb.list_tables()["TableNames"]:
        service.dynamodb.delete_table(TableName=table)
    said = fault(*use, SESSIONS_TABLE="nowhere", COUNTS_TABLE="nowhere", API_KEYS_TABLE="nowhere")
    assert said == "There is no table nowhere (region eu-west-1)."


@pytest.mark.parametrize("use", EVERY_USE, ids=" ".join)
def test_an_unreachable_engine_is_one_line(impatient: None, use: tuple[str, ...]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert fault(*use, "--endpoint-url", url) == f'No response: Could not connect to the endpoint URL: "{url}/"'


def test_what_does_not_speak_http_is_said_to_be_silent(impatient: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        assert fault(*KEYS_LIST, "--endpoint-url", url) == f'No response: Read timeout on endpoint URL: "{url}/"'


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8001", "ftp://engine", "http://", "http://[::1", "http://a:b", "http://a:99999", "http://a b"]
)
def test_an_endpoint_that_is_not_a_url_is_refused(url: str) -> None:
    assert fault(*KEYS_LIST, "--endpoint-url", url) == (
        f"The endpoint {url!r} is not a URL such as http://127.0.0.1:8001."
    )


@pytest.mark.parametrize(
    ("use", "asked"),
    [
        *(
            (use, "Which table? Use --stack NAME, --table NAME, or --endpoint-url http://127.0.0.1:8001 for what ")
            for use in [*EVERY_USE, ("counts", "redrive")]
        ),
        (("rollback", "save", "before.json"), "Name the stack with --stack."),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_a_command_without_options_says_what_to_name(
    use: tuple[str, ...], asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    assert fault(*use, **dict.fromkeys(TABLES, "")).startswith(asked)


def test_another_engine_needs_no_configuration(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    ran = sessions(*KEYS_LIST, "--json", API_KEYS_TABLE="", **at(running))
    assert ran.exit_code == 0
    assert '"org_00000000000000000000000000000001"' in ran.stdout


class Proxy(BaseHTTPRequestHandler):
    """A proxy that notes the first line of every request and refuses it."""

    seen: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.seen.append(self.requestline)
        self.send_error(403)

    do_POST = do_CONNECT = do_GET  # noqa: N815


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A proxy for everything, and the requests that it has seen."""
    Proxy.seen = []
    with HTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_address[1]}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "")
        yield Proxy.seen
        server.shutdown()


def test_this_machine_is_called_without_a_proxy(running: Running, proxy: list[str]) -> None:
    for url in (running.dynamodb_url, running.dynamodb_url.replace("127.0.0.1", "localhost")):
        assert sessions(*KEYS_LIST, "--endpoint-url", url).exit_code == 0
    assert sessions("smoke", running.url).exit_code == 0
    assert proxy == []


def test_no_proxy_for_anything_stays_in_force(impatient: None, proxy: list[str]) -> None:
    assert sessions(*KEYS_LIST, "--endpoint-url", "http://engine.invalid:8001", no_proxy="*").exit_code == 1
    assert proxy == []


@pytest.mark.parametrize(
    "use",
    [
        (*KEYS_LIST, "--endpoint-url", "http://engine.invalid:8001"),
        ("smoke", "http://api.invalid", "--key", "evr_" + "x" * 43),
        ("smoke", "https://api.invalid", "--key", "evr_" + "x" * 43),
    ],
    ids=["engine", "http", "https"],
)
def test_other_hosts_are_called_through_the_proxy(
    impatient: None, proxy: list[str], use: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smoke, "RETRIES", smoke.RETRIES.new(total=0))
    assert sessions(*use).exit_code == 1
    assert ".invalid" in proxy[0]


@pytest.fixture
def stack(service: Service) -> str:
    """A stack whose outputs name tables as the template's do."""
    outputs = {"SessionsTableName": "sessions", "CountsTableName": "counts", "ApiKeysTableName": "api_keys"}
    template = {
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    boto3.client("cloudformation").create_stack(StackName="production", TemplateBody=json.dumps(template))
    return "production"


def test_a_stack_names_the_tables_before_the_environment_does(stack: str) -> None:
    assert sessions("counts", "audit", "--stack", stack, SESSIONS_TABLE="other", COUNTS_TABLE="other").exit_code == 0


def test_a_name_on_the_command_line_goes_before_the_stack(stack: str) -> None:
    said = fault("counts", "audit", "--stack", stack, "--table", "nowhere")
    assert said == "There is no table nowhere or counts (region eu-west-1)."


def test_a_stack_that_does_not_exist_is_named(service: Service) -> None:
    said = fault(*KEYS_LIST, "--stack", "nothing")
    assert said == "DescribeStacks: ValidationError: Stack with id nothing does not exist"


def test_a_stack_of_something_else_lacks_the_output(stack: str) -> None:
    said = fault("counts", "redrive", "--stack", stack)
    assert said == "The stack production has no output FailureQueueUrl."
