"""What the service does for each request: puts its parts together and hands requests to them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from retrieval.embedder import Embedder
from retrieval.folder import Folder
from retrieval.library import Library, Refused
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
)
from retrieval.reranker import Reranker
from retrieval.scheduler import Scheduler
from retrieval.searching import Searching
from retrieval.upkeep import Upkeep
from retrieval.writing import Writing


class Operations:
    """The embedder and the collections, behind asyncio.

    Args: as of `retrieval.service.RetrievalService`.
    """

    def __init__(
        self,
        embedder: Embedder,
        indexes: Path | None,
        files: Path | None,
        tokenizer: str,
        reranker: Reranker | None,
    ) -> None:
        self._embedder = embedder
        self._scheduler = Scheduler(embedder)
        self._library = Library(indexes, embedder)
        self._folder = Folder(files, tokenizer)
        self._searching = Searching(self._library, self._scheduler, reranker)
        self._writing = Writing(self._library, self._scheduler, self._folder)
        self._upkeep = Upkeep(self._library)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the collections up while the block runs; afterwards they are closed."""
        async with self._scheduler.running():
            upkeep = asyncio.create_task(self._upkeep.run())
            try:
                yield
            finally:
                upkeep.cancel()
                await asyncio.gather(upkeep, return_exceptions=True)
                await self._writing.close()
                self._searching.close()
                await asyncio.to_thread(self._library.close)

    def count_failure(self) -> None:
        """Count a request that failed through no fault of its own."""
        self._library.count("failures")

    async def answer(self, request: Request) -> Answer:
        """Do what a request other than AddFile asks.

        Raises:
            NoCollection, IndexProblem, Refused, LoadError, Stopped: As they say.
            Overloaded, EmbeddingFailed: Texts cannot be embedded.
        """
        match request:
            case Info():
                return Answer(
                    request.id,
                    embedder=self._embedder.id,
                    dimensions=self._embedder.dimensions,
                    max_tokens=self._embedder.max_tokens,
                    counters=self._library.counters(),
                )
            case Embed():
                vectors, tokens = await self._scheduler.embed(request.texts)
                rows = [row.tobytes() for row in vectors]
                return Answer(request.id, vectors=rows, tokens=sum(tokens))
            case Find():
                return Answer(request.id, found=await self._searching.find(request.search))
            case AddEntries():
                counts = await self._writing.add(request.collection, request.entries)
                return Answer(request.id, counts=counts)
            case Read():
                texts = await self._folder.texts(request.path, request.options)
                return Answer(request.id, texts=texts)
            case Remove():
                return Answer(request.id, removed=await self._writing.remove(request))
            case Stats():
                found = await self._library.read(self._library.stats, request.collection)
                return Answer(request.id, collections=found)
            case Compact():
                await self._upkeep.compact(request.collection)
                return Answer(request.id)
            case Drop():
                await self._upkeep.settled(request.collection)
                await self._writing.drop(request.collection)
                return Answer(request.id)
        raise Refused(f"{type(request).__name__} is not answered")

    async def add_file(self, request: AddFile, note: Callable[[Counts], None]) -> Answer:
        """Add a file, document by document; see `Writing.add_file`."""
        return Answer(request.id, counts=await self._writing.add_file(request, note))
