"""`make run`: starts the real handlers on this machine, with tables, a stream and data."""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools.metrics import base as metrics
from botocore.exceptions import BotoCoreError, ClientError
from werkzeug import Request

from sessions_cli.progress import Progress
from sessions_cli.rebuild import rebuild
from sessions_cli.tables import Tables
from sessions_local.browser_pages import with_pages
from sessions_local.demo_keys import DemoKeys
from sessions_local.embedded_dynamodb import EmbeddedDynamoDB
from sessions_local.functions import LocalFunction
from sessions_local.gateway import Gateway
from sessions_local.http_server import open_port, serve, url_of
from sessions_local.local_tables import (
    API_KEYS,
    COUNTS,
    SESSIONS,
    create_clients,
    create_missing_tables,
    stream_arn,
)
from sessions_local.sam_template import REGION, EventSource, Template
from sessions_local.seed import Seed, organizations, write_counts
from sessions_local.settings import LOOPBACK, CannotStart, Settings
from sessions_local.stream_poller import Record, StreamPoller

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

OPEN_WARNING: Final = """\
warning: listening on {host}, not only on this machine. Whoever reaches these ports can read and change all
data here: the demo keys can be guessed, and the embedded DynamoDB takes any credentials.
"""

COUNTING_SECONDS: Final = 600.0
"""Seconds to wait for another engine's stream to be read before requests are answered anyway."""

REBUILD_RATE: Final = 1e6
"""Sessions a second: there is no live counting to slow down."""

ENGINE_VARIABLES: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_CA_BUNDLE",
    "AWS_ENDPOINT_URL_DYNAMODB_STREAMS",
)
"""Variables of the shell that another engine may need; the others of AWS are not read."""


def main() -> int:
    """Serve until a signal ends the process; return an exit status if it cannot start."""
    try:
        start(Settings.read(os.environ))
    except CannotStart as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 1
    threading.Event().wait()
    return 0


def start(settings: Settings) -> None:
    """Start everything, or raise CannotStart; all threads are daemons, so that nothing has to be stopped."""
    # Mistakes are reported before the slow work begins.
    try:
        template = Template.read(parameters={"CorsOrigins": settings.cors_origins})
    except ValueError as error:
        raise CannotStart(f"CORS_ORIGINS must be {error}.") from None
    listener = _open(settings.host, settings.port, "PORT")
    seed = Seed(settings.data) if settings.data else None
    dynamodb_listener = None if settings.endpoint else _open(settings.host, settings.dynamodb_port, "DYNAMODB_PORT")
    if settings.host not in LOOPBACK:
        print(OPEN_WARNING.format(host=settings.host), file=sys.stderr, flush=True)
    url = url_of(dynamodb_listener) if dynamodb_listener else str(settings.endpoint)
    _use_engine(url, is_embedded=dynamodb_listener is not None)
    engine = EmbeddedDynamoDB(dynamodb_listener) if dynamodb_listener else None

    # Nobody reads metrics outside of log lines here. Powertools prints cold starts whatever the variable says.
    os.environ["POWERTOOLS_METRICS_DISABLED"] = "true"
    vars(metrics)["print"] = lambda *_: None
    functions = {each.name: LocalFunction(each, is_verbose=settings.is_verbose) for each in template.called_functions}
    dynamodb, streams = create_clients(url)
    keys = DemoKeys(dynamodb, API_KEYS)
    try:
        create_missing_tables(dynamodb, template.tables)
        with Progress() as progress:
            if seed:
                seed.load(dynamodb, progress)
            arn = stream_arn(dynamodb, streams, template.event_source.table)
            if arn is None:
                print("This engine has no streams: only `sessions counts rebuild` updates the totals.", file=sys.stderr)
                rebuild(Tables(dynamodb, SESSIONS, COUNTS), rate=REBUILD_RATE, progress=progress)
            else:
                count_sessions = functions[template.event_source.function]
                poller = _poller(streams, arn, template.event_source, count_sessions, keys, engine)
                if engine:
                    # The stream begins here: what is in the table is counted now, later writes by the poller.
                    # A session that both see is counted once, as its marker says.
                    engine.trim_stream(template.event_source.table)
                    write_counts(dynamodb, progress)
                poller.start()
                if not poller.caught_up.wait(COUNTING_SECONDS):
                    print("Not everything is counted yet; totals will catch up.", file=sys.stderr)
        for organization_id in organizations(dynamodb):
            keys.issue(organization_id)
    except (ClientError, BotoCoreError) as error:
        raise CannotStart(f"DynamoDB at {url}: {error}") from None

    gateway = Gateway(template, {name: each.invoke for name, each in functions.items()})
    totals = {each: _total(gateway, key) for each, key in keys.issued.items()}
    api_url = url_of(listener)
    serve(listener, with_pages(gateway.respond, keys.issued), "http", logs=True)
    _welcome(api_url, url, [table.name for table in template.tables], keys.issued, totals)


