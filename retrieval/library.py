"""The service's collections behind asyncio: which threads work on them, and which are unusable."""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

from retrieval.collection import Collection
from retrieval.collections import Collections
from retrieval.database import CorruptIndex, IndexMismatch, IndexProblem
from retrieval.embedder import Embedder
from retrieval.records import CollectionStats

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
# An unusable collection is looked at again after this: to find that out reads all of its files.
_RETRY_S = 60.0
_EVENTS = (
    "searches", "reranked_searches", "rerank_failures", "documents_added", "documents_removed",
    "compactions", "compaction_failures", "failures", "corrupt_files", "lost_collections",
    "mismatched_collections",
)  # fmt: skip


class Refused(Exception):
    """The request is not allowed here."""


class NoCollection(KeyError):
    """There is no collection of that name."""

    def __str__(self) -> str:
        return f"there is no collection {self.args[0]}"


class Library:
    """Opens collections, and runs what is done with them in threads.

    Searches run beside each other and beside writes. Writes to one collection come one after the
    other (`lock`). Compaction has a thread of its own.

    Attributes:
        touched: Collections that were written to; `retrieval.upkeep` takes them out.

    Args:
        folder: Folder of the collections; None: there are none, and none may be made.
        embedder: The embedder of all vectors.
    """

    def __init__(self, folder: Path | None, embedder: Embedder) -> None:
        self.touched: set[str] = set()
        self._collections = (
            None if folder is None else Collections(folder, embedder.id, embedder.dimensions)
        )
        self._readers = ThreadPoolExecutor(4, "search")
        self._writers = ThreadPoolExecutor(4, "write")
        self._compacting = ThreadPoolExecutor(1, "compact")
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # What may be counted is shown from the start: an alert sees no rise of what was not there.
        self._counters: Counter[str] = Counter(dict.fromkeys(_EVENTS, 0))
        self._noting = threading.Lock()
        self._opened: set[str] = set()
        self._unusable: dict[str, tuple[float, IndexProblem]] = {}

    def open(self, name: str, create: bool = False) -> Collection:
        """Return a collection; its first opening is counted where something was damaged.

        Raises:
            NoCollection: There is none of that name, and none is to be made.
            Refused: It is no name for a collection, or the service has none.
            IndexProblem: It cannot be used; the message names it and says why.
        """
        known = self._unusable.get(name)
        if known is not None and time.monotonic() < known[0]:
            raise type(known[1])(str(known[1]))
        try:
            collection = self._all().open(name, create=create)
        except KeyError:
            raise NoCollection(name) from None
        except ValueError as error:
            raise Refused(str(error)) from None
        except (IndexMismatch, CorruptIndex) as error:
            self._note_unusable(name, error)
            raise
        if name not in self._opened:
            self._note_opened(name, collection)
        return collection

    def drop(self, name: str) -> None:
        """Delete a collection, if there is one."""
        self._all().drop(name)
        with self._noting:
            self._opened.discard(name)
            self._unusable.pop(name, None)

    def names(self) -> list[str]:
        """Return the names of all collections, the unusable ones too."""
        return self._all().names()

    def stats(self, name: str | None) -> tuple[CollectionStats, ...]:
        """Return the state of one collection (nothing where there is none), or of all."""
        found = []
        for each in self.names() if name is None else [name]:
            try:
                found.append(self.open(each).stats())
            except NoCollection:
                pass
            except IndexProblem as error:
                found.append(CollectionStats(name=each, problem=str(error)))
        return tuple(found)

    def count(self, what: str, number: int = 1) -> None:
        """Add to a counter."""
        with self._noting:
            self._counters[what] += number

    def counters(self) -> dict[str, int]:
        """Return what has been counted since the service started."""
        with self._noting:
            return dict(self._counters)

    def lock(self, name: str) -> asyncio.Lock:
        """Return what a collection's writers hold."""
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock

    async def read(self, work: Callable[..., _T], *arguments: object) -> _T:
        """Run what only reads."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, work, *arguments)

    async def write(self, work: Callable[..., _T], *arguments: object) -> _T:
        """Run what writes; where the caller is cancelled, it ends before the caller does.

        So nothing is written any more once the caller has let go of `lock`.
        """
        running = self._writers.submit(work, *arguments)
        result = asyncio.wrap_future(running)
        try:
            return await asyncio.shield(result)
        except asyncio.CancelledError:
            if not running.cancel():
                await asyncio.wait({result})
                result.exception()  # looked at, so that asyncio does not complain
            raise

    async def compact(self, work: Callable[..., _T], *arguments: object) -> _T:
        """Run what may take minutes."""
        return await asyncio.get_running_loop().run_in_executor(self._compacting, work, *arguments)

    def close(self) -> None:
        """Close all collections; nothing waits for a compaction under way."""
        if self._collections is not None:
            self._collections.close()
        for pool in (self._readers, self._writers, self._compacting):
            pool.shutdown(wait=False, cancel_futures=True)

    def _all(self) -> Collections:
        if self._collections is None:
            raise Refused("the service was started without a folder of indexes")
        return self._collections

    def _note_unusable(self, name: str, error: IndexProblem) -> None:
        with self._noting:
            if name not in self._unusable:
                mismatch = isinstance(error, IndexMismatch)
                self._counters["mismatched_collections" if mismatch else "lost_collections"] += 1
                _log.error("the collection %s cannot be used: %s", name, error)
            self._unusable[name] = (time.monotonic() + _RETRY_S, error)

    def _note_opened(self, name: str, collection: Collection) -> None:
        damaged = collection.stats().fallbacks
        with self._noting:
            if name in self._opened:
                return
            self._opened.add(name)
            self._unusable.pop(name, None)
            self._counters["corrupt_files"] += damaged
        if damaged:
            _log.error(
                "%d damaged parts of the collection %s were passed over; it serves generation %s",
                damaged, name, collection.generation or "0, the journal",
            )  # fmt: skip
