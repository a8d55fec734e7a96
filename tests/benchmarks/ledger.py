"""The ledger: for each deviation from the usual way, the product with the usual way put back.

The product has no switches; lines of Python put the usual way back before the handler is imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple


class Deviation(NamedTuple):
    """One thing that the product does otherwise than usual."""

    name: str
    usual: str
    program: str = ""
    """Puts the usual way back."""
    data_path: str = ""
    """Folder of the idiomatic contender that botocore looks for data in."""
    needs_idiomatic: bool = False
    """Whether the packages of the idiomatic contender follow those of the product on the path."""
    has_bytecode: bool = True


LEDGER: Final = (
    Deviation(
        "parser for DynamoDB's JSON",
        "botocore's parser",
        """
from botocore.parsers import ResponseParserFactory
from sessions import client
client.ItemParserFactory = ResponseParserFactory
""",
    ),
    Deviation(
        "one low-level client",
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
        data_path="boto3/data",
    ),
    Deviation(
        "tracing by the template alone",
        "the X-Ray SDK, by Powertools' Tracer",
        """
import app
from aws_lambda_powertools import Tracer
app.handler = Tracer(service="list_sessions").capture_lambda_handler(app.handler, capture_response=False)
""",
        needs_idiomatic=True,
    ),
    Deviation(
        "bytecode, and no data of other services",
        "neither",
        data_path="botocore/data",
        has_bytecode=False,
    ),
    Deviation(
        "independent reads at the same time",
        "one after the other",
        """
from sessions.client import Reader
Reader.read_both = lambda self, first, second: (first(self), second(self))
""",
    ),
)

NOTHING: Final = Deviation("nothing", "the product once more: how much turns differ")


def module_name(deviation: Deviation) -> str:
    """Return the module whose handler is the product's with the usual way put back."""
    return f"usual_{(*LEDGER, NOTHING).index(deviation)}"


def write_modules(folder: Path) -> None:
    """Write these modules into a folder that stands before the product's on the path."""
    folder.mkdir()
    for each in (*LEDGER, NOTHING):
        (folder / f"{module_name(each)}.py").write_text(each.program + "from app import handler\n")
