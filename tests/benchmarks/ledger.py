"""The ledger: for each thing that the product does otherwise than usual, the same product with the usual way put back.

A deviation is measured by lines of Python that run before the handler is imported; the product itself has no switches.
"""

from pathlib import Path
from typing import Final, NamedTuple

IMPORTS_HANDLER: Final = "from app import handler\n"

COLD_START: Final = "from sessions import cold_start\n"
"""What the handler's module imports first as well."""

IMPORTS_UNUSED: Final = (
    COLD_START
    + """
import sys
for name in cold_start.UNUSED:
    if name.startswith({prefixes!r}):
        del sys.modules[name]
"""
)


class Deviation(NamedTuple):
    """One thing that is done otherwise than usual."""

    name: str
    usual: str
    """The usual way, in words."""
    costs: str
    """What the deviation costs whoever reads the code."""
    program: str
    """Puts the usual way back."""
    data_path: str = ""
    """Folders of the idiomatic contender that botocore looks for data in."""
    needs_idiomatic: bool = False
    """Whether packages of the idiomatic contender are on the path, after those of the product."""


def imports(*prefixes: str) -> str:
    """A program that lets modules be imported which otherwise are not."""
    return IMPORTS_UNUSED.format(prefixes=prefixes)


LEDGER: Final = (
    Deviation(
        "parser of DynamoDB's responses",
        "botocore's parser for all services",
        "40 lines, at botocore's `response_parser_factory`",
        COLD_START
        + """
import sessions.response_parser
from botocore.parsers import ResponseParserFactory
sessions.response_parser.ItemParserFactory = ResponseParserFactory
""",
    ),
    Deviation(
        "connections of its own",
        "urllib3, through botocore's session",
        "180 lines, at botocore's event `before-send`",
        COLD_START
        + """
from sessions import client as dynamodb
dynamodb.RequestSender = lambda **_: lambda **_: None
""",
    ),
    Deviation(
        "unused modules of boto3 and botocore not imported",
        "they are: transfers to S3, resources, docstrings",
        "4 names in `cold_start.py`",
        imports("s3transfer", "boto3", "botocore"),
    ),
    Deviation(
        "unused modules of pydantic and urllib3 not imported",
        "they are: plugins, JSON schemas, HTTP/2",
        "3 names in `cold_start.py`",
        imports("urllib3", "pydantic"),
    ),
    Deviation(
        "tracer and resolvers of other services not imported",
        "they are: X-Ray, AppSync, Bedrock, VPC Lattice",
        "8 names in `cold_start.py`",
        imports("aws_lambda_powertools.event_handler", "aws_lambda_powertools.tracing"),
    ),
    Deviation(
        "events of other services not imported",
        "they are: 28 modules",
        "28 names in `cold_start.py`",
        imports("aws_lambda_powertools.utilities"),
    ),
    Deviation(
        "collector held still while importing, imports exempt",
        "Python's defaults",
        "4 lines in `cold_start.py`",
        """
import gc
gc.disable = gc.freeze = lambda: None
""",
    ),
    Deviation(
        "urllib3 imported near the bottom of the stack",
        "where boto3 imports it",
        "1 line and 3 of comment in `cold_start.py`",
        """
import importlib
usual = importlib.import_module
importlib.import_module = lambda name: None
from sessions import cold_start
importlib.import_module = usual
""",
    ),
    Deviation(
        "no handlers of botocore for other services",
        "all 130 are registered",
        "3 lines in `dynamodb.py`",
        COLD_START
        + """
import botocore.session
usual = botocore.session.Session.__init__
def make(self, *arguments, **named):
    usual(self, *arguments, **named | {"include_builtin_handlers": True})
botocore.session.Session.__init__ = make
""",
    ),
    Deviation(
        "user agent of its own",
        "botocore composes one for every request",
        "1 line",
        COLD_START
        + """
from sessions import client as dynamodb
usual = dynamodb.Config
dynamodb.Config = lambda **named: usual(**{name: named[name] for name in named if name != "user_agent"})
""",
    ),
    Deviation(
        "parameters checked by DynamoDB alone",
        "by botocore as well",
        "1 line",
        COLD_START
        + """
from sessions import client as dynamodb
usual = dynamodb.Config
dynamodb.Config = lambda **named: usual(**named | {"parameter_validation": True})
""",
    ),
    Deviation(
        "JSON by pydantic-core",
        "by Python's `json`",
        "none: the same calls",
        COLD_START
        + """
import json
import sessions.response_parser
sessions.response_parser.from_json = json.loads
import sessions.responses
def dump(value, **_):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
sessions.responses.to_json = dump
""",
    ),
    Deviation(
        "one client",
        "`boto3.resource` and its deserializer",
        "60 lines in `items.py`",
        imports("boto3")
        + """
import boto3
from boto3.dynamodb.types import TypeDeserializer
from decimal import Decimal
resource = boto3.resource("dynamodb")
deserialize = TypeDeserializer().deserialize
def native(value):
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, list):
        return [native(inner) for inner in value]
    if isinstance(value, dict):
        return {name: native(inner) for name, inner in value.items()}
    return value
import sessions.attributes
sessions.attributes.from_item = lambda item: {name: native(deserialize(value)) for name, value in item.items()}
""",
        data_path="boto3/data",
    ),
    Deviation(
        "traces by the template alone",
        "the X-Ray SDK, by Powertools' Tracer",
        "none; no segments of our own in a trace",
        imports("aws_lambda_powertools.tracing")
        + """
from aws_lambda_powertools import Tracer
tracer = Tracer(service="list_sessions")
import app
app.handler = tracer.capture_lambda_handler(app.handler, capture_response=False)
""",
        needs_idiomatic=True,
    ),
    Deviation(
        "no validation by the resolver",
        "`enable_validation=True`",
        "30 lines in `contract.py`",
        COLD_START
        + """
import aws_lambda_powertools.event_handler as event_handler
usual = event_handler.APIGatewayRestResolver
class Validating(usual):
    def __init__(self, **named):
        super().__init__(enable_validation=True, **named)
event_handler.APIGatewayRestResolver = Validating
""",
    ),
    Deviation(
        "one service's data",
        "botocore's data as it comes",
        "a table in `layers/build.py`",
        "",
        data_path="botocore/data",
    ),
    Deviation("nothing", "the product once more: how much turns differ", "", COLD_START),
)


def module_name(deviation: Deviation) -> str:
    """The module whose handler is the product's with the usual way put back."""
    return f"usual_{LEDGER.index(deviation)}"


def write_modules(folder: Path) -> None:
    """Writes these modules, which stand before the product's folders on the path."""
    folder.mkdir()
    for each in LEDGER:
        (folder / f"{module_name(each)}.py").write_text(each.program + IMPORTS_HANDLER, encoding="utf-8")
