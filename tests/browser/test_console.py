"""The console in a real browser: every view has an address, and shows what the API says."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from playwright.sync_api import Page, expect

from sessions_cli.items import item_of
from tests.browser.conftest import NARROW, REFUSED, UNREACHABLE, WIDE, ConsolePage, Open
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


def test_it_lists_the_first_page_of_the_first_organization(console: ConsolePage) -> None:
    page = console.open()
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")
    assert len(rows(page)) == 20
    expect(page).to_have_url(re.compile(rf"org={ORGANIZATION}&page=1&size=20$"))
    expect(page.get_by_role("link", name="First")).to_have_attribute("aria-disabled", "true")


def test_next_previous_first_and_last_lead_through_the_pages(console: ConsolePage) -> None:
    page = console.open()
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")
    first = rows(page)
    pager(page, "Next")
    expect_page(page, 2, 24, "21 to 40 of 480 sessions")
    assert not set(first) & set(rows(page))
    pager(page, "Last")
    expect_page(page, 24, 24, "461 to 480 of 480 sessions")
    pager(page, "Previous")
    expect_page(page, 23, 24, "441 to 460 of 480 sessions")
    pager(page, "First")
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")
    assert rows(page) == first


def test_a_jump_leads_to_any_page(console: ConsolePage) -> None:
    page = console.open("/?size=1")
    expect_page(page, 1, 480, "1 to 1 of 480 sessions")
    page.locator("#jump").fill("241")
    page.locator("#jump").press("Enter")
    expect_page(page, 241, 480, "241 to 241 of 480 sessions")
    assert rows(page) == ["session_01a05cb745bd7ac2aba28ca1032bd69b"]


@pytest.mark.parametrize(("typed", "page_number"), [("999", 24), ("0", 1), ("", 3)])
def test_a_jump_beyond_the_ends_stays_within_them(console: ConsolePage, typed: str, page_number: int) -> None:
    page = console.open("/?page=3")
    page.locator("#jump").fill(typed)
    page.locator("#jump").press("Enter")
    expect(page.locator("#status")).to_have_text(re.compile(f"^Page {page_number} of 24: "))
    expect(page.locator("#jump")).to_have_value(str(page_number))


def test_the_cost_stays_flat_on_the_way_to_the_last_page(console: ConsolePage) -> None:
    page = console.open()
    expect(page.locator("#cost")).to_have_text(re.compile(r"^\d round trips? · [\d.]+ read units? · \d+ ms$"))
    pager(page, "Last")
    expect_page(page, 24, 24, "461 to 480 of 480 sessions")
    page.get_by_text("What the last pages cost").click()
    costs = page.locator("#costs tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
    )
    assert [cost[:2] for cost in costs] == [["24", "460"], ["1", "0"]]
    assert all(int(trips) <= 4 and float(units) <= 12 for _, _, trips, units, _ in costs)


def test_an_agent_in_the_list_filters_by_it(console: ConsolePage) -> None:
    page = console.open("/?page=2")
    link = page.locator(f'#rows a[title="Only {AGENT}"]').first
    link.click()
    expect(page.locator("#agent")).to_have_value(AGENT)
    expect(page.locator("#status")).to_have_text(re.compile(r"^Page 1 of \d+: 1 to 20 of \d+ sessions$"))
    assert set(page.locator("#rows a.agent").evaluate_all("all => all.map(each => each.title)")) == {f"Only {AGENT}"}
    expect(page).to_have_url(re.compile(rf"agent={AGENT}&page=1"))


def test_an_agent_can_be_typed_and_taken_back(console: ConsolePage) -> None:
    page = console.open()
    page.get_by_label("Agent", exact=True).fill(AGENT)
    page.get_by_label("Agent", exact=True).press("Enter")
    expect(page.locator("#status")).not_to_contain_text("480 sessions")
    page.get_by_label("Agent", exact=True).fill("")
    page.get_by_label("Agent", exact=True).press("Enter")
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")


def test_an_agent_without_sessions_offers_all_agents(console: ConsolePage) -> None:
    page = console.open("/?agent=agent_" + "0" * 32)
    expect(page.get_by_role("heading", name="No sessions")).to_be_visible()
    page.get_by_role("link", name="All agents").click()
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")
    expect(page.locator("#agent")).to_have_value("")


def test_another_page_size_keeps_the_first_session_in_sight(console: ConsolePage) -> None:
    page = console.open("/?page=5&size=20")
    expect_page(page, 5, 24, "81 to 100 of 480 sessions")
    (first, *_) = rows(page)
    page.get_by_label("Per page").select_option("50")
    expect_page(page, 2, 10, "51 to 100 of 480 sessions")
    assert first in rows(page)


def test_another_organization_starts_on_its_first_page(console: ConsolePage) -> None:
    page = console.open(f"/?page=5&agent={AGENT}")
    page.get_by_label("Organization").select_option(SECOND_ORGANIZATION)
    expect_page(page, 1, 4, "1 to 20 of 72 sessions")
    expect(page.locator("#agent")).to_have_value("")


def test_reload_and_back_show_the_view_of_the_address(console: ConsolePage) -> None:
    page = console.open(f"/?org={SECOND_ORGANIZATION}&page=3&size=10")
    expect_page(page, 3, 8, "21 to 30 of 72 sessions")
    listed = rows(page)
    page.reload()
    expect_page(page, 3, 8, "21 to 30 of 72 sessions")
    assert rows(page) == listed
    expect(page.get_by_label("Organization")).to_have_value(SECOND_ORGANIZATION)
    expect(page.get_by_label("Per page")).to_have_value("10")
    pager(page, "Next")
    expect_page(page, 4, 8, "31 to 40 of 72 sessions")
    page.go_back()
    expect_page(page, 3, 8, "21 to 30 of 72 sessions")


def test_a_page_that_does_not_exist_leads_to_the_last(console: ConsolePage) -> None:
    page = console.open("/?page=99")
    expect(page.get_by_role("heading", name="There is no page 99")).to_be_visible()
    page.get_by_role("link", name="Last page").click()
    expect_page(page, 24, 24, "461 to 480 of 480 sessions")


def test_a_click_on_a_session_opens_its_details_at_an_address(console: ConsolePage) -> None:
    page = console.open()
    row = page.locator("#rows tr").nth(2)
    title = row.locator(".title").inner_text()
    session_id = row.get_attribute("data-session")
    row.locator("time").click()
    dialog = page.get_by_role("dialog", name=title)
    expect(dialog).to_be_visible()
    expect(dialog.get_by_text(session_id or "", exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile(f"session={session_id}$"))
    page.reload()
    expect(page.get_by_role("dialog", name=title)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page).not_to_have_url(re.compile("session="))
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")


def test_back_closes_the_details(console: ConsolePage) -> None:
    page = console.open("/?page=2")
    page.locator("#rows tr .title").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect_page(page, 2, 24, "21 to 40 of 480 sessions")


def test_a_session_of_another_page_is_said_not_to_be_on_this_one(console: ConsolePage) -> None:
    page = console.open("/?page=1&session=session_0")
    expect(page.get_by_role("dialog", name="Not on this page")).to_be_visible()


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


def test_a_wrong_key_replaces_the_result(console: ConsolePage) -> None:
    console.expected.append(REFUSED)
    page = console.open()
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")
    page.get_by_label("Organization").select_option(label="Another API key…")
    page.get_by_role("textbox", name="API key").fill("evr_" + "x" * 32)
    page.get_by_role("textbox", name="API key").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("401 unauthorized")
    expect(page.get_by_role("alert")).to_contain_text("missing, unknown, expired or revoked")
    assert rows(page) == []
    expect(page.get_by_role("navigation", name="Pages")).to_be_hidden()
    expect(page.locator("#cost")).to_be_hidden()
    assert "evr_" not in page.url
    page.get_by_label("Organization").select_option(ORGANIZATION)
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.get_by_role("textbox", name="API key")).to_be_hidden()


def test_a_typed_key_lives_as_long_as_the_tab(console: ConsolePage) -> None:
    console.expected.append(REFUSED)
    page = console.open()
    page.get_by_label("Organization").select_option(label="Another API key…")
    page.get_by_role("textbox", name="API key").fill("evr_local_" + SECOND_ORGANIZATION.removeprefix("org_"))
    page.get_by_role("textbox", name="API key").press("Enter")
    expect_page(page, 1, 4, "1 to 20 of 72 sessions")
    page.reload()
    expect_page(page, 1, 4, "1 to 20 of 72 sessions")


def test_a_wrong_agent_is_told_in_the_words_of_the_api(console: ConsolePage) -> None:
    console.expected.append(REFUSED)
    page = console.open()
    page.get_by_label("Agent", exact=True).fill("nobody")
    page.get_by_label("Agent", exact=True).press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("400 invalid_parameter")
    expect(page.get_by_label("Agent", exact=True)).to_have_value("nobody")
    assert rows(page) == []


def test_texts_of_sessions_are_never_markup(console: ConsolePage, running: Running) -> None:
    organization_id = "org_" + uuid.uuid4().hex
    entry = session(1, organization_id=organization_id, title="<img src=x onerror=alert(1)>", tags=["<b>"])
    dynamodb = boto3.client("dynamodb", endpoint_url=running.dynamodb_url)
    dynamodb.put_item(TableName="sessions", Item=item_of(entry))
    console.page.wait_for_timeout(500)
    page = console.open(f"/?org={organization_id}")
    expect(page.locator("#rows .title")).to_have_text("<img src=x onerror=alert(1)>")
    assert page.locator("#rows img, #rows b").count() == 0


@pytest.fixture
def engine_and_api() -> Iterator[tuple[Running, Running]]:
    """A local API whose engine is another process."""
    with (
        local_api() as engine,
        local_api(AWS_ENDPOINT_URL_DYNAMODB=engine.dynamodb_url, DATA="") as api,
    ):
        yield engine, api


def test_a_stopped_engine_replaces_the_result(watch: Open, engine_and_api: tuple[Running, Running]) -> None:
    engine, api = engine_and_api
    console = watch(url=api.url)
    console.expected.append(UNREACHABLE)
    page = console.open()
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")
    engine.process.kill()
    engine.process.wait(timeout=10)
    pager(page, "Last")
    expect(page.get_by_role("alert")).to_contain_text("503 unavailable", timeout=30_000)
    assert rows(page) == []
    api.process.kill()
    api.process.wait(timeout=10)
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("alert")).to_contain_text("No response")


def test_without_sessions_it_says_where_they_come_from(watch: Open) -> None:
    with local_api(DATA="") as api:
        page = watch(url=api.url).open()
        expect(page.get_by_role("heading", name="No sessions yet")).to_be_visible()
        page.wait_for_load_state("networkidle")  # the API ends before the window does


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize(
    "address", ["/?page=12", "/?page=12&session=first", "/?page=99", "/docs", "/nowhere"],
    ids=["list", "details", "message", "reference", "lost"],
)  # fmt: skip
def test_nothing_scrolls_sideways(watch: Open, viewport: dict[str, int], scheme: str, address: str) -> None:
    window = watch(viewport=viewport, scheme=scheme)
    window.expected.append(REFUSED)
    page = window.open(address.replace("&session=first", ""))
    page.wait_for_load_state("networkidle")
    if "session=" in address:
        page.locator("#rows tr").nth(1).click()
        expect(page.get_by_role("dialog")).to_be_visible()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(245, 246, 249)", "dark": "rgb(18, 20, 27)"}[scheme]
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_narrow_screen_has_cards(watch: Open) -> None:
    page = watch(viewport=NARROW).open()
    expect_page(page, 1, 24, "1 to 20 of 480 sessions")
    boxes = [page.locator("#rows tr").nth(0).locator("td").nth(cell).bounding_box() for cell in (1, 3, 4)]
    assert all(box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)
    expect(page.get_by_role("row").nth(1)).to_be_visible()
    pager(page, "Next")
    expect_page(page, 2, 24, "21 to 40 of 480 sessions")


def test_the_picture_of_the_console_in_the_documents_is_small() -> None:
    picture = Path(__file__).parents[2] / "docs" / "console.png"
    assert picture.stat().st_size < 200_000
