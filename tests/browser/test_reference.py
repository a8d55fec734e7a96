"""The reference in a real browser: Swagger UI with a demo key that works."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import ConsolePage


def test_the_reference_calls_the_api_with_a_demo_key(console: ConsolePage) -> None:
    page = console.open("/docs/")
    expect(page).to_have_url(re.compile("/docs$"))
    page.get_by_role("button", name="Execute").click()
    response = page.locator(".live-responses-table")
    expect(response.locator(".response-col_status").nth(1)).to_have_text(re.compile("200"))
    expect(response).to_contain_text('"total": 480')
    page.get_by_label("Try it with the demo key of").select_option("evr_local_00000000000000000000000000000003")
    page.get_by_role("button", name="Execute").click()
    expect(response).to_contain_text('"total": 12')


def test_the_reference_describes_fields_errors_and_the_key(console: ConsolePage) -> None:
    page = console.open("/docs")
    for status in ("200", "400", "401", "403", "404", "405", "429", "500", "503"):
        expect(page.locator(f'.responses-table [data-code="{status}"]').first).to_be_visible()
    expect(page.get_by_role("button", name="Authorize", exact=True).first).to_be_visible()
    for schema in ("Page", "Session", "Capability", "Usage", "Error"):
        expect(page.locator("section.models").get_by_role("button", name=schema, exact=True).first).to_be_visible()
