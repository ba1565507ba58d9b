"""Keeps what a worker knows in step with the store: keys, aliases, releases and engines.

A worker answers from memory. A store that is away is noted in a metric and tried again; known keys
and routes go on working meanwhile.
"""

import asyncio
import logging
import time
from collections.abc import Mapping

from gateway.auth import KeyRing
from gateway.grounding.reading import BooksReader, Read
from gateway.grounding.stage import GroundingStage
from gateway.metrics import Metrics
from gateway.routing import Routes
from gateway.store.changes import Changes
from gateway.store.database import Database, StoreError
from gateway.store.engines import Engine, Engines
from gateway.store.keys import ApiKey, Keys
from gateway.store.releases import Release, Releases, Target

_log = logging.getLogger(__name__)
# A store that seems unchanged is read so often all the same, in seconds: it may be another one.
_READ_S = 1.0
_World = tuple[
    list[ApiKey], Mapping[str, tuple[Target, ...]], list[Release], list[Engine], Read | None
]


class Refresher:
    """Reads the store every `period_s` seconds; one that nobody has written to, once a second.

    Attributes:
        store_up: Whether the last read succeeded.
    """

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        routes: Routes,
        metrics: Metrics,
        period_s: float,
        reader: BooksReader | None = None,
        grounding: GroundingStage | None = None,
    ) -> None:
        self._reader = reader
        self._grounding = grounding
        self._stores = Keys(database), Releases(database), Engines(database)
        self._changes = Changes(database)
        self._read_again_at = 0.0
        self._keys = keys
        self._routes = routes
        self._metrics = metrics
        self._period_s = period_s
        self._known = asyncio.Event()
        self.store_up = False

    async def run(self) -> None:
        """Read until cancelled."""
        try:
            while True:
                await self._refresh()
                await asyncio.sleep(self._period_s)
        finally:
            self._changes.close()

    async def _refresh(self) -> None:
        try:
            world = await asyncio.to_thread(self._read)
        except StoreError as error:
            if self.store_up or not self._known.is_set():
                _log.warning("the store cannot be read: %s", error)
            self.store_up = False
        else:
            if not self.store_up and self._known.is_set():
                _log.warning("the store is back")
            self.store_up = True
            if world is not None:
                self._take(world)
        self._metrics.store_up.set(1 if self.store_up else 0)

    async def known(self) -> None:
        """Wait until the store was read for the first time."""
        await self._known.wait()

    def _read(self) -> _World | None:
        """Return what the store says; None where that is known."""
        # Looked at before it is read: what is written meanwhile is seen the next time.
        if not self._changes.any() and time.monotonic() < self._read_again_at:
            return None
        self._read_again_at = 0.0
        keys, releases, engines = self._stores
        read = None if self._reader is None else self._reader.read()
        world = keys.all(), releases.aliases(), releases.all(), engines.all(), read
        self._read_again_at = time.monotonic() + _READ_S
        return world

    def _take(self, world: _World) -> None:
        keys, aliases, releases, engines, read = world
        self._keys.load(keys)
        self._routes.update(aliases, releases, engines)
        self._metrics.show_engines(engines)
        if read is not None and self._grounding is not None:
            self._grounding.learn(read.books)
            self._metrics.retrieval.show(read.benefits)
        self._known.set()
