"""Adds documents and files to collections, and removes them: durable when a call returns."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence

import msgspec

from retrieval.folder import Folder
from retrieval.ingest import LoadError, Progress
from retrieval.library import Library, NoCollection
from retrieval.passages import embedded_text
from retrieval.records import Entry
from retrieval.requests import AddFile, Counts, Remove
from retrieval.scheduler import Scheduler

# Passages that are embedded and written at once; a document is never divided.
_TOGETHER = 64
_FEW = 2
_Note = Callable[[Counts], None]


class Stopped(Exception):
    """What was being added was removed meanwhile."""


class Writing:
    """Writes to collections.

    Args:
        library: The collections.
        scheduler: Embeds passages.
        folder: Where files are read.
    """

    def __init__(self, library: Library, scheduler: Scheduler, folder: Folder) -> None:
        self._library, self._scheduler, self._folder = library, scheduler, folder
        # What is being added now: the task that does it, its collection and its file.
        self._adding: dict[asyncio.Task[Counts], tuple[str, str]] = {}

    async def add(self, collection: str, entries: Sequence[Entry]) -> Counts:
        """Add documents.

        Raises:
            Stopped: The collection was dropped meanwhile.
            ValueError, IndexProblem, EmbeddingFailed, Overloaded: As they say.
        """
        return await self._stoppable(collection, "", self._add(collection, entries, Counts()))

    async def add_file(self, request: AddFile, note: _Note) -> Counts:
        """Add a file, document by document; `note` hears how far it is.

        Raises:
            LoadError: The file cannot be read; nothing of it stays.
            Refused: It lies outside the folder of files.
            Stopped: It, or the collection, was removed meanwhile.
            ValueError, IndexProblem, EmbeddingFailed, Overloaded: As they say.
        """
        work = self._add_file(request, note)
        return await self._stoppable(request.collection, request.options.file_id, work)

    async def remove(self, request: Remove) -> int:
        """Remove documents by id, or all of a file; returns how many."""
        if request.file_id:
            await self._stop(request.collection, request.file_id)
        return await self._remove(request.collection, request.documents, request.file_id)

    async def drop(self, name: str) -> None:
        """Delete a collection, if there is one; whatever is being added to it stops."""
        await self._stop(name)
        async with self._library.lock(name):
            await self._library.write(self._library.drop, name)

    async def close(self) -> None:
        """Stop what is being added."""
        tasks = list(self._adding)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _add_file(self, request: AddFile, note: _Note) -> Counts:
        collection, options = request.collection, request.options
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
                self._folder.entries(request.path, options, on_progress)
            ) as entries:
                async for entry in entries:
                    waiting.append(entry)
                    if sum(len(each.passages) for each in waiting) >= _TOGETHER:
                        counts = await self._add(collection, waiting, counts, note)
                        waiting = []
            return await self._add(collection, waiting, counts, note)
        except LoadError as error:
            if not error.partial:
                if options.file_id:
                    await self._remove(collection, (), options.file_id)
                raise
            counts = await self._add(collection, waiting, counts, note)
            return msgspec.structs.replace(counts, error=str(error))

    async def _add(
        self, name: str, entries: Sequence[Entry], counts: Counts, note: _Note | None = None
    ) -> Counts:
        """Embed entries and write them; returns the counts with them."""
        if not entries:
            return counts
        texts = [embedded_text(e.document, p) for e in entries for p in e.passages]
        few = note is None and len(texts) <= _FEW  # a changed fact should be found at once
        vectors, _ = await (self._scheduler.embed if few else self._scheduler.embed_bulk)(texts)
        parts, start = [], 0
        for entry in entries:
            parts.append(vectors[start : start + len(entry.passages)])
            start += len(entry.passages)

        def write() -> None:
            self._library.open(name, True).upsert(entries, parts)

        async with self._library.lock(name):
            await self._library.write(write)
        self._library.touched.add(name)
        self._library.count("documents_added", len(entries))
        counts = msgspec.structs.replace(
            counts,
            documents=counts.documents + len(entries),
            passages=counts.passages + len(texts),
            bytes=counts.bytes + sum(len(text.encode()) for text in texts) + vectors.nbytes,
        )
        if note is not None:
            note(counts)
        return counts

    async def _remove(self, name: str, documents: Sequence[str], file_id: str | None) -> int:
        def remove() -> int:
            try:
                collection = self._library.open(name)
            except NoCollection:
                return 0
            return collection.remove(documents=documents, file_id=file_id)

        async with self._library.lock(name):
            removed = await self._library.write(remove)
        self._library.touched.add(name)
        self._library.count("documents_removed", removed)
        return removed

    async def _stoppable(self, name: str, file: str, work: Coroutine[None, None, Counts]) -> Counts:
        """Run what adds so that `_stop` can end it, and tell its caller so."""
        task = asyncio.create_task(work)
        self._adding[task] = (name, file)
        try:
            await asyncio.wait({task})
            if task.cancelled():
                raise Stopped(f"what was being added to {name} was removed meanwhile")
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            self._adding.pop(task, None)

    async def _stop(self, name: str, file: str | None = None) -> None:
        tasks = {
            task
            for task, (collection, of) in self._adding.items()
            if collection == name and file in (None, of)
        }
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
