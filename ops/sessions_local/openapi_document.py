"""The OpenAPI document of the endpoint, made from the contract; run as a program, it prints `docs/openapi.json`."""

import json
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import TypeAdapter

from sessions.contract import AGENT_ID_FILTER, INT32_MAX, LIMIT_DEFAULT, LIMIT_MAX, PARAMETERS, Page, PageRequest
from sessions.errors import ApiError

FRAME: Final = Path(__file__).with_name("openapi_frame.yaml")

PARAMETER_SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "agent_id": {"type": ["string", "null"], "pattern": f"^({AGENT_ID_FILTER.strip('^$')})?$"},
    "offset": {"type": ["integer", "null"], "format": "int32", "minimum": 0, "maximum": INT32_MAX, "default": 0},
    "limit": {
        "type": ["integer", "null"],
        "format": "int32",
        "minimum": 1,
        "maximum": LIMIT_MAX,
        "default": LIMIT_DEFAULT,
    },
}
EXAMPLES: Final = {"agent_id": "agent_01933b5a00007000800000000000001"}

GATEWAY_ERRORS: Final[dict[str, tuple[dict[str, str], tuple[str, ...]]]] = {
    "429": ({"rate_limited": "Too many requests; try again shortly."}, ("Retry-After",)),
    "4XX": ({"bad_request": "The request was refused."}, ()),
}
"""Errors that the gateway alone returns: each code with its message in `template.yaml`, and headers."""

MESSAGES: Final = {"invalid_parameter": f"limit must be {PARAMETERS['limit']}."}
"""Messages that callers see instead of a class's general one."""


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    made: dict[str, Any] = yaml.safe_load(FRAME.read_text(encoding="utf-8"))
    operation = made["paths"]["/v1/sessions"]["get"]
    operation["parameters"] = [_parameter(name) for name in PARAMETERS]
    schemas = made["components"]["schemas"]
    codes = schemas["Error"]["properties"]["error"]["properties"]["code"]["examples"]
    for status, response in operation["responses"].items():
        if status != "200":
            messages, headers = _errors(status)
            codes += messages
            response |= _error_response(messages, headers)
    made["components"]["schemas"] = _page_schemas() | schemas
    return made


def _parameter(name: str) -> dict[str, Any]:
    parameter = {
        "name": name,
        "in": "query",
        "required": False,
        "allowEmptyValue": True,
        "description": f"{PageRequest.model_fields[name].description} Accepted: {PARAMETERS[name]}.",
        "schema": PARAMETER_SCHEMAS[name],
    }
    return parameter | ({"example": EXAMPLES[name]} if name in EXAMPLES else {})


def _errors(status: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the codes of a status with a message each, and the headers of the status."""
    if status in GATEWAY_ERRORS:
        return GATEWAY_ERRORS[status]
    classes = [each for each in ApiError.__subclasses__() if str(each.status) == status]
    messages = {
        each.code: MESSAGES.get(each.code, each.message) for each in sorted(classes, key=lambda each: each.code)
    }
    return messages, tuple(name for each in classes for name in each.headers)


def _error_response(messages: dict[str, str], headers: tuple[str, ...]) -> dict[str, Any]:
    examples = {code: {"value": {"error": {"code": code, "message": text}}} for code, text in messages.items()}
    content = {"schema": {"$ref": "#/components/schemas/Error"}, "examples": examples}
    names = (*headers, "X-Request-Id", "Cache-Control")
    return {
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {"application/json": content},
    }


def _page_schemas() -> dict[str, Any]:
    """Return the schemas of a page, with the fields required that the published contract requires."""
    page = _simplified(TypeAdapter(Page).json_schema(ref_template="#/components/schemas/{model}"))
    parts = page.pop("$defs")
    parts["Session"]["description"] += " Where one without a value is not required, it is null or an empty array."
    return {"Page": page} | {name: parts[name] for name in ("Session", *parts)}


def _simplified(schema: Any) -> Any:
    """Return a schema without pydantic's titles and defaults, and with nullable types in the short form of 3.1."""
    if isinstance(schema, list):
        return [_simplified(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    simple = {
        name: _simplified(each) for name, each in schema.items() if name not in ("title", "default", "properties")
    }
    if "properties" in schema:
        simple["properties"] = {name: _simplified(each) for name, each in schema["properties"].items()}
    match simple.get("anyOf"):
        case [{"type": str(kind), **rest}, {"type": "null"}]:
            del simple["anyOf"]
            simple = {"type": [kind, "null"], **rest, **simple}
    return simple


if __name__ == "__main__":
    print(json.dumps(document(), indent=2, ensure_ascii=False))
