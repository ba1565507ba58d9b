"""The client of the retrieval service: light imports, one connection, a deadline on each call."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from retrieval.ingest import IngestOptions
from retrieval.protocol import frame, read_frame
from retrieval.records import CollectionStats, Entry, Found, Search
from retrieval.requests import (
    AddEntries,
    AddFile,
    Answer,
    Cancel,
    Compact,
    Counts,
    Drop,
    Embed,
    Find,
    Info,
    Read,
    Reason,
    Remove,
    Request,
    Stats,
    Text,
)

_SILENCE_S = 30.0
_ANSWERS = msgspec.msgpack.Decoder(Answer)


class RetrievalUnavailable(Exception):
    """The service cannot be reached, or did not answer in time.

    Args:
        message: Why, for people.
        late: Whether it did not answer in time.
    """

    def __init__(self, message: str, *, late: bool = False) -> None:
        super().__init__(message)
        self.late = late


class RetrievalFailed(Exception):
    """The service answered that it could not do it.

    Args:
        message: Why, for people.
        reason: Why, for programs (`retrieval.requests.Reason`).
    """

    def __init__(self, message: str, reason: Reason = "failed") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(slots=True)
class _Waiting:
    done: asyncio.Future[Answer]
    more: Callable[[Answer], None] | None = None


class RetrievalClient:
    """Calls the service on a Unix socket; many calls may share the connection.

    Every method raises RetrievalUnavailable where there is no service or no answer in time, and
    RetrievalFailed where the service could not do it. A call that is given up is told to the
    service, which stops working on it.

    Args:
        path: The socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ids = itertools.count()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, _Waiting] = {}
        self._connecting = asyncio.Lock()

    async def embed(self, texts: list[str], *, deadline_s: float) -> tuple[list[bytes], int]:
        """Return a vector per text (float32, little-endian, of length 1) and the tokens read."""
        answer = await self._ask(Embed(next(self._ids), texts), deadline_s)
        return answer.vectors, answer.tokens

    async def search(self, search: Search, *, deadline_s: float) -> Found:
        """Return what a search finds; collections that do not exist have nothing."""
        answer = await self._ask(Find(next(self._ids), search), deadline_s)
        return answer.found or Found(hits=())

    async def add_entries(
        self, collection: str, entries: Sequence[Entry], *, deadline_s: float = 60.0
    ) -> Counts:
        """Add documents that are cut already; durable and findable when it returns."""
        request = AddEntries(next(self._ids), collection, tuple(entries))
        return (await self._ask(request, deadline_s)).counts or Counts()

    async def add_file(
        self,
        collection: str,
        path: Path,
        options: IngestOptions,
        *,
        on_progress: Callable[[Counts], None] | None = None,
        deadline_s: float = 24 * 3600.0,
    ) -> Counts:
        """Add a file of the service's folder; durable and findable when it returns.

        Args:
            collection: Where to; it is made where it is missing.
            path: The file.
            options: What it is called and how it is cut; an empty `tokenizer` is the embedder's.
            on_progress: Called with what has been added so far, every second or so.
            deadline_s: Most time that it may take, in seconds; besides, the service may not be
                silent for more than half a minute.

        Raises:
            RetrievalFailed: Also where the file cannot be read (`reason` is `file`); the message
                names it.
        """

        def more(answer: Answer) -> None:
            if on_progress is not None and answer.counts is not None:
                on_progress(answer.counts)

        request = AddFile(next(self._ids), collection, str(path), options)
        return (await self._ask(request, deadline_s, more)).counts or Counts()

    async def read_file(
        self, path: Path, options: IngestOptions, *, deadline_s: float = 120.0
    ) -> tuple[Text, ...]:
        """Return the texts of a file's documents, as they are indexed."""
        return (await self._ask(Read(next(self._ids), str(path), options), deadline_s)).texts

    async def remove(
        self,
        collection: str,
        *,
        documents: Sequence[str] = (),
        file_id: str | None = None,
        deadline_s: float = 30.0,
    ) -> int:
        """Remove documents by id, or all of a file; returns how many. Durable when it returns."""
        request = Remove(next(self._ids), collection, tuple(documents), file_id)
        return (await self._ask(request, deadline_s)).removed

    async def stats(
        self, collection: str | None = None, *, deadline_s: float = 10.0
    ) -> tuple[CollectionStats, ...]:
        """Return the state of one collection (none where it does not exist), or of all."""
        return (await self._ask(Stats(next(self._ids), collection), deadline_s)).collections

    async def compact(self, collection: str, *, deadline_s: float = 24 * 3600.0) -> None:
        """Fold what was added and removed into a new generation, and wait for it."""
        await self._ask(Compact(next(self._ids), collection), deadline_s)

    async def drop(self, collection: str, *, deadline_s: float = 30.0) -> None:
        """Delete a collection; one that does not exist is no error."""
        await self._ask(Drop(next(self._ids), collection), deadline_s)

    async def info(self, *, deadline_s: float = 1.0) -> dict[str, Any]:
        """Return `embedder`, `dimensions`, `max_tokens` and `counters` of the service."""
        answer = await self._ask(Info(next(self._ids)), deadline_s)
        return {
            "embedder": answer.embedder,
            "dimensions": answer.dimensions,
            "max_tokens": answer.max_tokens,
            "counters": answer.counters,
        }

    async def close(self) -> None:
        """Close the connection."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        self._drop()

    async def _ask(
        self, request: Request, deadline_s: float, more: Callable[[Answer], None] | None = None
    ) -> Answer:
        waiting = _Waiting(asyncio.get_running_loop().create_future())
        number, answered = request.id, False
        try:
            async with asyncio.timeout(deadline_s):
                writer = await self._connected()
                if more is not None:
                    self._limit_silence(waiting, more)
                self._waiting[number] = waiting
                writer.write(frame(request))
                await writer.drain()
                answer = await waiting.done
                answered = True
        except TimeoutError:
            raise RetrievalUnavailable(f"no answer within {deadline_s:g} s", late=True) from None
        except OSError as error:
            raise RetrievalUnavailable(str(error)) from error
        finally:
            self._waiting.pop(number, None)
            if not answered:
                self._give_up(number)
        if answer.overloaded:
            raise RetrievalUnavailable(answer.error)
        if answer.error:
            raise RetrievalFailed(answer.error, answer.reason or "failed")
        return answer

    def _limit_silence(self, waiting: _Waiting, more: Callable[[Answer], None]) -> None:
        """End the call where neither an answer nor progress comes for too long."""
        loop = asyncio.get_running_loop()

        def silent() -> None:
            if not waiting.done.done():
                waiting.done.set_exception(
                    ConnectionResetError(f"the retrieval service was silent for {_SILENCE_S:g} s")
                )

        timer = loop.call_later(_SILENCE_S, silent)

        def heard(answer: Answer) -> None:
            nonlocal timer
            timer.cancel()
            timer = loop.call_later(_SILENCE_S, silent)
            more(answer)

        waiting.more = heard
        waiting.done.add_done_callback(lambda _: timer.cancel())

    def _give_up(self, number: int) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(frame(Cancel(number)))

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is None or self._writer.is_closing():
                if self._reading is not None:
                    await self._reading  # it ends with its connection, and tells who waits
                reader, self._writer = await asyncio.open_unix_connection(self._path)
                self._reading = asyncio.create_task(self._read(reader))
            return self._writer

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                answer = _ANSWERS.decode(await read_frame(reader))
                waiting = self._waiting.get(answer.id)
                if waiting is None or waiting.done.done():
                    continue
                if not answer.more:
                    waiting.done.set_result(answer)
                elif waiting.more is not None:
                    waiting.more(answer)
        except (OSError, EOFError, ValueError):
            pass  # the service went away; whoever waits is told below
        finally:
            self._drop()

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for waiting in self._waiting.values():
            if not waiting.done.done():
                waiting.done.set_exception(ConnectionResetError("the retrieval service went away"))
