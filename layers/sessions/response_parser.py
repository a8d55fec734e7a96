"""A parser for DynamoDB's responses, in place of botocore's generic one for the reads below.

botocore walks every response beside a model of its shape, which takes half of the CPU of a page of 100 sessions (boto3
issue 2928). On the wire a response already has the shape that botocore returns, except that binary values stay base64
text. Errors and other operations are left to botocore's own parser. A success that is not a JSON object is an error
here; botocore would return an empty response.
"""

from __future__ import annotations

from typing import Any, Final

from botocore.parsers import JSONParser, ResponseParserError, ResponseParserFactory
from pydantic_core import from_json

OPERATIONS: Final = frozenset({"BatchGetItem", "GetItem", "Query"})


class ItemParserFactory(ResponseParserFactory):
    """The component `response_parser_factory` of a botocore session."""

    def create_parser(self, protocol_name: str) -> Any:
        """Return the parser of a protocol; DynamoDB's is `json`."""
        return ItemParser() if protocol_name == "json" else super().create_parser(protocol_name)


class ItemParser(JSONParser):
    """A parser that returns what botocore's parser returns, in a fraction of the time."""

    def parse(self, response: Any, shape: Any) -> Any:
        """Return a parsed response; see `botocore.parsers.ResponseParser.parse`.

        Raises:
            ResponseParserError: the body is not a JSON object.
        """
        if response["status_code"] != 200:
            try:
                return super().parse(response, shape)
            except (AttributeError, TypeError, UnicodeDecodeError) as error:  # JSON of another type, such as `null`
                raise ResponseParserError(f"the response is not DynamoDB's: {error}") from error
        try:
            parsed = from_json(response["body"])
        except ValueError as error:
            raise ResponseParserError(f"the response is not JSON: {error}") from error
        if not isinstance(parsed, dict):
            raise ResponseParserError(f"the response is a JSON {type(parsed).__name__}, not an object")
        if response["context"].get("operation_name") not in OPERATIONS:
            return super().parse(response, shape)
        headers = {name.lower(): value for name, value in response["headers"].items()}
        parsed["ResponseMetadata"] = {"HTTPStatusCode": 200, "HTTPHeaders": headers}
        if "x-amzn-requestid" in headers:
            parsed["ResponseMetadata"]["RequestId"] = headers["x-amzn-requestid"]
        return parsed
