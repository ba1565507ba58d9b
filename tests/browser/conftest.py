"""The world of the browser tests: one seeded gateway, and Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.driving import Visitor, chromium
from tests.browser.world import World, seeded_gateway

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / ".driftgate" / "screenshots"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A gateway over a store with a believable history; tests of one file share it."""
    _need_chromium()
    with seeded_gateway(tmp_path_factory.mktemp("console"), requests=240) as running:
        yield running


# Of a file, not of the session: Playwright keeps an event loop running in this thread as long as
# it lives, and tests that run loops of their own come after.
@pytest.fixture(scope="module")
def visitor(world: World) -> Iterator[Visitor]:
    """A browser at the console; what it complains of in the console of a page fails the test."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        yield Visitor(browser, world, SCREENSHOTS)


@pytest.fixture(autouse=True)
def _quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "visitor" in request.fixturenames:
        visitor: Visitor = request.getfixturevalue("visitor")
        complaints = visitor.leave()
        assert complaints == []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a browser."""
    for item in items:
        if "visitor" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


def _need_chromium() -> None:
    if shutil.which("chromium") is None:
        reason = "Chromium is not installed (Debian: apt-get install chromium)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
