"""DynamoDB's answers, read as the JSON that they are, in the place of botocore's parser for all services.

botocore walks every answer beside a model of its shape, which takes two thirds of the CPU of a page of 100
entries. Yet an answer on the wire has the very shape that botocore hands out, except that it decodes binary
attributes: so only those, and whatever is not a plain success, are left to botocore's own parser.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from botocore.parsers import JSONParser, ResponseParserFactory

if TYPE_CHECKING:
    from botocore.model import Shape

PLAIN: Final = frozenset({"BatchGetItem", "GetItem", "Query"})
"""Operations in whose answers botocore decodes binary attributes and nothing else."""

_BINARY = re.compile(rb'"BS?"')  # an attribute's type, or a name or text that reads the same

FromJson = Callable[[bytes], Any]


class WireParserFactory(ResponseParserFactory):  # type: ignore[misc]
    """The component `response_parser_factory` of a botocore session."""

    def __init__(self, from_json: FromJson = json.loads) -> None:
        super().__init__()
        self._parser = WireParser(from_json)

    def create_parser(self, protocol_name: str) -> Any:
        return self._parser if protocol_name == "json" else super().create_parser(protocol_name)


class WireParser(JSONParser):  # type: ignore[misc]
    """Gives the answers that botocore's parser gives, sooner."""

    def __init__(self, from_json: FromJson) -> None:
        super().__init__()
        self._from_json = from_json

    def parse(self, response: dict[str, Any], shape: Shape) -> Any:
        """See `ResponseParser.parse`."""
        body: bytes = response["body"]
        operation = response["context"].get("operation_name")
        if response["status_code"] != 200 or operation not in PLAIN or _BINARY.search(body):
            return super().parse(response, shape)
        try:
            parsed = self._from_json(body)
        except ValueError:
            return super().parse(response, shape)
        answer = {name: value for name, value in parsed.items() if value is not None and name in shape.members}
        headers = {name.lower(): value for name, value in response["headers"].items()}
        metadata = answer["ResponseMetadata"] = {"HTTPStatusCode": 200, "HTTPHeaders": headers}
        if "x-amzn-requestid" in headers:
            metadata["RequestId"] = headers["x-amzn-requestid"]
        return answer