def _poller(
    streams: DynamoDBStreamsClient,
    arn: str,
    mapping: EventSource,
    function: LocalFunction,
    keys: DemoKeys,
    engine: EmbeddedDynamoDB | None,
) -> StreamPoller:
    def on_read(records: list[Record]) -> None:
        if engine:
            engine.trim_stream(mapping.table, records[-1]["dynamodb"]["SequenceNumber"])
        for record in records:
            keys.on_record(record)

    return StreamPoller(streams, arn, mapping, lambda event: function.invoke(event).payload, on_read)


def _open(host: str, port: int, name: str) -> socket.socket:
    try:
        return open_port(host, port)
    except socket.gaierror:
        raise CannotStart(f"HOST is {host!r}, which is not an address.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotStart(f"port {port} is in use; choose another with {name}=...") from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise CannotStart(f"HOST is {host!r}, which is not an address of this machine.") from None
        raise CannotStart(f"port {port}: {error.strerror}; choose another with {name}=...") from None


def _use_engine(url: str, *, is_embedded: bool) -> None:
    """Point every client of this process and of the functions to the engine.

    The shell's AWS configuration must not point them to AWS, and no proxy must stand between them and the engine.
    """
    kept = () if is_embedded else ENGINE_VARIABLES
    for name in list(os.environ):
        is_proxy = name.lower() in ("http_proxy", "https_proxy", "all_proxy")
        if is_proxy or (name.startswith("AWS_") and name not in kept):
            del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["AWS_ENDPOINT_URL_DYNAMODB"] = url
    os.environ.setdefault("AWS_DEFAULT_REGION", os.environ.get("AWS_REGION", REGION))
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "local")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "local")


def _total(gateway: Gateway, key: str) -> int | None:
    """Return the total that the API returns for an organization, or None if it returns an error."""
    body: Any = gateway.respond(Request.from_values("/v1/sessions?limit=1", headers={"Authorization": key})).json
    total: int | None = body.get("total")
    return total


def _welcome(
    url: str, dynamodb_url: str, tables: list[str], keys: Mapping[str, str], totals: Mapping[str, int | None]
) -> None:
    print(f"""
  Console    {url}/
  API        {url}/v1/sessions
  Reference  {url}/docs
  OpenAPI    {url}/openapi.json
  DynamoDB   {dynamodb_url}, any region and credentials; tables {", ".join(tables)}
""")
    largest = sorted(totals, key=lambda each: (-(totals[each] or 0), each))
    if largest:
        width = max(len(each) for each in largest)
        print(f"  {'organization':{width}}  sessions  key")
        for each in largest:
            total = "?" if totals[each] is None else totals[each]
            print(f"  {each:{width}}  {total:>8}  {keys[each]}")
        print(f"\n  curl -s -H 'Authorization: {keys[largest[0]]}' '{url}/v1/sessions?limit=2'\n")
    else:
        print("  No sessions yet. An organization that gets one has the key evr_local_ and its hex digits.\n")
    print(f"ready: {url}", flush=True)
