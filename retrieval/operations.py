"""What the service does for each request, on its collections.

Searches run beside each other. Writes to one collection come one after the other, and compaction
runs in the background when a collection asks for it.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from retrieval.collection import Collection
from retrieval.collections import Collections
from retrieval.database import IndexProblem, Vector
from retrieval.embedder import Embedder
from retrieval.ingest import IngestOptions, LoadError, Progress, ingest
from retrieval.passages import embedded_text, text_of
from retrieval.records import Entry, Found, Hit, Search
from retrieval.requests import (
    AddEntries,
    AddFile,
    Answer,
    Compact,
    Counts,
    Drop,
    Embed,
    Find,
    Info,
    Read,
    Remove,
    Request,
    Stats,
    Text,
)
from retrieval.scheduler import Scheduler

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
# Passages that are embedded and written at once; a document is never divided.
_TOGETHER = 64
_UPKEEP_S = 0.5
_RETRY_S = 60.0


class Refused(Exception):
    """The request is not allowed here."""


class Operations:
    """The collections, behind asyncio.

    Args: as of `retrieval.service.RetrievalService`.
    """

    def __init__(
        self,
        embedder: Embedder,
        scheduler: Scheduler,
        indexes: Path | None,
        files: Path | None,
        tokenizer: str,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._embedder = embedder
        self._scheduler = scheduler
        self._files = None if files is None else files.resolve()
        self._tokenizer = tokenizer
        self._collections = (
            None if indexes is None else Collections(indexes, embedder.id, embedder.dimensions)
        )
        self._readers = ThreadPoolExecutor(4, "search")
        self._writers = ThreadPoolExecutor(4, "write")
        self._compacting = ThreadPoolExecutor(1, "compact")
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        # What is being added now: collection, file, and the task that does it.
        self._adding: dict[asyncio.Task[object], tuple[str, str]] = {}
        self._in_compaction: dict[str, asyncio.Task[None]] = {}
        self._rest_until: dict[str, float] = {}
        self._touched: set[str] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the collections up while the block runs; afterwards they are closed."""
        upkeep = asyncio.create_task(self._upkeep())
        try:
            yield
        finally:
            tasks: list[asyncio.Task[object]] = [upkeep, *self._adding]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._collections is not None:
                await asyncio.to_thread(self._collections.close)
            for pool in (self._readers, self._writers, self._compacting):
                pool.shutdown(wait=False, cancel_futures=True)

    async def answer(self, request: Request) -> Answer:
        """Do what a request other than AddFile asks.

        Raises:
            KeyError: There is no such collection.
            IndexProblem, Overloaded, EmbeddingFailed, LoadError, Refused: As they say.
        """
        match request:
            case Info():
                return Answer(
                    request.id,
                    embedder=self._embedder.id,
                    dimensions=self._embedder.dimensions,
                    counters=dict(self.counters),
                )
            case Embed():
                vectors, tokens = await self._scheduler.embed(request.texts)
                rows = [row.tobytes() for row in vectors]
                return Answer(request.id, vectors=rows, tokens=sum(tokens))
            case Find():
                return Answer(request.id, found=await self._find(request.search))
            case AddEntries():
                counts = await self._add(request.collection, request.entries, Counts())
                return Answer(request.id, counts=counts)
            case Read():
                return Answer(request.id, texts=await self._read(request))
            case Remove():
                return Answer(request.id, removed=await self._remove(request))
            case Stats():
                return await self._stats(request)
            case Compact():
                await self._in_thread(self._readers, self._open, request.collection)
                await self._compact(request.collection)
                return Answer(request.id)
            case Drop():
                await self._drop(request.collection)
                return Answer(request.id)
        raise Refused(f"{type(request).__name__} is not answered")

    async def add_file(self, request: AddFile, note: Callable[[Counts], None]) -> Answer:
        """Add a file, document by document; `note` hears how far it is.

        Raises:
            LoadError: The file cannot be read; nothing of it stays.
            Refused: It lies outside the folder of files.
        """
        path = self._allowed(request.path)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._adding[task] = (request.collection, request.options.file_id)
        counts = Counts()

        def on_progress(progress: Progress) -> None:
            nonlocal counts
            counts = msgspec.structs.replace(
                counts, read=progress.done, total=progress.total, unit=progress.unit
            )
            note(counts)

        waiting: list[Entry] = []
        try:
            async with contextlib.aclosing(
                ingest(path, self._cut(request.options), on_progress=on_progress)
            ) as entries:
                async for entry in entries:
                    waiting.append(entry)
                    if sum(len(each.passages) for each in waiting) >= _TOGETHER:
                        counts = await self._add(request.collection, waiting, counts, note)
                        waiting = []
            counts = await self._add(request.collection, waiting, counts, note)
        except LoadError as error:
            if not error.partial:
                if request.options.file_id:
                    gone = Remove(0, request.collection, file_id=request.options.file_id)
                    await self._remove(gone, among_others=False)
                raise
            counts = await self._add(request.collection, waiting, counts, note)
            counts = msgspec.structs.replace(counts, error=str(error))
        finally:
            self._adding.pop(task, None)
        return Answer(request.id, counts=counts)

    async def _add(
        self,
        name: str,
        entries: Sequence[Entry],
        counts: Counts,
        note: Callable[[Counts], None] | None = None,
    ) -> Counts:
        """Embed entries and write them; returns the counts with them."""
        if not entries:
            return counts
        texts = [embedded_text(e.document, p) for e in entries for p in e.passages]
        few = note is None and len(texts) <= 2  # a changed fact should be found at once
        vectors, _ = await (self._scheduler.embed if few else self._scheduler.embed_bulk)(texts)
        parts, start = [], 0
        for entry in entries:
            parts.append(vectors[start : start + len(entry.passages)])
            start += len(entry.passages)
        async with self._locks[name]:
            collection = await self._in_thread(self._writers, self._open, name, True)
            await self._in_thread(self._writers, collection.upsert, entries, parts)
        self._touched.add(name)
        self.counters["documents_added"] += len(entries)
        counts = msgspec.structs.replace(
            counts,
            documents=counts.documents + len(entries),
            passages=counts.passages + len(texts),
            bytes=counts.bytes + sum(len(text.encode()) for text in texts) + vectors.nbytes,
        )
        if note is not None:
            note(counts)
        return counts

    async def _find(self, search: Search) -> Found:
        began = time.monotonic()
        if search.now is None:
            search = msgspec.structs.replace(search, now=time.time())
        vector: Vector | None = None
        if search.mode != "lexical" or search.reference:
            vector = (await self._scheduler.embed([search.query]))[0][0]
        found = await self._in_thread(self._readers, self._search, search, vector)
        self.counters["searches"] += 1
        return msgspec.structs.replace(found, took_s=time.monotonic() - began)

    def _search(self, search: Search, vector: Vector | None) -> Found:
        hits: list[Hit] = []
        generations: dict[str, str] = {}
        dense = None if search.mode == "lexical" else vector
        for name in search.collections:
            try:
                collection = self._open(name)
            except KeyError:
                continue
            hits += collection.search(search, dense)
            generations[name] = collection.stats().generation
        similarity = None
        if search.reference and vector is not None:
            with contextlib.suppress(KeyError):
                similarity = self._open(search.reference).nearest(vector)
        hits.sort(key=lambda hit: hit.score, reverse=True)
        return Found(
            hits=tuple(hits[: search.limit]),
            generations=generations,
            reference_similarity=similarity,
        )

    async def _read(self, request: Read) -> tuple[Text, ...]:
        path, texts = self._allowed(request.path), []
        with contextlib.suppress(_Partial):
            async with contextlib.aclosing(
                _whole(ingest(path, self._cut(request.options)))
            ) as entries:
                async for entry in entries:
                    document = entry.document
                    texts.append(Text(document.id, document.title, text_of(entry.passages)))
        return tuple(texts)

    async def _remove(self, request: Remove, *, among_others: bool = True) -> int:
        if request.file_id is not None and among_others:
            await self._stop_adding(request.collection, request.file_id)
        async with self._locks[request.collection]:
            try:
                collection = await self._in_thread(self._writers, self._open, request.collection)
            except KeyError:
                return 0

            def remove() -> int:
                return collection.remove(documents=request.documents, file_id=request.file_id)

            removed = await self._in_thread(self._writers, remove)
        self._touched.add(request.collection)
        return removed

    async def _drop(self, name: str) -> None:
        await self._stop_adding(name)
        running = self._in_compaction.get(name)
        if running is not None:
            await asyncio.wait({running})
        async with self._locks[name]:
            with contextlib.suppress(KeyError):
                await self._in_thread(self._writers, self._all().drop, name)

    async def _stop_adding(self, name: str, file_id: str | None = None) -> None:
        tasks = {
            task
            for task, (collection, file) in self._adding.items()
            if collection == name and file_id in (None, file)
        }
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _stats(self, request: Stats) -> Answer:
        def stats() -> Answer:
            names = self._all().names() if request.collection is None else [request.collection]
            found = []
            for name in names:
                with contextlib.suppress(KeyError, IndexProblem):
                    found.append(self._open(name).stats())
            return Answer(
                request.id,
                collections=tuple(found),
                counters=dict(self.counters),
                embedder=self._embedder.id,
            )

        return await self._in_thread(self._readers, stats)

    async def _upkeep(self) -> None:
        """Open what is there, so that no search waits for it; then compact what asks for it."""
        if self._collections is None:
            return
        for name in await asyncio.to_thread(self._collections.names):
            try:
                await self._in_thread(self._compacting, self._open, name)
                self._touched.add(name)
            except IndexProblem as error:
                _log.error("collection %s cannot be opened: %s", name, error)
            except KeyError:
                pass  # dropped meanwhile
        while True:
            await asyncio.sleep(_UPKEEP_S)
            for name in list(self._touched):
                self._touched.discard(name)
                if time.monotonic() < self._rest_until.get(name, 0):
                    self._touched.add(name)
                    continue
                try:
                    collection = await self._in_thread(self._compacting, self._open, name)
                    if collection.wants_compaction():
                        await self._compact(name)
                except (KeyError, IndexProblem) as error:
                    _log.error("the compaction of %s failed: %s", name, error)
                    self._rest_until[name] = time.monotonic() + _RETRY_S
                    self._touched.add(name)

    async def _compact(self, name: str) -> None:
        """Compact a collection, together with whoever asks for the same meanwhile."""
        running = self._in_compaction.get(name)
        if running is None:
            running = asyncio.create_task(self._compact_now(name))
            self._in_compaction[name] = running
            running.add_done_callback(lambda _: self._in_compaction.pop(name, None))
        await asyncio.shield(running)

    async def _compact_now(self, name: str) -> None:
        collection = await self._in_thread(self._compacting, self._open, name)
        try:
            await self._in_thread(self._compacting, collection.compact)
        except Exception:
            self.counters["compaction_failures"] += 1
            raise
        self.counters["compactions"] += 1

    def _open(self, name: str, create: bool = False) -> Collection:
        return self._all().open(name, create=create)

    def _all(self) -> Collections:
        if self._collections is None:
            raise Refused("the service was started without a folder of indexes")
        return self._collections

    def _allowed(self, given: str) -> Path:
        path = Path(given).resolve()
        if self._files is None or not path.is_relative_to(self._files):
            raise Refused("the file lies outside the service's folder of files")
        return path

    def _cut(self, options: IngestOptions) -> IngestOptions:
        if options.tokenizer or not self._tokenizer:
            return options
        return msgspec.structs.replace(options, tokenizer=self._tokenizer)

    async def _in_thread(
        self, pool: ThreadPoolExecutor, work: Callable[..., _T], *arguments: object
    ) -> _T:
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)


class _Partial(Exception):
    """The rest of a file was read."""


async def _whole(entries: AsyncGenerator[Entry]) -> AsyncGenerator[Entry]:
    try:
        async for entry in entries:
            yield entry
    except LoadError as error:
        if error.partial:
            raise _Partial from error
        raise
