"""Keeps collections cheap to search: opens them before they are asked for, compacts in time."""

import asyncio
import logging
import time

from retrieval.collection import Collection
from retrieval.database import CorruptIndex, IndexMismatch, IndexProblem
from retrieval.library import Library, NoCollection, Refused

_log = logging.getLogger(__name__)
_EVERY_S = 0.5
_RETRY_S = 60.0


class Upkeep:
    """Looks after collections in the background, one at a time.

    Args:
        library: The collections.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._running: dict[str, asyncio.Task[None]] = {}
        self._rest_until: dict[str, float] = {}

    async def run(self) -> None:
        """Open what is there, so that no search waits for it; then compact what asks for it."""
        try:
            names = await asyncio.to_thread(self._library.names)
        except Refused:
            return  # only embeddings are served
        for name in names:
            await self._look_at(name)
        while True:
            await asyncio.sleep(_EVERY_S)
            for name in list(self._library.touched):
                if time.monotonic() >= self._rest_until.get(name, 0.0):
                    self._library.touched.discard(name)
                    await self._look_at(name)

    async def compact(self, name: str) -> None:
        """Compact a collection, together with whoever asks for the same meanwhile.

        Raises:
            NoCollection: There is none.
            IndexProblem: It cannot be used, or the compaction failed; it goes on as before.
        """
        running = self._running.get(name)
        if running is None:
            collection = await self._library.read(self._library.open, name)
            running = self._running.get(name) or self._start(collection)
        await asyncio.shield(running)

    async def settled(self, name: str) -> None:
        """Wait until no compaction of a collection runs."""
        running = self._running.get(name)
        if running is not None:
            await asyncio.wait({running})

    async def _look_at(self, name: str) -> None:
        self._rest_until.pop(name, None)
        try:
            collection = await self._library.compact(self._library.open, name)
            if collection.wants_compaction():
                await self.compact(name)
        except (NoCollection, IndexMismatch, CorruptIndex):
            pass  # dropped meanwhile, or unusable, which the library has told
        except (IndexProblem, OSError) as error:
            # Without this a full disk would be filled by one attempt after the other.
            _log.error("the upkeep of the collection %s failed: %s", name, error)
            self._rest_until[name] = time.monotonic() + _RETRY_S
            self._library.touched.add(name)

    def _start(self, collection: Collection) -> asyncio.Task[None]:
        running = asyncio.create_task(self._compact(collection))
        self._running[collection.name] = running
        running.add_done_callback(lambda _: self._running.pop(collection.name, None))
        return running

    async def _compact(self, collection: Collection) -> None:
        try:
            await self._library.compact(collection.compact)
        except Exception:
            self._library.count("compaction_failures")
            raise
        self._library.count("compactions")
