"""The OpenAPI document of the endpoint, made from the contract; as a program it prints `docs/openapi.json`."""

import json
from typing import Any, Final

from pydantic import TypeAdapter

from sessions.contract import AGENT_ID_FILTER, INT32_MAX, LIMIT_DEFAULT, LIMIT_MAX, PARAMETERS, Page, PageRequest
from sessions.errors import ApiError

_SCHEMAS: Final[dict[str, dict[str, Any]]] = {
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
_EXAMPLES: Final = {"agent_id": "agent_01933b5a00007000800000000000001"}

_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "Link": {
        "description": "The neighbouring pages (RFC 8288) as references that hold only a query: `first` and `last` "
        "when there are sessions, `prev` unless the offset is 0, `next` unless the page reaches the end.",
        "schema": {"type": "string"},
        "example": '<?offset=0&limit=20>; rel="first", <?offset=20&limit=20>; rel="next", '
        '<?offset=460&limit=20>; rel="last"',
    },
    "X-Request-Id": {"description": "What to name when asking about this response.", "schema": {"type": "string"}},
    "Cache-Control": {"description": "Always `no-store`.", "schema": {"type": "string", "const": "no-store"}},
    "Retry-After": {
        "description": "Seconds to wait before another try.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Allow": {"description": "The methods that there are.", "schema": {"type": "string", "const": "GET"}},
}
_ALWAYS: Final = ("X-Request-Id", "Cache-Control")

_WHEN: Final = {
    "400": "A query parameter is unknown, repeated, malformed or out of range.",
    "401": "No key, or one that is malformed, unknown, expired or revoked.",
    "403": "The header `X-Org-Id` names another organization than the key's.",
    "404": "Another path, or a method that the gateway does not know, such as TRACE.",
    "405": "Another method on this path.",
    "429": "Too many requests.",
    "4XX": "Any other refusal of the gateway, such as 413 and 415.",
    "500": "A fault of the service, or a page that is too large for a response.",
    "503": "The service is throttled, slow or cannot be reached.",
}

_GATEWAY: Final[dict[str, tuple[dict[str, str], tuple[str, ...]]]] = {
    "429": ({"rate_limited": "Too many requests; try again shortly."}, ("Retry-After",)),
    "4XX": ({"bad_request": "The request was refused."}, ()),
}
"""Errors that no function makes: each code with its message in `template.yaml`, and headers of their own."""

_MORE_SPECIFIC: Final = {"invalid_parameter": f"limit must be {PARAMETERS['limit']}."}
"""What callers see in the place of a class's general message."""


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sessions",
            "version": "1.0.0",
            "description": "The sessions of the caller's organization, newest first, by offset and limit, with the "
            "exact total.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "tags": [{"name": "sessions", "description": "Conversations with agents."}],
        "security": [{"ApiKey": []}],
        "paths": {
            "/v1/sessions": {
                "get": {
                    "operationId": "list_sessions",
                    "tags": ["sessions"],
                    "summary": "List the sessions of the organization",
                    "description": "Ordered by `created_at` and then `id`, both descending; every session is on "
                    "exactly one page. A parameter that is empty or `null` counts as not given; one that does not "
                    "exist here, or is given twice, is refused.",
                    "parameters": [_parameter(name) for name in PARAMETERS],
                    "responses": {"200": _page_response()} | {status: _error_response(status) for status in _WHEN},
                }
            }
        },
        "components": {
            "schemas": _schemas(),
            "headers": _HEADERS,
            "securitySchemes": {
                "ApiKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "The key alone, or after `Bearer` or `ApiKey`.",
                }
            },
        },
    }


def _parameter(name: str) -> dict[str, Any]:
    parameter = {
        "name": name,
        "in": "query",
        "required": False,
        "allowEmptyValue": True,
        "description": f"{PageRequest.model_fields[name].description} Accepted: {PARAMETERS[name]}.",
        "schema": _SCHEMAS[name],
    }
    return parameter | ({"example": _EXAMPLES[name]} if name in _EXAMPLES else {})


def _page_response() -> dict[str, Any]:
    return {
        "description": "A page. An offset at or past the end has no sessions, and the true total.",
        "headers": _headers("Link", *_ALWAYS),
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Page"}}},
    }


def _error_response(status: str) -> dict[str, Any]:
    messages, headers = _errors(status)
    return {
        "description": _WHEN[status],
        "headers": _headers(*headers, *_ALWAYS),
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/Error"},
                "examples": {
                    code: {"value": {"error": {"code": code, "message": message}}} for code, message in messages.items()
                },
            }
        },
    }


def _errors(status: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the codes of a status with a message each, and its own headers."""
    if status in _GATEWAY:
        return _GATEWAY[status]
    classes = [each for each in ApiError.__subclasses__() if str(each.status) == status]
    messages = {
        each.code: _MORE_SPECIFIC.get(each.code, each.message) for each in sorted(classes, key=lambda each: each.code)
    }
    return messages, tuple(name for each in classes for name in each.headers)


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _schemas() -> dict[str, Any]:
    """Return the bodies of responses; required are the fields that the published contract requires."""
    page = _simplified(TypeAdapter(Page).json_schema(ref_template="#/components/schemas/{model}"))
    parts = page.pop("$defs")
    parts["Session"]["description"] += " Where one without a value is not required, it is null or an empty array."
    return {
        "Page": page,
        **{name: parts[name] for name in ("Session", *parts)},
        "Error": {
            "type": "object",
            "description": "The body of every response that is not 200.",
            "properties": {
                "error": {
                    "type": "object",
                    "description": "A stable code for programs and a sentence for people.",
                    "properties": {"code": {"type": "string", "examples": _codes()}, "message": {"type": "string"}},
                    "required": ["code", "message"],
                }
            },
            "required": ["error"],
        },
    }


def _codes() -> list[str]:
    return [code for status in _WHEN for code in _errors(status)[0]]


def _simplified(schema: Any) -> Any:
    """Without the titles and defaults that pydantic adds, and nullable types in the short form of 3.1."""
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
