import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from gateway.store.releases import Release, Releases
from tests.gateway.rating.raters import Begin, Person
from tests.gateway.running import RunningGateway


@pytest.fixture(autouse=True)
def candidate(gateway: RunningGateway) -> None:
    """A release that can be compared with the one that is served."""
    made = Release("compared-2", "m", "r", "", {}, time.time())
    Releases(gateway.database).register(made)


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Opens links in browsers of their own, and begins."""
    with ExitStack() as browsers:

        def opened(url: str) -> Person:
            client = browsers.enter_context(httpx.Client(follow_redirects=True))
            return Person(client, client.post(url))

        yield opened
