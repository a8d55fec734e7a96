"""`make run`: the real handlers on this machine, on tables and a stream of their own, with data in them.

Environment:
    PORT            where the API answers (8080; 0 takes any free port)
    DYNAMODB_PORT   where the embedded DynamoDB answers (8001)
    DATA            an NDJSON file of Session objects to serve instead of the sample; empty for no data
    CORS_ORIGINS    origins of web consoles that may call, as the template's parameter CorsOrigins
    VERBOSE         anything but empty shows every log line of the functions on standard error, not just the bad ones
    AWS_ENDPOINT_URL_DYNAMODB   a DynamoDB-compatible engine that runs already, in the place of the embedded one
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, TextIO
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from ops import openapi, rebuild
from ops.aws import is_address
from ops.load import Line, Rejected, load, read_lines
from ops.local import engine, sample
from ops.local.container import Container
from ops.local.front import Front
from ops.local.gateway import Gateway
from ops.local.keys import DemoKeys
from ops.local.stream import Pump
from ops.local.template import REGION, Template
from sessions.counts import Counts, total
from sessions.dynamodb import Reader

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PORT: Final = 8080
DYNAMODB_PORT: Final = 8001

PORT_MAX: Final = 65535

SESSIONS, COUNTS, API_KEYS = "sessions", "counts", "api_keys"
"""The tables, as their names in `template.yaml` make them."""

COUNTING_SECONDS: Final = 600.0
"""How long the data may take to be counted before it is served nevertheless."""

REBUILD_RATE: Final = 1e6
"""Sessions a second: there is no live counting beside it that would have to be spared."""

DOCS: Final = Path(__file__).with_name("docs.html")


class CannotStart(Exception):
    """The server cannot be started as it was asked to; the message is for whoever started it."""


class Settings(NamedTuple):
    """The environment, read."""

    port: int
    dynamodb_port: int
    data: str | None
    """A file; '' for no data, None for the sample."""
    endpoint: str | None
    """An engine elsewhere."""
    parameters: dict[str, str]
    """Of the template."""
    is_verbose: bool

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """The settings of an environment.

        Raises:
            CannotStart: a value is not one.
        """
        endpoint = environment.get("AWS_ENDPOINT_URL_DYNAMODB") or None
        if endpoint is not None and not is_address(endpoint):
            raise CannotStart(f"AWS_ENDPOINT_URL_DYNAMODB is {endpoint!r}, no address such as http://127.0.0.1:8000.")
        if endpoint is not None and (urlsplit(endpoint).hostname or "").endswith((".amazonaws.com", ".api.aws")):
            raise CannotStart(f"AWS_ENDPOINT_URL_DYNAMODB is AWS itself ({endpoint}); this is for one machine.")
        port, dynamodb_port = _port(environment, "PORT", PORT), _port(environment, "DYNAMODB_PORT", DYNAMODB_PORT)
        if port == dynamodb_port != 0 and endpoint is None:
            raise CannotStart(f"PORT and DYNAMODB_PORT are both {port}.")
        return cls(
            port=port,
            dynamodb_port=dynamodb_port,
            data=environment.get("DATA"),
            endpoint=endpoint,
            parameters={"CorsOrigins": environment.get("CORS_ORIGINS", "")},
            is_verbose=bool(environment.get("VERBOSE")),
        )


def main() -> int:
    """Serves until it is told to end; returns the exit status."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with ExitStack() as stack:
            serve(Settings.read(os.environ), sys.stdout, stack)
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except CannotStart as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 1
    return 0


def serve(settings: Settings, screen: TextIO, stack: ExitStack) -> None:
    """Starts everything; returns when requests are answered.

    Args:
        screen: for people.
        stack: ends what was started.

    Raises:
        CannotStart: a port is busy, the data cannot be read, or the engine does not answer.
    """
    # What can be wrong is found before the work that takes its time.
    front = stack.enter_context(_front(settings.port))
    file = stack.enter_context(_opened(settings.data)) if settings.data else None
    store: engine.Engine
    if settings.endpoint is None:
        store = engine.Embedded(_listener(settings.dynamodb_port))
    else:
        store = engine.Elsewhere(settings.endpoint)
    stack.callback(store.stop)
    _show_botocore(store)
    sys.stdout = FunctionLog(sys.stderr, settings.is_verbose)
    stack.callback(setattr, sys, "stdout", screen)

    template = Template.read(parameters=settings.parameters)
    containers = {function.name: Container(function) for function in template.functions}
    dynamodb, streams = engine.clients(store)
    keys = DemoKeys(dynamodb, API_KEYS)
    try:
        engine.create_missing(dynamodb, template.tables)
        arn = engine.stream_arn(dynamodb, streams, template.stream.table)
        if arn is None:
            _load(dynamodb, settings, file)
            print(f"{store.url} has no streams: totals follow only `sessions counts rebuild`.", file=screen)
            rebuild.rebuild(dynamodb, SESSIONS, COUNTS, rate=REBUILD_RATE)
            for organization_id in _organizations(dynamodb):
                keys.issue(organization_id)
        else:
            invoke = containers[template.stream.function].invoke
            pump = Pump(streams, arn, template.stream, invoke, keys.see, store.written)
            stack.callback(pump.stop)
            _load(dynamodb, settings, file)
            if not pump.settle(COUNTING_SECONDS):
                print("not everything is counted yet; totals will follow", file=sys.stderr)
        totals = {each: total(Counts(COUNTS, each).months(Reader(dynamodb))) for each in keys.issued}
    except (ClientError, BotoCoreError) as error:
        raise CannotStart(f"DynamoDB at {store.url}: {error}") from None

    gateway = Gateway(template, {name: container.invoke for name, container in containers.items()})
    try:
        front.begin(gateway, {"/openapi.json": _openapi, "/docs": lambda: _docs(keys.issued)})
    except OSError as error:
        raise CannotStart(_busy(settings.port, "PORT", error)) from None
    threading.Thread(target=front.serve_forever, name="front", daemon=True).start()
    stack.callback(front.shutdown)
    _welcome(screen, front.url, store, template, keys.issued, totals)


