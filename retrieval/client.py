"""The client of the retrieval service: light imports, one connection, a deadline on each call."""

import asyncio
import contextlib
import itertools
from pathlib import Path
from typing import Any

import msgspec

from retrieval.protocol import RetrievalAnswer, RetrievalRequest, frame, read_frame


class RetrievalUnavailable(Exception):
    """The service cannot be reached, or did not answer in time."""


class RetrievalFailed(Exception):
    """The service answered that it could not do it."""


class EmbeddingClient:
    """Calls the service on a Unix socket; many calls may share the connection.

    Args:
        path: The socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ids = itertools.count()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[RetrievalAnswer]] = {}
        self._connecting = asyncio.Lock()

    async def embed(self, texts: list[str], *, deadline_s: float) -> tuple[list[bytes], int]:
        """Return a vector per text (float32, little-endian, of length 1) and the tokens read.

        Raises:
            RetrievalUnavailable: No service, or no answer within `deadline_s` seconds.
            RetrievalFailed: The service could not embed these texts.
        """
        answer = await self._ask("embed", texts, deadline_s)
        return answer.vectors, answer.tokens

    async def info(self, *, deadline_s: float = 1.0) -> dict[str, Any]:
        """Return the embedder's id and its dimensions."""
        answer = await self._ask("info", [], deadline_s)
        return {"embedder": answer.embedder, "dimensions": answer.dimensions}

    async def close(self) -> None:
        """Close the connection."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading
        self._drop()

    async def _ask(self, kind: str, texts: list[str], deadline_s: float) -> RetrievalAnswer:
        number = next(self._ids)
        future: asyncio.Future[RetrievalAnswer] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(deadline_s):
                writer = await self._connected()
                self._waiting[number] = future
                writer.write(frame(RetrievalRequest(number, kind, texts)))
                await writer.drain()
                answer = await future
        except TimeoutError:
            raise RetrievalUnavailable(f"no answer within {deadline_s:g} s") from None
        except OSError as error:
            raise RetrievalUnavailable(str(error)) from error
        finally:
            self._waiting.pop(number, None)
        if answer.overloaded:
            raise RetrievalUnavailable(answer.error)
        if answer.error:
            raise RetrievalFailed(answer.error)
        return answer

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is None or self._writer.is_closing():
                reader, self._writer = await asyncio.open_unix_connection(self._path)
                self._reading = asyncio.create_task(self._read(reader))
            return self._writer

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                data = await read_frame(reader)
                answer = msgspec.msgpack.decode(data, type=RetrievalAnswer)
                future = self._waiting.get(answer.id)
                if future is not None and not future.done():
                    future.set_result(answer)
        except (OSError, EOFError, ValueError):
            pass  # the service went away; whoever waits is told below
        finally:
            self._drop()

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionResetError("the retrieval service went away"))
