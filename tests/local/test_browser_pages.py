"""The pages for browsers, of which the API's own clients get nothing."""

import json
import re
from pathlib import Path

import pytest
from werkzeug import Request, Response
from werkzeug.test import Client

from sessions_local.browser_pages import FOLDER, with_pages
from tests.local.calls import BROWSER, Answer, call
from tests.running import ROOT, Running


def get(running: Running, path: str, accept: str = BROWSER, method: str = "GET") -> Answer:
    return call(running.url + path, method, Accept=accept)


@pytest.mark.parametrize(
    ("path", "accept", "status", "content_type", "contains"),
    [
        ("/", BROWSER, 200, "text/html; charset=utf-8", "<title>Sessions</title>"),
        ("/docs", BROWSER, 200, "text/html; charset=utf-8", "<title>Sessions API</title>"),
        ("/docs/", BROWSER, 200, "text/html; charset=utf-8", "<title>Sessions API</title>"),
        ("/sessions", BROWSER, 404, "text/html; charset=utf-8", 'href="./"'),
        ("/a/b/c", BROWSER, 404, "text/html; charset=utf-8", '<base href="../../">'),
        ("/favicon.ico", "image/avif,image/*,*/*;q=0.8", 200, "image/svg+xml", "<svg"),
        ("/v1/sessions", BROWSER, 401, "application/json", "unauthorized"),
        ("/", "application/json", 404, "application/json", "not_found"),
        ("/docs/", "application/json", 404, "application/json", "not_found"),
        ("/nowhere", "*/*", 404, "application/json", "not_found"),
        ("/site/organizations.json", "*/*", 200, "application/json", f'"evr_local_{"0" * 31}1"'),
        ("/site/swagger-ui-bundle.min.js", "*/*", 200, "text/javascript; charset=utf-8", "SwaggerUIBundle"),
        ("/site/swagger-ui.min.css", "*/*", 200, "text/css; charset=utf-8", ".swagger-ui"),
        ("/site/console.js", "*/*", 200, "text/javascript; charset=utf-8", "import"),
    ],
)
def test_a_path_has_its_page(
    running: Running, path: str, accept: str, status: int, content_type: str, contains: str
) -> None:
    answer = get(running, path, accept)
    assert (answer.status, answer.headers["Content-Type"]) == (status, content_type)
    assert contains in answer.text


def test_a_page_is_only_there_to_be_read(running: Running) -> None:
    assert get(running, "/docs", method="POST").status == 404


def test_the_openapi_document_is_the_committed_one(running: Running) -> None:
    served = json.loads(get(running, "/openapi.json", accept="*/*").text)
    assert served.pop("servers") == [{"url": "/", "description": "The local API"}]
    assert served == json.loads((ROOT / "docs" / "openapi.json").read_text())


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_a_file_refers_to_nothing_off_the_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"https?://[^\s'\"]+", text) == []
    assert re.findall(r"""(?:href|src)="/""", text) == []  # would be blank below a path prefix


def test_nothing_may_be_loaded_from_elsewhere(running: Running) -> None:
    assert "default-src 'self'" in get(running, "/").headers["Content-Security-Policy"]


def test_a_new_organization_is_listed_without_a_restart() -> None:
    def api(_: Request) -> Response:
        return Response(status=404)

    keys: dict[str, str] = {}
    browser = Client(with_pages(api, keys))
    keys["org_1"] = "evr_local_1"
    assert browser.get("/site/organizations.json").json == [{"organization_id": "org_1", "key": "evr_local_1"}]
