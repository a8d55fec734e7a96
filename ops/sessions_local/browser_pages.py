"""What the local API serves besides the API itself: the console, the reference, and help for lost browsers."""

from __future__ import annotations

import importlib.util
import json
import mimetypes
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from sessions_local import openapi_document as openapi
from sessions_local.http_server import HttpRequest, HttpResponse, Respond

FOLDER: Final = Path(__file__).with_name("site")

SWAGGER_UI: Final = Path("event_handler", "openapi", "swagger_ui")
"""Where Powertools keeps the files of Swagger UI."""

_SWAGGER_FILES: Final = ("swagger-ui-bundle.min.js", "swagger-ui.min.css")

_SECURITY_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
)
"""Nothing is loaded from elsewhere; Swagger UI writes styles and pictures into its elements."""

_MEASUREMENTS: Final = {"Duration": "function", "RoundTrips": "round_trips", "ReadUnits": "read_units"}
"""Metrics of `list_sessions` by their names in `Server-Timing`."""


class Site:
    """Responds to browsers, and hands everything else to the gateway."""

    def __init__(self, gateway: Respond, keys: Mapping[str, str]) -> None:
        """
        Args:
            keys: the demo key of each organization; read again for every request.
        """
        self._gateway = gateway
        self._keys = keys
        self._pages: dict[str, Callable[[], HttpResponse]] = {
            "/openapi.json": lambda: _json(document()),
            "/docs": partial(_file, FOLDER / "docs.html"),
            "/site/organizations.json": self._organizations,
        }
        for path in [*FOLDER.iterdir(), *(_powertools() / SWAGGER_UI / name for name in _SWAGGER_FILES)]:
            self._pages[f"/site/{path.name}"] = partial(_file, path)

    def respond(self, request: HttpRequest) -> HttpResponse:
        """The response to a request."""
        page = self._page(request) if request.method in ("GET", "HEAD") else None
        if page is not None:
            return page
        response = self._gateway(request)
        if response.status == HTTPStatus.NOT_FOUND and request.method == "GET" and _accepts(request, "text/html"):
            return _file(FOLDER / "not-found.html", HTTPStatus.NOT_FOUND)
        timing = server_timing(response.metrics)
        return response._replace(headers=[*response.headers, ("Server-Timing", timing)]) if timing else response

    def _page(self, request: HttpRequest) -> HttpResponse | None:
        """A page of the site; None for what the API responds to. The API's own clients do not accept HTML."""
        path = request.path
        if path in self._pages:
            return self._pages[path]()
        if path == "/" and _accepts(request, "text/html"):
            return _file(FOLDER / "console.html")
        if path == "/favicon.ico" and _accepts(request, "image/"):
            return _file(FOLDER / "icon.svg")
        if path in ("/docs/", "/index.html") and _accepts(request, "text/html"):
            target = "/docs" if path == "/docs/" else "/"
            return HttpResponse(HTTPStatus.PERMANENT_REDIRECT, [("Location", target)], b"")
        return None

    def _organizations(self) -> HttpResponse:
        return _json([{"organization_id": each, "key": key} for each, key in list(self._keys.items())])


def document() -> dict[str, Any]:
    """The OpenAPI document, with this server as the one to call."""
    return openapi.document() | {"servers": [{"url": "/", "description": "The local API"}]}


def server_timing(metrics: Mapping[str, float]) -> str:
    """What a request cost, as a `Server-Timing` header ('Server Timing', W3C); '' when nothing was measured."""
    measured = {name: metrics[metric] for metric, name in _MEASUREMENTS.items() if metric in metrics}
    return ", ".join(
        f"{name};dur={value:g}" if name == "function" else f'{name};desc="{value:g}"'
        for name, value in measured.items()
    )


def _accepts(request: HttpRequest, kind: str) -> bool:
    return kind in request.header("Accept").lower()


def _powertools() -> Path:
    """Powertools' folder, found without the import, which takes a while."""
    spec = importlib.util.find_spec("aws_lambda_powertools")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("aws_lambda_powertools is not installed")
    return Path(spec.submodule_search_locations[0])


def _json(value: Any) -> HttpResponse:
    return _response("application/json", json.dumps(value, indent=2, ensure_ascii=False).encode())


def _file(path: Path, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    return _response(kind, path.read_bytes(), status)


def _response(content_type: str, body: bytes, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    headers = [
        ("Content-Type", content_type),
        ("Cache-Control", "no-store"),
        ("Content-Security-Policy", _SECURITY_POLICY),
        ("X-Content-Type-Options", "nosniff"),
    ]
    return HttpResponse(status, headers, body)