def _interrupt(*_: object) -> None:
    # Ending takes a moment, and is not to be interrupted by an impatient second Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if re.fullmatch(r"[0-9]{1,5}", text) is None or int(text) > PORT_MAX:
        raise CannotStart(f"{name} is {text!r}; it must be a number from 0 to {PORT_MAX}.")
    return int(text)


def _busy(port: int, name: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is busy; {name}=... chooses another."
    return f"port {port}: {error.strerror}; {name}=... chooses another."


def _front(port: int) -> Front:
    try:
        return Front((engine.HOST, port))
    except OSError as error:
        raise CannotStart(_busy(port, "PORT", error)) from None


def _listener(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((engine.HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise CannotStart(_busy(port, "DYNAMODB_PORT", error)) from None
    return listener


def _opened(path: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise CannotStart(f"DATA: {path}: {error.strerror}.") from None


def _show_botocore(store: engine.Engine) -> None:
    """Lets every client of this process find the engine, and nothing else.

    The machine's own AWS configuration must not lead the functions to AWS, and no proxy stands in between.
    """
    if isinstance(store, engine.Embedded):
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_ENDPOINT_URL_DYNAMODB"] = store.url
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    if "AWS_PROFILE" not in os.environ:
        os.environ.setdefault("AWS_ACCESS_KEY_ID", "local")
        os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "local")
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), urlsplit(store.url).hostname]))


def _load(dynamodb: DynamoDBClient, settings: Settings, file: BinaryIO | None) -> None:
    """Loads the file, or the sample when none was asked for."""
    lines: Iterable[Line]
    if file is not None:
        lines = read_lines(file)
    elif settings.data is None:
        lines = (Line(number, json.dumps(each).encode()) for number, each in enumerate(sample.sessions(), 1))
    else:
        return

    def reject(rejected: Rejected) -> None:
        print(f"{settings.data}:{rejected.line.number}: not loaded: {rejected.reason}", file=sys.stderr, flush=True)

    try:
        report = load(dynamodb, SESSIONS, lines, reject=reject)
    except OSError as error:
        raise CannotStart(f"DATA: {settings.data}: {error.strerror}.") from None
    if report.rejected or not report.loaded:
        print(f"{settings.data}: {report.loaded:,} loaded, {report.rejected:,} not", file=sys.stderr, flush=True)


def _organizations(dynamodb: DynamoDBClient) -> Iterator[str]:
    """The organization of every session there is."""
    for page in rebuild.scan(dynamodb, SESSIONS, ["organization_id"]):
        yield from (item["organization_id"]["S"] for item in page if "S" in item.get("organization_id", {}))


def _openapi() -> tuple[str, bytes]:
    return "application/json", json.dumps(openapi.document(), indent=2).encode()


def _docs(keys: Mapping[str, str]) -> tuple[str, bytes]:
    # Within a script of HTML no `<` may look like the beginning of a tag.
    known = json.dumps(dict(keys)).replace("<", "\\u003c")
    return "text/html; charset=utf-8", DOCS.read_text(encoding="utf-8").replace("{} // KEYS", known).encode()


def _welcome(
    screen: TextIO,
    url: str,
    store: engine.Engine,
    template: Template,
    keys: Mapping[str, str],
    totals: Mapping[str, int],
) -> None:
    tables = ", ".join(table.name for table in template.tables)
    print(
        f"""
  API        {url}/v1/sessions
  try it     {url}/docs
  OpenAPI    {url}/openapi.json
  DynamoDB   {store.url}, any region and credentials; tables {tables}
""",
        file=screen,
    )
    largest = sorted(totals, key=lambda each: (-totals[each], each))
    if largest:
        width = max(len(each) for each in largest)
        print(f"  {'organization':{width}}  sessions  key", file=screen)
        for each in largest:
            print(f"  {each:{width}}  {totals[each]:8}  {keys[each]}", file=screen)
        print(f"\n  curl -s -H 'Authorization: {keys[largest[0]]}' '{url}/v1/sessions?limit=2'\n", file=screen)
    else:
        print(
            "  No sessions yet. An organization that gets one has the key evr_local_ and its hex digits.\n", file=screen
        )
    print(f"ready: {url}", file=screen, flush=True)


class FunctionLog(io.TextIOBase):
    """Standard output of the functions: JSON lines, of which people see the bad ones, on another stream."""

    def __init__(self, shown: TextIO, is_verbose: bool) -> None:
        self._shown = shown
        self._is_verbose = is_verbose
        self._lock = threading.Lock()
        self._line = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._line = (self._line + text).split("\n")
            for line in lines:
                if self._is_verbose or _is_bad(line):
                    print(line, file=self._shown, flush=True)
        return len(text)


def _is_bad(line: str) -> bool:
    try:
        level = json.loads(line).get("level", "INFO")
    except (ValueError, AttributeError):
        return bool(line.strip())
    return level not in ("DEBUG", "INFO")
