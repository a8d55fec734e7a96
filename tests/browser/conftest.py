"""Fixtures for tests in a real browser: Debian's Chromium, driven by Playwright; screenshots are kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.running import ROOT, Running

try:
    from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
except ImportError:  # `make test-browser` installs it
    collect_ignore_glob = ["*"]

CHROMIUM = "/usr/bin/chromium"
# Without a GPU its emulation is one more process that can hang.
SWITCHES = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SCREENSHOTS = ROOT / "build" / "screenshots"

REFUSED = "Failed to load resource: the server responded with a status of 4"
UNREACHABLE = "Failed to load resource:"


class ConsolePage:
    """A page whose console is watched: an error that a test did not announce fails it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.expected: list[str] = []
        """How messages begin that a test expects, such as the browser's own of a failed request."""
        self.errors: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, address: str = "/") -> Page:
        """Goes to an address of the local API."""
        self.page.goto(self.url + address)
        return self.page

    def unexpected(self) -> list[str]:
        return [each for each in self.errors if not each.startswith(tuple(self.expected))]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)


Open = Callable[..., ConsolePage]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    if not Path(CHROMIUM).exists():
        pytest.fail(f"{CHROMIUM} is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture
def watch(browser: Browser, running: Running, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens windows; each is photographed at the end, and its console must be clean."""
    opened: list[ConsolePage] = []

    def begin(url: str | None = None) -> ConsolePage:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
        context.set_default_timeout(10_000)
        watched = ConsolePage(context.new_page(), url or running.url)
        opened.append(watched)
        return watched

    yield begin
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w]+", "-", request.node.name).strip("-")
    unexpected = []
    for number, watched in enumerate(opened):
        watched.page.screenshot(path=SCREENSHOTS / f"{name}{f'-{number}' if number else ''}.png")
        unexpected += watched.unexpected()
        watched.page.context.close()
    assert unexpected == []


@pytest.fixture
def console(watch: Open) -> ConsolePage:
    """The window of most tests: wide and light."""
    return watch()
