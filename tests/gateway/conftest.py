"""What the gateway's tests share: the event loops, and a running gateway."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop

from tests.gateway.running import RunningGateway, running_gateway


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the client to engines on asyncio's loop and on uvloop, which the gateway uses."""
    if item.path.name == "test_upstream.py":
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway over the stub engine, with short limits, shared by all tests."""
    limits = {"max_body_bytes": "20000", "first_token_timeout_s": "1", "idle_timeout_s": "1"}
    home = tmp_path_factory.mktemp("gateway")
    with running_gateway(home, embedder="", body_timeout_s="1", **limits) as running:
        yield running
