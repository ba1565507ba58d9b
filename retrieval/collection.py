"""A collection: the current generation and the delta, searched together, written one at a time.

What is added or removed is durable before a call returns, and found from then on. Searches look at
a view that never changes, and take no lock.

    lock                    held by the one process that writes
    current                 the name of the current generation
    generations/g00000007/  see `generation.py`; the one before is kept, in case this one is damaged
    journal/00000009.journal
"""

import contextlib
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from retrieval import compaction, recovery
from retrieval.database import IndexBusy, IndexProblem, Vector, Vectors
from retrieval.durable import sync_folder
from retrieval.generation import Generation
from retrieval.journal import Journal, Reader, Record
from retrieval.records import CollectionStats, Entry, Hit, Search
from retrieval.retriever import nearest, retrieve
from retrieval.state import State, as_record

_SMALL = 2_000  # rows that the delta may have, or that may be dead, whatever the generation's size
_SHARE = 0.25  # of the generation
_LARGE = 50_000  # rows; an exact search of them takes about 5 ms


class Collection:
    """The `VectorDatabase` that comes along. Its methods may be called from several threads.

    Args:
        folder: Its folder; its name is the collection's.
        embedder: The id of the embedder of its vectors.
        dimensions: Length of a vector.

    Raises:
        IndexBusy: Another process writes it.
        IndexMismatch: Its vectors are another embedder's.
        CorruptIndex: No generation is whole.
    """

    def __init__(self, folder: Path, embedder: str, dimensions: int) -> None:
        self.name = folder.name
        self._folder, self._embedder, self._dimensions = folder, embedder, dimensions
        self._lock_file = locked(folder)
        try:
            (folder / "generations").mkdir(exist_ok=True)
            found = recovery.recover(folder, embedder, dimensions)
            self._state = found.state
            self._journal = Journal(folder / "journal", embedder, dimensions, found.end)
        except BaseException:
            os.close(self._lock_file)
            raise
        self._fallbacks = found.damages
        self._repair = found.damages > 0
        self._view = self._state.view()
        self._writing = threading.Lock()
        self._compacting = threading.Lock()
        self._closed = False

    @property
    def generation(self) -> str:
        """The name of the generation that is searched; empty: there is none yet."""
        return self._view.generation

    def upsert(self, entries: Sequence[Entry], vectors: Sequence[Vectors]) -> None:
        record = as_record(time.time(), list(entries), list(vectors), self._dimensions)
        if record.entries:
            with self._open_for_writing():
                self._do(record)

    def remove(self, *, documents: Sequence[str] = (), file_id: str | None = None) -> int:
        with self._open_for_writing():
            there = self._state.living(documents=tuple(documents), file_id=file_id)
            if there:
                self._do(Record(kind="remove", at=time.time(), documents=there))
            return len(there)

    def search(self, search: Search, vector: Vector | None) -> list[Hit]:
        now = time.time() if search.now is None else search.now
        return retrieve(self._view, self.name, search, vector, now)

    def nearest(self, vector: Vector) -> float | None:
        return nearest(self._view, vector, time.time())

    def stats(self) -> CollectionStats:
        with self._writing:
            state, view = self._state, self._view
            now = time.time()
            newest = [at for part in view.segments if (at := part.newest(now)) is not None]
            rows = sum(int(part.validity.alive[part.owners].sum()) for part in view.segments)
            return CollectionStats(
                name=self.name,
                documents=sum(int(part.validity.alive.sum()) for part in view.segments),
                passages=rows,
                generation=view.generation,
                delta_passages=state.delta.rows,
                tombstones=sum(part.rows for part in view.segments) - rows,
                bytes=state.delta.bytes + (state.generation.size if state.generation else 0),
                embedder=self._embedder,
                newest=max(newest, default=None),
                compacting=self._compacting.locked(),
                fallbacks=self._fallbacks,
            )

    def wants_compaction(self) -> bool:
        view = self._view
        kept = view.segments[0].rows if view.generation else 0
        allowed = min(max(_SMALL, _SHARE * kept), _LARGE)
        if self._repair or view.segments[-1].rows > allowed:
            return True
        if not view.generation:
            return False
        validity, owners = view.segments[0].validity, view.segments[0].owners
        dead = kept - int(validity.alive[owners].sum())
        return dead > max(_SMALL, _SHARE * kept)

    def compact(self) -> None:
        with self._compacting:
            with self._open_for_writing():
                base = self._state.generation
                through = self._journal.rotate()
            name = recovery.next_name(self._folder)
            building = self._folder / "generations" / f"building-{name}-{os.getpid()}"
            try:
                compaction.run(
                    compaction.Order(
                        folder=str(self._folder),
                        into=str(building),
                        base=base.name if base else "",
                        through=through,
                        embedder=self._embedder,
                        dimensions=self._dimensions,
                    )
                )
                built = self._moved(building, name)
            except BaseException:
                shutil.rmtree(building, ignore_errors=True)
                raise
            self._take(built, base)

    def close(self) -> None:
        with self._writing:
            if not self._closed:
                self._closed = True
                self._journal.close()
                os.close(self._lock_file)

    def _moved(self, building: Path, name: str) -> Generation:
        folder = self._folder / "generations" / name
        building.rename(folder)
        sync_folder(folder.parent)
        try:
            built = Generation(folder, self._embedder, self._dimensions)
            base = self._state.generation
            built.columns.prepare(base.columns.keys if base else set(), len(built.validity))
            return built
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _take(self, built: Generation, base: Generation | None) -> None:
        """Go over to a new generation; what was written while it was built is replayed on it."""
        state = State(built, self._dimensions)
        reader = Reader(self._folder / "journal", built.manifest.journal)
        recovery.replay(state, reader, self._embedder, self._dimensions)  # most of it
        with self._open_for_writing():
            recovery.replay(state, reader, self._embedder, self._dimensions)  # and the rest
            recovery.point_to(self._folder, built.name)
            self._state, self._view, self._repair = state, state.view(), False
            recovery.discard_before(self._folder, built, base)

    def _do(self, record: Record) -> None:
        self._journal.append(record)
        self._state.apply(record)
        self._view = self._state.view()

    @contextlib.contextmanager
    def _open_for_writing(self) -> Iterator[None]:
        with self._writing:
            if self._closed:
                raise IndexProblem(f"the collection {self.name} is closed")
            yield


def locked(folder: Path) -> int:
    """Return an open file that keeps others from writing a collection until it is closed.

    Raises:
        IndexBusy: Another process, or another part of this one, writes it.
    """
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise IndexBusy(f"another process writes the collection {folder.name}") from None
    return descriptor
