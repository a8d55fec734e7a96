"""The contenders, and the ledger: for each deviation from the usual way, the product with the usual way put back.

The product has no switches; lines of Python put the usual way back before the handler is imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from tests.benchmarks.engine import BUILD
from tests.service import ROOT

BUILT: Final = ROOT / ".aws-sam" / "build"
SCRATCH: Final = BUILD / "speed"
SOURCES: Final = SCRATCH / "without_bytecode"
LAYERS: Final = (BUILT / "SessionsLayer" / "python", BUILT / "DependenciesLayer" / "python")
PRODUCT: Final = (BUILT / "ListSessionsFunction", *LAYERS)


class Contender(NamedTuple):
    """A handler, and the folders that are on its path as in Lambda."""

    name: str
    module: str
    folders: tuple[Path, ...]
    usual: str = ""
    """The usual way that is put back."""
    program: str = ""
    """Puts it back."""
    data_path: str = ""
    """Folder that botocore looks for data in."""


OURS: Final = Contender("list_sessions", "app", PRODUCT)
AUTHORIZE: Final = Contender("authorize", "app", (BUILT / "AuthorizeFunction", *LAYERS))
IDIOMATIC: Final = Contender("idiomatic", "idiomatic", (SCRATCH / "idiomatic",))
FLOOR: Final = Contender("floor", "floor", (SCRATCH / "floor", LAYERS[1]))

USUAL: Final = SCRATCH / "usual"
"""Folder of the modules that put the usual way back."""

LEDGER: Final = (
    Contender(
        "parser for DynamoDB's JSON",
        "usual_parser",
        (USUAL, *PRODUCT),
        "botocore's parser",
        """
from botocore.parsers import ResponseParserFactory
from sessions import client
client.ItemParserFactory = ResponseParserFactory
""",
    ),
    Contender(
        "one low-level client",
        "usual_resource",
        (USUAL, *PRODUCT),
        "`boto3.resource` and its deserializer",
        """
from decimal import Decimal
import boto3
from boto3.dynamodb.types import TypeDeserializer
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
from sessions import attributes
attributes.from_item = lambda item: {name: native(deserialize(value)) for name, value in item.items()}
""",
        str(IDIOMATIC.folders[0] / "boto3/data"),
    ),
    Contender(
        "tracing by the template alone",
        "usual_tracer",
        (USUAL, *PRODUCT, *IDIOMATIC.folders),
        "the X-Ray SDK, by Powertools' Tracer",
        """
import app
from aws_lambda_powertools import Tracer
app.handler = Tracer(service="list_sessions").capture_lambda_handler(app.handler, capture_response=False)
""",
    ),
    Contender(
        "bytecode, and no data of other services",
        "usual_source",
        (USUAL, *(SOURCES / folder.relative_to(ROOT) for folder in PRODUCT)),
        "neither",
        data_path=str(IDIOMATIC.folders[0] / "botocore/data"),
    ),
    Contender(
        "independent reads at the same time",
        "usual_order",
        (USUAL, *PRODUCT),
        "one after the other",
        """
from sessions.client import Reader
Reader.read_both = lambda self, first, second: (first(self), second(self))
""",
    ),
    Contender("nothing", "usual_nothing", (USUAL, *PRODUCT), "the product once more: how much turns differ"),
)
