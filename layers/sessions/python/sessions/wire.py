"""DynamoDB's answers, read as the JSON that they are, in the place of botocore's parser for all services.

botocore walks every answer beside a model of its shape, which takes two thirds of the CPU of a page of 100
entries. Yet an answer on the wire has the very shape that botocore hands out, with one difference: binary
attributes stay the base64 text that they travel as, which is also what this API answers with. Whatever is not a
plain success of the operations below is left to botocore's own parser.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from botocore.parsers import JSONParser, ResponseParserFactory

OPERATIONS: Final = frozenset({"BatchGetItem", "GetItem", "Query"})

FromJson = Callable[[bytes], Any]


class WireParserFactory(ResponseParserFactory):
    """The component `response_parser_factory` of a botocore session."""

    def __init__(self, from_json: FromJson = json.loads) -> None:
        super().__init__()
        self._parser = WireParser(from_json)

    def create_parser(self, protocol_name: str) -> Any:
        return self._parser if protocol_name == "json" else super().create_parser(protocol_name)


class WireParser(JSONParser):
    """Gives the answers that botocore's parser gives, sooner."""

    def __init__(self, from_json: FromJson) -> None:
        super().__init__()
        self._from_json = from_json

    def parse(self, response: Any, shape: Any) -> Any:
        """See `ResponseParser.parse`."""
        if response["status_code"] != 200 or response["context"].get("operation_name") not in OPERATIONS:
            return super().parse(response, shape)
        try:
            parsed = self._from_json(response["body"])
        except ValueError:
            return super().parse(response, shape)  # which says so in botocore's way
        answer = {name: value for name, value in parsed.items() if value is not None and name in shape.members}
        headers = {name.lower(): value for name, value in response["headers"].items()}
        metadata = answer["ResponseMetadata"] = {"HTTPStatusCode": 200, "HTTPHeaders": headers}
        if "x-amzn-requestid" in headers:
            metadata["RequestId"] = headers["x-amzn-requestid"]
        return answer
