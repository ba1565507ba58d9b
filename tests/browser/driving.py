"""Drives Debian's Chromium through the console; the only file that imports Playwright."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    StorageState,
    ViewportSize,
    sync_playwright,
)

from tests.browser.world import World

_AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
# Rows after the first are made of the same parts; axe takes 50 ms for each.
_MORE_OF_THE_SAME = [["tbody tr:nth-child(n+6)"], ["main > .card:nth-of-type(n+5)"]]
_SERIOUS = ("serious", "critical")
DESK, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=390, height=844)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium; as root, as in a container, it runs without its sandbox."""
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=options)
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """People at the console: each log-in is a browser context of its own.

    Args:
        browser: Chromium.
        world: The gateway.
        screenshots: Where pictures of pages are kept.
    """

    def __init__(self, browser: Browser, world: World, screenshots: Path) -> None:
        self.world = world
        self._browser = browser
        self._screenshots = screenshots
        self._contexts: list[BrowserContext] = []
        self._complaints: list[str] = []
        self._sessions: dict[str, StorageState] = {}
        # What a test is about: the browser reports each answer of 400 and above as an error.
        self.expected = 0

    def page(self) -> Page:
        """Open the log-in page as somebody who was never here."""
        page = self._page(None)
        page.goto(f"{self.world.url}/login")
        return page

    def log_in(self, key: str | None = None) -> Page:
        """Return a page of somebody who has logged in: the administrator, or another key."""
        key = key or self.world.seeded.admin
        if key in self._sessions:
            return self._page(self._sessions[key])
        page = self.page()
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"{self.world.url}/")
        self._sessions[key] = page.context.storage_state()
        return page

    def open(self, page: Page, path: str) -> None:
        """Go to a page of the console, which must be there."""
        answer = page.goto(f"{self.world.url}{path}")
        assert answer is not None
        assert answer.status == 200, path

    def picture(self, page: Page, name: str, *, whole: bool = True) -> None:
        """Keep a picture of a page, or of the part of it that the screen shows."""
        page.screenshot(path=self._screenshots / f"{name}.png", full_page=whole)

    def leave(self) -> list[str]:
        """Close all pages; returns what they complained of."""
        for context in self._contexts:
            context.close()
        complaints, self._complaints, self._contexts = self._complaints, [], []
        expected, self.expected = self.expected, 0
        told = [text for text in complaints if not (expected and f"status of {expected}" in text)]
        return told

    def _page(self, session: StorageState | None) -> Page:
        # What fades in has no final colours yet.
        context = self._browser.new_context(
            viewport=DESK, reduced_motion="reduce", storage_state=session
        )
        context.set_default_timeout(15_000)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self._complaints.append(str(error)))
        return page

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._complaints.append(f"{message.type}: {message.text}")


def barriers(page: Page, *rules: str) -> list[str]:
    """Return what axe-core finds that keeps people out: serious and critical, with the place.

    Args:
        page: The page.
        rules: Only these of its rules; none: all.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(f"{_AXE}; null")
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = list(rules)
    found: dict[str, Any] = page.evaluate(
        "([rows, options]) => axe.run({exclude: rows}, options)", [_MORE_OF_THE_SAME, options]
    )
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in _SERIOUS
        for node in each["nodes"][:3]
    ]
