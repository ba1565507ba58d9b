"""A gateway over the seeded store with stub engines, for tests and for `scripts/screenshots.py`."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.store.database import Database
from gateway.store.engines import Engine, Engines, EngineState
from tests.browser.seeding import Seeded, seed
from tests.browser.seeding_traffic import NEW, OLD
from tests.gateway.running import RunningGateway, echo_engine, gateway_over


@dataclass(frozen=True)
class World:
    """A gateway, and what its store was filled with."""

    gateway: RunningGateway
    seeded: Seeded

    @property
    def url(self) -> str:
        """Where the console is."""
        return f"{self.gateway.url}/console"


@contextlib.contextmanager
def seeded_gateway(home: Path, requests: int = 900) -> Iterator[World]:
    """Run a gateway over a seeded store in `home`; blue and green are stub engines."""
    database = Database(f"sqlite:///{home / 'driftgate.db'}")
    database.migrate()
    seeded = seed(database, home, requests)
    with contextlib.ExitStack() as stack:
        stack.callback(database.close)
        for slot, release in (("blue", OLD), ("green", NEW)):
            address = stack.enter_context(echo_engine(home / f"{slot}.sock", release))
            Engines(database).put(
                Engine(
                    slot, "vm-1", release, address, EngineState.READY, None, 0, None, time.time()
                )
            )
        running = stack.enter_context(gateway_over(database, seeded.admin, home, embedder=""))
        yield World(running, seeded)
