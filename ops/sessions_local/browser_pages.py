"""Pages for browsers beside the API: the console, the reference, and help at an address that does not exist."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from werkzeug import Request, Response
from werkzeug.middleware.shared_data import SharedDataMiddleware
from werkzeug.utils import redirect

from sessions_local import openapi_document
from sessions_local.http_server import Application
from sessions_local.proxy_events import request_path

FOLDER: Final = Path(__file__).with_name("site")

SWAGGER_FILES: Final = ("swagger-ui-bundle.min.js", "swagger-ui.min.css")

PAGE_HEADERS: Final = {
    "Cache-Control": "no-store",
    # Nothing is loaded from elsewhere; Swagger UI writes styles and pictures into its elements.
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
}


def with_pages(api: Callable[[Request], Response], keys: Mapping[str, str]) -> Application:
    """Return the API and the pages as one WSGI application; clients that do not accept HTML never see the pages.

    Args:
        keys: the demo key of each organization; read again for every request.
    """

    @Request.application
    def respond(request: Request) -> Response:
        page = _page_of(request, keys) if request.method in ("GET", "HEAD") else None
        if page is not None:
            return page
        response = api(request)
        if response.status_code == HTTPStatus.NOT_FOUND and request.method == "GET" and _accepts(request, "text/html"):
            # Links are relative, so that they hold below a path prefix; here the address may be deep.
            base = "../" * (request_path(request).count("/") - 1) or "./"
            page = _file("not-found.html")
            page.data = page.data.replace(b"<head>", f'<head>\n<base href="{base}">'.encode())
            page.status_code = HTTPStatus.NOT_FOUND
            return page
        return response

    files = {"/site": str(FOLDER)} | {f"/site/{name}": str(_swagger_ui() / name) for name in SWAGGER_FILES}
    return SharedDataMiddleware(respond, files, cache=False)


def _page_of(request: Request, keys: Mapping[str, str]) -> Response | None:
    is_browser = _accepts(request, "text/html")
    match request_path(request):
        case "/" if is_browser:
            return _file("console.html")
        case "/docs":
            return _file("docs.html")
        case "/docs/" if is_browser:
            return redirect("../docs", HTTPStatus.PERMANENT_REDIRECT)
        case "/openapi.json":
            server = {"url": "/", "description": "The local API"}
            return _json(openapi_document.document() | {"servers": [server]})
        case "/site/organizations.json":
            return _json([{"organization_id": each, "key": key} for each, key in list(keys.items())])
        case "/favicon.ico" if _accepts(request, "image/"):
            return Response((FOLDER / "icon.svg").read_bytes(), content_type="image/svg+xml")
    return None


def _accepts(request: Request, kind: str) -> bool:
    return kind in request.headers.get("Accept", "").lower()


def _file(name: str) -> Response:
    text = (FOLDER / name).read_text(encoding="utf-8")
    return Response(text, 200, PAGE_HEADERS, content_type="text/html; charset=utf-8")


def _json(value: Any) -> Response:
    return Response(json.dumps(value, indent=2, ensure_ascii=False), 200, PAGE_HEADERS, content_type="application/json")


def _swagger_ui() -> Path:
    """Return the folder of Powertools' Swagger UI, found without the import, which takes a while."""
    spec = importlib.util.find_spec("aws_lambda_powertools")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("aws_lambda_powertools is not installed")
    return Path(spec.submodule_search_locations[0], "event_handler", "openapi", "swagger_ui")
