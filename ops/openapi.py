"""The OpenAPI document of the endpoint, made from the contract; `docs/openapi.json` is what it prints.

python -m ops.openapi            writes docs/openapi.json
python -m ops.openapi --check    fails when that file is not current, and writes nothing
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema

from sessions.contract import (
    AGENT_ID_FILTER,
    INT32_MAX,
    LIMIT_DEFAULT,
    LIMIT_MAX,
    PARAMETERS,
    SESSION,
)

FILE: Final = Path(__file__).resolve().parent.parent / "docs" / "openapi.json"

_SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "agent_id": {"type": ["string", "null"], "pattern": AGENT_ID_FILTER},
    "offset": {"type": ["integer", "null"], "format": "int32", "minimum": 0, "maximum": INT32_MAX, "default": 0},
    "limit": {
        "type": ["integer", "null"],
        "format": "int32",
        "minimum": 1,
        "maximum": LIMIT_MAX,
        "default": LIMIT_DEFAULT,
    },
}
_MEANINGS: Final = {
    "agent_id": "Return the sessions of this agent alone.",
    "offset": "Entries to skip, counted from the newest.",
    "limit": "Entries to return at most.",
}
_EXAMPLES: Final = {"agent_id": "agent_01933b5a00007000800000000000001"}

_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "Link": {
        "description": "The neighbouring pages (RFC 8288) as references that hold the query alone: `first` and `last` "
        "when there are entries, `prev` unless the offset is 0, `next` unless the page reaches the end.",
        "schema": {"type": "string"},
        "example": '<?offset=0&limit=20>; rel="first", <?offset=20&limit=20>; rel="next", '
        '<?offset=460&limit=20>; rel="last"',
    },
    "X-Request-Id": {"description": "What to name when asking about this answer.", "schema": {"type": "string"}},
    "Cache-Control": {"description": "Always `no-store`.", "schema": {"type": "string", "const": "no-store"}},
    "Retry-After": {
        "description": "Seconds to wait before another try.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Allow": {"description": "The methods that there are.", "schema": {"type": "string", "const": "GET"}},
}
_ALWAYS: Final = ("X-Request-Id", "Cache-Control")

_ERRORS: Final[dict[str, tuple[str, dict[str, str], tuple[str, ...]]]] = {
    "400": (
        "A query parameter is unknown, repeated, malformed or out of range.",
        {"invalid_parameter": f"limit must be {PARAMETERS['limit']}."},
        (),
    ),
    "401": (
        "No key, or one that is malformed, unknown, expired or revoked.",
        {"unauthorized": "The API key is missing, unknown, expired or revoked."},
        (),
    ),
    "403": (
        "The header `X-Org-Id` names another organization than the key's.",
        {"forbidden": "X-Org-Id names an organization that this API key does not belong to."},
        (),
    ),
    "404": (
        "Another path.",
        {"not_found": "There is nothing here; the list of sessions is at /v1/sessions."},
        (),
    ),
    "405": (
        "Another method on this path.",
        {"method_not_allowed": "/v1/sessions answers to GET alone."},
        ("Allow",),
    ),
    "429": (
        "Too many requests.",
        {"rate_limited": "Too many requests; try again shortly."},
        ("Retry-After",),
    ),
    "4XX": (
        "Any other refusal of the gateway, such as 413 and 415.",
        {"bad_request": "The request was refused."},
        (),
    ),
    "500": (
        "A fault of the service, or a page that is too large to be answered.",
        {
            "internal_error": "Internal server error",
            "page_too_large": "The page would exceed the largest possible answer (6 MB); ask again with a lower limit.",
        },
        (),
    ),
    "503": (
        "The service is throttled, slow or cannot be reached.",
        {"unavailable": "The service is busy or cannot be reached; try again shortly."},
        ("Retry-After",),
    ),
}
"""Status: when, each code with a message, and headers of its own."""


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
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
                    "description": "Ordered by `created_at` and then `id`, both descending; every entry is on exactly "
                    "one page. A parameter that is empty or `null` counts as not given; one that does not exist here, "
                    "or is given twice, is refused.",
                    "parameters": [_parameter(name) for name in PARAMETERS],
                    "responses": {"200": _page_response()} | {status: _error_response(status) for status in _ERRORS},
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


def text() -> str:
    """The document as the file has it."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _parameter(name: str) -> dict[str, Any]:
    parameter = {
        "name": name,
        "in": "query",
        "required": False,
        "description": f"{_MEANINGS[name]} Accepted: {PARAMETERS[name]}.",
        "schema": _SCHEMAS[name],
    }
    return parameter | ({"example": _EXAMPLES[name]} if name in _EXAMPLES else {})


def _page_response() -> dict[str, Any]:
    return {
        "description": "A page. An offset at or past the end has no entries, and the true total.",
        "headers": _headers("Link", *_ALWAYS),
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Page"}}},
    }


def _error_response(status: str) -> dict[str, Any]:
    when, messages, headers = _ERRORS[status]
    return {
        "description": when,
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


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _schemas() -> dict[str, Any]:
    """The bodies of answers, with the fields required that the published contract requires."""
    generated = _simplified(GenerateJsonSchema(ref_template="#/components/schemas/{model}").generate(SESSION))
    parts = generated.pop("$defs", {})
    return {
        "Page": {
            "type": "object",
            "description": "Some entries of the list, newest first, and how many there are in all.",
            "properties": {
                "data": {"type": "array", "items": {"$ref": "#/components/schemas/Session"}},
                "total": _whole("How many entries match, across all pages."),
                "offset": _whole("How many entries were skipped."),
                "limit": _whole("How many entries were returned at most."),
            },
            "required": ["data", "total", "offset", "limit"],
        },
        "Session": {
            "description": "One conversation with one agent. Every field is in every answer, those that are not "
            "required as null or as an empty array when they have no value."
        }
        | generated,
        **parts,
        "Error": {
            "type": "object",
            "description": "The body of every answer that is not 200.",
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


def _whole(description: str) -> dict[str, Any]:
    return {"type": "integer", "format": "int32", "minimum": 0, "maximum": INT32_MAX, "description": description}


def _codes() -> list[str]:
    return list(dict.fromkeys(code for _, messages, _ in _ERRORS.values() for code in messages))


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


def main(arguments: list[str]) -> int:
    """Writes the file, or with `--check` compares it; returns the exit status."""
    if arguments == ["--check"]:
        if not FILE.exists() or FILE.read_text(encoding="utf-8") != text():
            print(f"{FILE} is not current; `make openapi` writes it.", file=sys.stderr)
            return 1
        return 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
