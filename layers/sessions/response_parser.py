"""DynamoDB's responses, read as the JSON that they are, instead of by botocore's parser for all services.

botocore walks every response beside a model of its shape, which takes two thirds of the CPU of a page of 100 entries.
Yet a response has the very shape on the wire that botocore hands out, with one difference: binary attributes stay the
base64 text that they travel as. Whatever is not a plain success of the operations below is left to botocore's parser.
What is not JSON is read as nothing, which `response_checks.py` refuses.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from botocore.parsers import JSONParser, ResponseParserFactory
from pydantic_core import from_json

OPERATIONS: Final = frozenset({"BatchGetItem", "GetItem", "Query"})


class ItemParserFactory(ResponseParserFactory):
    """The component `response_parser_factory` of a botocore session."""

    def create_parser(self, protocol_name: str) -> Any:
        """A parser for this protocol of AWS."""
        return ItemParser() if protocol_name == "json" else super().create_parser(protocol_name)


class ItemParser(JSONParser):
    """Gives what botocore's parser gives, sooner."""

    def parse(self, response: Any, shape: Any) -> Any:
        """See `ResponseParser.parse`."""
        if response["status_code"] != 200 or response["context"].get("operation_name") not in OPERATIONS:
            return self._as_botocore(response, shape)
        try:
            parsed = from_json(response["body"])
        except ValueError:
            return {}
        if not isinstance(parsed, dict):
            return {}
        known = {name: value for name, value in parsed.items() if value is not None and name in shape.members}
        headers = {name.lower(): value for name, value in response["headers"].items()}
        metadata = known["ResponseMetadata"] = {"HTTPStatusCode": 200, "HTTPHeaders": headers}
        if "x-amzn-requestid" in headers:
            metadata["RequestId"] = headers["x-amzn-requestid"]
        return known

    def _as_botocore(self, response: Any, shape: Any) -> Any:
        # A body that DynamoDB has not sent, such as a list or `null`, is read as an empty one: of an error the status
        # counts, and a success with such a body is refused by `response_checks.py`.
        with suppress(AttributeError, TypeError, UnicodeDecodeError):
            parsed = super().parse(response, shape)
            if parsed is not None:
                return parsed
        return super().parse({**response, "body": b""}, shape)
