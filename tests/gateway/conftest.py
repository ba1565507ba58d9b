"""What the gateway's tests share: the event loops, a running gateway, and a ledger."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from gateway.flow import Deadlines
from gateway.store.database import Database
from tests.gateway.admitting import Clock, Shaky
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
    limits = {
        "max_body_bytes": "20000", "max_file_bytes": "300000",
        "first_token_timeout_s": "1", "idle_timeout_s": "1",
    }  # fmt: skip
    home = tmp_path_factory.mktemp("gateway")
    with running_gateway(home, embedder="", body_timeout_s="1", **limits) as running:
        yield running


@pytest.fixture
def ledger(empty_store: Path, tmp_path: Path) -> Iterator[Shaky]:
    """An empty ledger that can be made to fail."""
    shutil.copy(empty_store, tmp_path / "x.db")
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    yield Shaky(database)
    database.close()


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until it is set."""
    return Clock()


@pytest.fixture
def quick_admission(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Admission that tidies often, and refuses at once but where the test is about that."""
    monkeypatch.setattr("gateway.admission._TICK_S", 0.05)
    # With grace: what another worker gives back is told within 0.1 s, or later on a busy machine.
    pauses = (0.03, 0.05, 0.08, 1.0, 2.0) if "grace" in request.node.name else ()
    monkeypatch.setattr("gateway.admission._GRACE_S", pauses)


@pytest.fixture(scope="session")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway with little patience and few connections."""
    limits = {
        "header_timeout_s": "0.5", "body_timeout_s": "0.6", "keep_alive_s": "1",
        "max_connections": "6", "idle_timeout_s": "1.5",
    }  # fmt: skip
    home = tmp_path_factory.mktemp("strict")
    with running_gateway(home, embedder="", **limits) as running:
        yield running


@pytest.fixture
async def deadlines() -> AsyncIterator[Deadlines]:
    """The clock of flows, ticking."""
    deadlines = Deadlines()
    deadlines.start()
    yield deadlines
    deadlines.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what needs the second gateway to `make test`."""
    for item in items:
        if "strict" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
