"""`make run`: the real handlers on this machine, on tables and a stream of their own, with data in them."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final, TextIO
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from sessions_local import embedded_dynamodb as dynamodb
from sessions_local import seed as loading
from sessions_local.browser_pages import Site
from sessions_local.demo_keys import DemoKeys
from sessions_local.function_log import FunctionLog
from sessions_local.gateway import Gateway
from sessions_local.http_server import HttpRequest, HttpServer, bound_socket
from sessions_local.lambda_runtime import FunctionFailed, FunctionTimedOut, LambdaRuntime
from sessions_local.sam_template import REGION, Template
from sessions_local.settings import LOOPBACK, CannotStart, Settings
from sessions_local.stream_poller import StreamPoller

OPEN_WARNING: Final = """\
warning: listening on {host}, not only on this machine. Whoever reaches these ports can read and change all
data here: the demo keys can be guessed, and the embedded DynamoDB takes any credentials.
"""


def main() -> int:
    """Serves until a signal ends the process; returns the exit status when it cannot start."""
    try:
        serve(Settings.read(os.environ), sys.stdout)
    except CannotStart as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 1
    threading.Event().wait()
    return 0


def serve(settings: Settings, screen: TextIO) -> None:
    """Starts everything; returns when requests are served. Nothing has to be stopped: all threads are daemons.

    Args:
        screen: for people.

    Raises:
        CannotStart: a port is busy, the data cannot be read, or the engine or a function does not start.
    """
    with ExitStack() as opened:  # what can be wrong is found before the work that takes its time
        api_socket = opened.enter_context(_bound(settings.host, settings.port, "PORT"))
        data = loading.Data(settings.data)
        engine: dynamodb.DynamoDB
        if settings.endpoint is None:
            dynamodb_socket = opened.enter_context(_bound(settings.host, settings.dynamodb_port, "DYNAMODB_PORT"))
            engine = dynamodb.EmbeddedDynamoDB(dynamodb_socket)
        else:
            engine = dynamodb.ExternalDynamoDB(settings.endpoint)
        opened.pop_all()
    if settings.host not in LOOPBACK:
        print(OPEN_WARNING.format(host=settings.host), file=sys.stderr, flush=True)
    _use_engine(engine)

    template = Template.read(parameters={"CorsOrigins": ",".join(settings.cors_origins)})
    log = FunctionLog(sys.stderr, settings.is_verbose)
    functions = {function.name: LambdaRuntime(function, log) for function in template.called_functions}
    client, streams = dynamodb.clients(engine)
    keys = DemoKeys(client, loading.API_KEYS)
    try:
        dynamodb.create_missing_tables(client, template.tables)
        arn = dynamodb.stream_arn(client, streams, template.stream.table)
        for function in functions.values():
            function.wait_until_loaded()
        if arn is None:
            print(f"{engine.url} has no streams: only `sessions counts rebuild` updates the totals.", file=screen)
            data.load_without_stream(client)
            for organization_id in loading.organizations(client):
                keys.issue(organization_id)
        else:
            count_sessions = functions[template.stream.function]
            poller = StreamPoller(
                streams,
                arn,
                template.stream,
                lambda event: count_sessions.invoke(event).payload,
                keys.on_record,
                engine.written,
            )
            data.load_and_count(client, poller)
    except (ClientError, BotoCoreError) as error:
        raise CannotStart(f"DynamoDB at {engine.url}: {error}") from None
    except (FunctionFailed, FunctionTimedOut) as error:
        raise CannotStart(f"a function does not start: {error}") from None

    invoke = {name: function.invoke for name, function in functions.items()}
    gateway = Gateway(template, invoke, settings.cors_origins)
    totals = {each: _total(gateway, key) for each, key in keys.issued.items()}
    server = HttpServer(api_socket, Site(gateway.respond, keys.issued).respond, gateway.refuse)
    _welcome(screen, server.url, engine, [table.name for table in template.tables], keys.issued, totals)


def _bound(host: str, port: int, name: str) -> socket.socket:
    try:
        return bound_socket(host, port)
    except socket.gaierror:
        raise CannotStart(f"HOST is {host!r}, which is not an address.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotStart(f"port {port} is in use; choose another with {name}=...") from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise CannotStart(f"HOST is {host!r}, which is not an address of this machine.") from None
        raise CannotStart(f"port {port}: {error.strerror}; choose another with {name}=...") from None


def _use_engine(engine: dynamodb.DynamoDB) -> None:
    """Leads every client of this process and of the functions to the engine.

    The machine's own AWS configuration must not lead them to AWS, and no proxy may stand in between.
    """
    if isinstance(engine, dynamodb.EmbeddedDynamoDB):
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_ENDPOINT_URL_DYNAMODB"] = engine.url
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    if "AWS_PROFILE" not in os.environ:
        os.environ.setdefault("AWS_ACCESS_KEY_ID", "local")
        os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "local")
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), urlsplit(engine.url).hostname]))


def _total(gateway: Gateway, key: str) -> int | None:
    """How many sessions the API says that an organization has; None when it does not say."""
    response = gateway.respond(HttpRequest("GET", "/v1/sessions?limit=1", [("Authorization", key)]))
    found = response.json().get("total")
    return int(found) if found is not None else None


def _welcome(
    screen: TextIO,
    url: str,
    engine: dynamodb.DynamoDB,
    tables: list[str],
    keys: Mapping[str, str],
    totals: Mapping[str, int | None],
) -> None:
    print(
        f"""
  Console    {url}/
  API        {url}/v1/sessions
  Reference  {url}/docs
  OpenAPI    {url}/openapi.json
  DynamoDB   {engine.url}, any region and credentials; tables {", ".join(tables)}
""",
        file=screen,
    )
    largest = sorted(totals, key=lambda each: (-(totals[each] or 0), each))
    if largest:
        width = max(len(each) for each in largest)
        print(f"  {'organization':{width}}  sessions  key", file=screen)
        for each in largest:
            total = "?" if totals[each] is None else totals[each]
            print(f"  {each:{width}}  {total:>8}  {keys[each]}", file=screen)
        print(f"\n  curl -s -H 'Authorization: {keys[largest[0]]}' '{url}/v1/sessions?limit=2'\n", file=screen)
    else:
        print(
            "  No sessions yet. An organization that gets one has the key evr_local_ and its hex digits.\n", file=screen
        )
    print(f"ready: {url}", file=screen, flush=True)
