"""The console in a real browser: every view has an address, and shows what the API says."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import urllib3
from playwright.sync_api import Page, Route, expect

from sessions_cli.items import item_of
from tests.browser.conftest import REFUSED, SCREENSHOTS, UNREACHABLE, ConsolePage, Open
from tests.local.calls import client, put, total, within_two_seconds
from tests.running import Running, local_api
from tests.service import session

ORGANIZATION = "org_00000000000000000000000000000001"
SECOND_ORGANIZATION = "org_00000000000000000000000000000002"
AGENT = "agent_01933b5a00007000800000000000000a"


def rows(page: Page) -> list[str]:
    """The ids of the sessions that are listed."""
    ids: list[str] = page.locator("#rows tr").evaluate_all("rows => rows.map(row => row.dataset.session)")
    return ids


def pager(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Pages").get_by_role("link", name=name, exact=True).click()


def expect_page(page: Page, number: int, of: int, text: str) -> None:
    """The list is on a page: in the status, the title, the pager and the address."""
    expect(page.locator("#status")).to_have_text(f"Page {number} of {of}: {text}")
    expect(page).to_have_title(f"Page {number} of {of} – Sessions")
    expect(page.locator("#jump")).to_have_value(str(number))
    expect(page).to_have_url(re.compile(rf"[?&]page={number}(&|$)"))
    expect(page.locator("#result")).to_have_attribute("aria-busy", "false")


def written(running: Running, *sessions: dict[str, Any]) -> str:
    """Write sessions of an organization of this test alone, and return its id when they are counted."""
    organization_id = "org_" + uuid.uuid4().hex
    put(running, *(each | {"organization_id": organization_id} for each in sessions))
    key = "evr_local_" + organization_id.removeprefix("org_")
    within_two_seconds(lambda: total(running, key) == len(sessions))
    return organization_id


def test_the_pager_leads_through_the_pages(console: ConsolePage) -> None:
    page = console.open()
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")
    expect(page).to_have_url(re.compile(rf"org={ORGANIZATION}&page=1&size=20$"))
    expect(page.get_by_role("link", name="First")).to_have_attribute("aria-disabled", "true")
    expect(page.locator("#cost")).to_have_text(re.compile(r"^\d round trips? · [\d.]+ read units? · \d+ ms$"))
    first = rows(page)
    for name, number, text in (("Next", 2, "21 to 40"), ("Last", 24, "461 to 480"), ("Previous", 23, "441 to 460")):
        pager(page, name)
        expect_page(page, number, 24, f"{text} of 480 sessions")
        assert not set(first) & set(rows(page))
    pager(page, "First")
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")
    assert rows(page) == first
    page.get_by_text("What the last pages cost").click()
    costs = page.locator("#costs tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
    )
    assert [cost[:2] for cost in costs] == [["1", "0"], ["23", "440"], ["24", "460"], ["2", "20"], ["1", "0"]]
    assert all(int(trips) <= 3 and float(units) <= 20 for _, _, trips, units, _ in costs)


@pytest.mark.parametrize(("typed", "number"), [("7", 7), ("999", 24), ("0", 1), ("", 3)])
def test_a_jump_leads_to_a_page_that_exists(console: ConsolePage, typed: str, number: int) -> None:
    page = console.open("/?page=3")
    page.locator("#jump").fill(typed)
    page.locator("#jump").press("Enter")
    expect(page.locator("#status")).to_have_text(re.compile(f"^Page {number} of 24: "))
    expect(page.locator("#jump")).to_have_value(str(number))


def test_an_agent_in_the_list_filters_by_it(console: ConsolePage) -> None:
    page = console.open("/?page=2")
    page.locator(f'#rows a[title="Only {AGENT}"]').first.click()
    agent = page.get_by_label("Agent", exact=True)
    expect(agent).to_have_value(AGENT)
    expect(page.locator("#status")).to_have_text(re.compile(r"^Page 1 of \d+: 1 to 20 of \d+ sessions$"))
    assert set(page.locator("#rows a.agent").evaluate_all("all => all.map(each => each.title)")) == {f"Only {AGENT}"}
    expect(page).to_have_url(re.compile(rf"agent={AGENT}&page=1"))
    agent.fill("")
    agent.press("Enter")
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")


@pytest.mark.parametrize(
    ("address", "heading", "link", "number"),
    [
        ("/?agent=agent_" + "0" * 32, "No sessions", "All agents", 1),
        ("/?page=99", "There is no page 99", "Last page", 24),
    ],
)
def test_an_empty_view_leads_to_sessions(
    console: ConsolePage, address: str, heading: str, link: str, number: int
) -> None:
    page = console.open(address)
    expect(page.get_by_role("heading", name=heading)).to_be_visible()
    page.get_by_role("link", name=link).click()
    expect(page.locator("#status")).to_have_text(re.compile(f"^Page {number} of 24: .* of 480 sessions"))


def test_another_page_size_keeps_the_first_session(console: ConsolePage) -> None:
    page = console.open("/?page=5&size=20")
    expect_page(page, 5, 24, "81 to 100 of 480 sessions")
    (first, *_) = rows(page)
    page.get_by_label("Per page").select_option("50")
    expect_page(page, 2, 10, "51 to 100 of 480 sessions")
    assert first in rows(page)


def test_reload_and_back_show_the_view_of_the_address(console: ConsolePage) -> None:
    page = console.open(f"/?page=5&agent={AGENT}")
    page.get_by_label("Organization").select_option(SECOND_ORGANIZATION)
    expect_page(page, 1, 4, "1 to 20 of 72 sessions")
    expect(page.locator("#agent")).to_have_value("")
    pager(page, "Next")
    expect_page(page, 2, 4, "21 to 40 of 72 sessions")
    listed = rows(page)
    page.reload()
    expect_page(page, 2, 4, "21 to 40 of 72 sessions")
    assert rows(page) == listed
    expect(page.get_by_label("Organization")).to_have_value(SECOND_ORGANIZATION)
    page.go_back()
    expect_page(page, 1, 4, "1 to 20 of 72 sessions")


def test_details_have_an_address_and_can_be_left(console: ConsolePage) -> None:
    page = console.open()
    row = page.locator("#rows tr").nth(2)
    title, session_id = row.locator(".title").inner_text(), row.get_attribute("data-session") or ""
    row.locator("time").click()
    dialog = page.get_by_role("dialog", name=title)
    expect(dialog.get_by_text(session_id).first).to_be_visible()
    expect(page).to_have_url(re.compile(f"session={session_id}$"))
    page.reload()
    expect(page.get_by_role("dialog", name=title)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page).not_to_have_url(re.compile("session="))
    row.locator(".title").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")


def test_a_link_follows_its_session_to_another_page(console: ConsolePage, running: Running) -> None:
    organization_id = written(running, *(session(number, title=f"number {number}") for number in range(5)))
    address = f"/?org={organization_id}&page=1&size=1&session="
    page = console.open(address + session(1)["id"])
    expect(page.get_by_role("dialog", name="number 1")).to_be_visible()
    expect(page).to_have_url(re.compile("page=4&"))
    page.get_by_role("button", name="Close").click()
    expect_page(page, 4, 5, "4 to 4 of 5 sessions")
    page = console.open(address + "session_0")
    expect(page.get_by_role("dialog", name="Not found")).to_be_visible()


def test_the_keyboard_alone_is_enough(console: ConsolePage) -> None:
    page = console.open()
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")
    page.get_by_role("link", name="Next").focus()
    page.keyboard.press("Enter")
    expect_page(page, 2, 24, "21 to 40 of 480 sessions")
    expect(page.get_by_role("link", name="Next")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect_page(page, 24, 24, "461 to 480 of 480 sessions")
    expect(page.get_by_role("link", name="Previous")).to_be_focused()
    title = page.locator("#rows .title").first
    title.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(title).to_be_focused()


def test_a_typed_key_is_asked_for_kept_and_refused(console: ConsolePage) -> None:
    console.expected.append(REFUSED)
    page = console.open()
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")
    page.get_by_label("Organization").select_option(label="Another API key…")
    expect(page.get_by_role("heading", name="Which API key?")).to_be_visible()
    key, alert = page.get_by_role("textbox", name="API key"), page.get_by_role("alert")
    expect(key).to_be_focused()
    expect(alert).not_to_contain_text("401")
    key.fill("evr_" + "x" * 32)
    key.press("Enter")
    expect(alert).to_contain_text("401 unauthorized")
    expect(alert).to_contain_text("missing, unknown, expired or revoked")
    assert rows(page) == []
    for hidden in (page.get_by_role("navigation", name="Pages"), page.locator("#cost")):
        expect(hidden).to_be_hidden()
    key.fill("evr_local_" + SECOND_ORGANIZATION.removeprefix("org_"))
    key.press("Enter")
    expect_page(page, 1, 4, "1 to 20 of 72 sessions")
    assert "evr_" not in page.url
    page.reload()
    expect_page(page, 1, 4, "1 to 20 of 72 sessions")
    page.get_by_label("Organization").select_option(ORGANIZATION)
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")
    expect(key).to_be_hidden()


def test_a_wrong_agent_is_told_in_the_words_of_the_api(console: ConsolePage) -> None:
    console.expected.append(REFUSED)
    page = console.open()
    page.get_by_label("Agent", exact=True).fill("nobody")
    page.get_by_label("Agent", exact=True).press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("400 invalid_parameter")
    assert rows(page) == []


def test_texts_of_sessions_are_never_markup(console: ConsolePage, running: Running) -> None:
    organization_id = written(running, session(1, title="<img src=x onerror=alert(1)>", tags=["<b>"]))
    page = console.open(f"/?org={organization_id}")
    expect(page.locator("#rows .title")).to_have_text("<img src=x onerror=alert(1)>")
    assert page.locator("#rows img, #rows b").count() == 0


def test_a_broken_session_leaves_the_others_unnumbered(console: ConsolePage, running: Running) -> None:
    organization_id = written(running, *(session(number) for number in range(3)))
    broken = item_of(session(1, organization_id=organization_id)) | {"status": {"S": "nonsense"}}
    client(running).put_item(TableName="sessions", Item=broken)
    page = console.open(f"/?org={organization_id}")
    expect_page(page, 1, 1, "1 to 3 of 3 sessions, 1 of them broken and left out")
    assert page.locator("#rows .position").all_inner_texts() == ["–", "–"]


def test_refresh_shows_what_was_written_since(console: ConsolePage, running: Running) -> None:
    organization_id = written(running, session(1))
    page = console.open(f"/?org={organization_id}")
    expect_page(page, 1, 1, "1 to 1 of 1 sessions")
    put(running, session(2, organization_id=organization_id))
    within_two_seconds(lambda: total(running, "evr_local_" + organization_id.removeprefix("org_")) == 2)
    page.get_by_role("button", name="Refresh").click()
    expect_page(page, 1, 1, "1 to 2 of 2 sessions")


def test_ids_and_commands_can_be_copied(console: ConsolePage) -> None:
    page = console.open()
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    (first, *_) = rows(page)
    page.locator("#rows tr").first.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name=f"Copy the id {first}")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == first
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_text("This page with curl").click()
    page.get_by_role("button", name="Copy the command").click()
    expect(page.get_by_role("button", name="Copy the command")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("curl -s -H 'Authorization: evr_local_")


def test_a_slow_first_page_says_that_it_loads(console: ConsolePage) -> None:
    held: list[Route] = []
    console.page.route("**/v1/sessions?*", lambda route: held.append(route))
    page = console.open()
    expect(page.locator("#status")).to_have_text("Loading…")
    expect(page.locator("#result")).to_have_attribute("aria-busy", "true")
    held[0].continue_()
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")


@pytest.fixture
def prefixed(running: Running) -> Iterator[str]:
    """The local API behind a proxy that serves it below a path."""
    pool = urllib3.PoolManager()

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name: value for name, value in self.headers.items() if name in ("Accept", "Authorization")}
            response = pool.request("GET", running.url + self.path.removeprefix("/tools"), headers=headers)
            self.send_response(response.status if self.path.startswith("/tools/") else 404)
            self.send_header("Content-Type", response.headers["Content-Type"])
            self.end_headers()
            self.wfile.write(response.data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/tools"
        server.shutdown()


def test_everything_works_below_a_path_prefix(watch: Open, prefixed: str) -> None:
    console = watch(url=prefixed)
    console.expected.append(REFUSED)
    page = console.open("/a/b")
    page.get_by_role("main").get_by_role("link", name="console").click()
    expect(page.locator("#status")).to_have_text("Page 1 of 24: 1 to 20 of 480 sessions")
    page.get_by_role("link", name="Reference").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table")).to_contain_text('"total": 480')


@pytest.fixture
def engine_and_api() -> Iterator[tuple[Running, Running]]:
    """A local API whose engine is another process."""
    with local_api(DATA="") as engine, local_api(AWS_ENDPOINT_URL_DYNAMODB=engine.dynamodb_url, DATA="") as api:
        yield engine, api


def test_an_engine_and_an_api_that_stop_are_said(watch: Open, engine_and_api: tuple[Running, Running]) -> None:
    """The API's tries to reach its engine take some seconds."""
    engine, api = engine_and_api
    console = watch(url=api.url)
    console.expected.append(UNREACHABLE)
    page = console.open()
    expect(page.get_by_role("heading", name="No sessions yet")).to_be_visible()
    organization_id = written(engine, session(1), session(2))
    page = console.open(f"/?org={organization_id}&size=1")
    expect_page(page, 1, 2, "1 to 1 of 2 sessions")
    engine.process.kill()
    engine.process.wait(timeout=10)
    pager(page, "Last")
    expect(page.get_by_role("alert")).to_contain_text("503 unavailable", timeout=30_000)
    assert rows(page) == []
    api.process.kill()
    api.process.wait(timeout=10)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_contain_text("No response")


@pytest.mark.parametrize("address", ["/?page=12", "/?page=12&session=first", "/?page=99", "/docs", "/nowhere"])
def test_nothing_scrolls_sideways(console: ConsolePage, address: str) -> None:
    console.expected.append(REFUSED)
    page = console.open(address.replace("&session=first", ""))
    page.wait_for_load_state("networkidle")
    if "session=" in address:
        page.locator("#rows tr").nth(1).click()
        expect(page.get_by_role("dialog")).to_be_visible()
    name = re.sub(r"[^\w]+", "-", address).strip("-")
    for scheme, background in {"light": "rgb(245, 246, 249)", "dark": "rgb(18, 20, 27)"}.items():
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == background
        for width in (1280, 901, 820, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), width
            page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png")


def test_a_title_has_room_at_every_width(console: ConsolePage) -> None:
    page = console.open()
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")
    for width in (1280, 901, 900, 761, 390):
        page.set_viewport_size({"width": width, "height": 900})
        box = page.locator("#rows tr").nth(0).locator("td").nth(3).bounding_box()
        assert box is not None
        assert 180 <= box["width"] <= width
