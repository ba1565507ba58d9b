"""Who is embedded next: queries at once, bulk work beside them on a thread that yields to them.

Calls that arrive while a batch runs are embedded together. Texts of documents are many and long
(tens of milliseconds each), so they have a thread of their own with a lower priority, and that
thread takes few texts at a time: a query waits for none of them.
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from retrieval.embedder import Embedder, Vectors

_log = logging.getLogger(__name__)
# More texts than this in one call are bulk work, and so is a long text.
_FEW, _SHORT = 8, 2000
_TOGETHER = 32
# Bulk work in one batch: texts of several calls, and characters of one.
_BULK_BATCH, _BULK_CHARACTERS = 4, 3000
_MAX_WAITING = 10_000
_NICE = 10


class Overloaded(Exception):
    """Too much waits already."""


class EmbeddingFailed(Exception):
    """The embedder failed on these texts."""


@dataclass(slots=True)
class _Call:
    texts: list[str]
    done: asyncio.Future[tuple[Vectors, list[int]]]


class Scheduler:
    """Shares one embedder between queries and bulk work.

    Args:
        embedder: What turns texts into vectors; called from two threads.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._urgent: asyncio.Queue[_Call] = asyncio.Queue(_MAX_WAITING)
        # Bulk work is queued batch by batch, so that a small call waits for no large one's end.
        self._bulk: asyncio.Queue[_Call] = asyncio.Queue(_MAX_WAITING)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Embed while the block runs."""
        urgent = ThreadPoolExecutor(1, "embed-queries")
        bulk = ThreadPoolExecutor(1, "embed-bulk", initializer=_yield_to_others)
        tasks = [
            asyncio.create_task(self._work(self._urgent, urgent, _TOGETHER)),
            asyncio.create_task(self._work(self._bulk, bulk, _BULK_BATCH)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            urgent.shutdown(wait=False, cancel_futures=True)
            bulk.shutdown(wait=False, cancel_futures=True)

    async def embed(self, texts: list[str]) -> tuple[Vectors, list[int]]:
        """Return unit vectors and tokens, soon where the texts are few and short.

        Raises:
            Overloaded: Too much waits already.
            EmbeddingFailed: The embedder failed on these texts.
        """
        if len(texts) <= _FEW and sum(map(len, texts)) <= _SHORT:
            return await self._put(self._urgent, texts)
        return await self.embed_bulk(texts)

    async def embed_bulk(self, texts: Sequence[str]) -> tuple[Vectors, list[int]]:
        """Return unit vectors and tokens, behind every query. Raises as `embed`."""
        # Texts of like length together: the shorter ones are padded to the longest of a batch.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        vectors = np.zeros((len(texts), self._embedder.dimensions), dtype="<f4")
        tokens = [0] * len(texts)
        for batch in _batches(texts, order):
            vectors[batch], counted = await self._put(self._bulk, [texts[i] for i in batch])
            for index, count in zip(batch, counted, strict=True):
                tokens[index] = count
        return vectors, tokens

    async def _put(
        self, queue: "asyncio.Queue[_Call]", texts: list[str]
    ) -> tuple[Vectors, list[int]]:
        call = _Call(texts, asyncio.get_running_loop().create_future())
        try:
            queue.put_nowait(call)
        except asyncio.QueueFull:
            raise Overloaded("the service is overloaded") from None
        return await call.done

    async def _work(
        self, queue: "asyncio.Queue[_Call]", thread: ThreadPoolExecutor, together: int
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [await queue.get()]
            size = len(batch[0].texts)
            while size < together and not queue.empty():
                batch.append(queue.get_nowait())
                size += len(batch[-1].texts)
            live = [call for call in batch if not call.done.done()]  # others were given up
            if not live:
                continue
            for call, result in zip(
                live, await loop.run_in_executor(thread, self._results, live), strict=True
            ):
                if call.done.done():
                    continue
                if isinstance(result, EmbeddingFailed):
                    call.done.set_exception(result)
                else:
                    call.done.set_result(result)

    def _results(self, calls: list[_Call]) -> list[tuple[Vectors, list[int]] | EmbeddingFailed]:
        """Embed the calls together; where that fails, each by itself, so that one fails alone."""
        try:
            return list(self._embedded(calls))
        except Exception as error:
            if len(calls) > 1:
                return [result for call in calls for result in self._results([call])]
            _log.exception("embedding failed")
            return [EmbeddingFailed(str(error) or type(error).__name__)]

    def _embedded(self, calls: list[_Call]) -> Iterator[tuple[Vectors, list[int]]]:
        vectors, tokens = self._embedder.embed([text for call in calls for text in call.texts])
        start = 0
        for call in calls:
            end = start + len(call.texts)
            yield vectors[start:end], tokens[start:end]
            start = end


def _yield_to_others() -> None:
    # On Linux a thread has a niceness of its own (setpriority(2), "C library/kernel differences").
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _batches(texts: Sequence[str], order: Sequence[int]) -> Iterator[list[int]]:
    """Cut texts into batches, by their place: few long ones, many short ones."""
    batch: list[int] = []
    characters = 0
    for index in order:
        if batch and characters + len(texts[index]) > _BULK_CHARACTERS:
            yield batch
            batch, characters = [], 0
        batch.append(index)
        characters += len(texts[index])
    if batch:
        yield batch
