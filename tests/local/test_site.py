"""What the local API serves to browsers: console, reference and help, and nothing of it to the API's clients."""

import json
import re
import urllib.error
import urllib.request
from email.message import Message
from typing import Any

import pytest

from sessions_local.browser_pages import FOLDER, Site, server_timing
from sessions_local.http_server import HttpRequest, HttpResponse
from tests.running import ROOT, Running

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def get(running: Running, path: str, accept: str = BROWSER, method: str = "GET") -> tuple[int, Message, str]:
    request = urllib.request.Request(running.url + path, headers={"Accept": accept}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


@pytest.mark.parametrize(("path", "title"), [("/", "Sessions"), ("/docs", "Sessions API"), ("/docs/", "Sessions API")])
def test_a_browser_gets_a_page(running: Running, path: str, title: str) -> None:
    status, headers, text = get(running, path)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert f"<title>{title}</title>" in text


@pytest.mark.parametrize("path", ["/", "/docs/", "/nowhere", "/favicon.ico"])
def test_a_client_of_the_api_gets_the_error_of_the_contract(running: Running, path: str) -> None:
    status, headers, text = get(running, path, accept="application/json")
    assert (status, headers["Content-Type"]) == (404, "application/json")
    assert json.loads(text)["error"]["code"] == "not_found"


def test_an_unknown_path_in_a_browser_leads_to_what_there_is(running: Running) -> None:
    status, headers, text = get(running, "/sessions")
    assert (status, headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert {'href="/"', 'href="/docs"'} <= set(re.findall(r'href="[^"]+"', text))


def test_the_icon_is_an_image(running: Running) -> None:
    status, headers, _ = get(running, "/favicon.ico", accept="image/avif,image/webp,image/svg+xml,image/*,*/*;q=0.8")
    assert (status, headers["Content-Type"]) == (200, "image/svg+xml")


def test_the_api_itself_is_json_in_a_browser_too(running: Running) -> None:
    status, headers, _ = get(running, "/v1/sessions")
    assert (status, headers["Content-Type"]) == (401, "application/json")


def test_a_page_is_only_there_to_be_read(running: Running) -> None:
    assert get(running, "/docs", method="POST")[0] == 404


def test_the_openapi_document_is_the_committed_one_with_this_server(running: Running) -> None:
    committed = json.loads((ROOT / "docs" / "openapi.json").read_text())
    served = json.loads(get(running, "/openapi.json", accept="*/*")[2])
    assert served.pop("servers") == [{"url": "/", "description": "The local API"}]
    committed.pop("servers", None)
    assert served == committed


def test_the_organizations_come_with_their_demo_keys(running: Running) -> None:
    organizations: list[Any] = json.loads(get(running, "/site/organizations.json")[2])
    first = "0" * 31 + "1"
    assert {"organization_id": f"org_{first}", "key": f"evr_local_{first}"} in organizations


@pytest.mark.parametrize("name", ["swagger-ui-bundle.min.js", "swagger-ui.min.css"])
def test_swagger_ui_is_served_from_this_machine(running: Running, name: str) -> None:
    status, headers, text = get(running, f"/site/{name}")
    assert status == 200
    assert headers["Content-Type"].startswith(("text/javascript", "text/css"))
    assert len(text) > 100_000


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_a_file_of_the_site_refers_to_nothing_off_the_machine(path: Any) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"https?://[^\s'\"]+", text) == []


def test_nothing_may_be_loaded_from_elsewhere(running: Running) -> None:
    assert "default-src 'self'" in get(running, "/")[1]["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("metrics", "header"),
    [
        ({}, ""),
        ({"Allowed": 1.0}, ""),
        ({"Duration": 12.5, "RoundTrips": 2.0, "ReadUnits": 3.5, "ItemsRead": 20.0},
         'function;dur=12.5, round_trips;desc="2", read_units;desc="3.5"'),
    ],
)  # fmt: skip
def test_what_a_function_measured_becomes_a_header(metrics: dict[str, float], header: str) -> None:
    assert server_timing(metrics) == header


def test_a_new_organization_is_listed_without_a_restart() -> None:
    keys: dict[str, str] = {}
    site = Site(lambda _: HttpResponse(404, [], b""), keys)
    keys["org_1"] = "evr_local_1"
    response = site.respond(HttpRequest("GET", "/site/organizations.json", []))
    assert response.json() == [{"organization_id": "org_1", "key": "evr_local_1"}]
