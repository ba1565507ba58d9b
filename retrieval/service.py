"""The retrieval service: one process per host on a Unix socket, for all gateway workers.

It never shares a process with the relay: 12 ms of torch under one interpreter lock would show in
every other request's tail. Calls that arrive while a batch runs are embedded together.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from retrieval.embedder import Embedder
from retrieval.protocol import RetrievalAnswer, RetrievalRequest, frame, read_frame

_log = logging.getLogger(__name__)
_MAX_BATCH = 256
_MAX_WAITING = 10_000


@dataclass(slots=True)
class _Call:
    texts: list[str]
    done: asyncio.Future[RetrievalAnswer]
    id: int


class RetrievalService:
    """Serves one embedder.

    Args:
        embedder: What turns texts into vectors.
        path: The Unix socket; its folder is made private (0700).
    """

    def __init__(self, embedder: Embedder, path: Path) -> None:
        self._embedder = embedder
        self._path = path
        self._calls: asyncio.Queue[_Call] = asyncio.Queue(_MAX_WAITING)
        self._writers: set[asyncio.StreamWriter] = set()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with self.serving():
            await stop.wait()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve while the block runs."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(self._connection, self._path)
        finally:
            os.umask(mask)
        working = asyncio.create_task(self._work())
        try:
            yield
        finally:
            server.close()
            for writer in self._writers:
                writer.close()
            working.cancel()
            self._path.unlink(missing_ok=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering: set[asyncio.Task[None]] = set()
        self._writers.add(writer)
        try:
            while True:
                data = await read_frame(reader)
                request = msgspec.msgpack.decode(data, type=RetrievalRequest)
                task = asyncio.create_task(self._answer(request, writer))
                answering.add(task)
                task.add_done_callback(answering.discard)
        except (EOFError, OSError):
            pass  # the client left
        except (ValueError, msgspec.MsgspecError) as error:
            _log.warning("a client sent what is not a request: %s", error)
        finally:
            for task in answering:
                task.cancel()
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, request: RetrievalRequest, writer: asyncio.StreamWriter) -> None:
        if request.kind == "info":
            answer = RetrievalAnswer(
                request.id, embedder=self._embedder.id, dimensions=self._embedder.dimensions
            )
        elif request.kind == "embed":
            done: asyncio.Future[RetrievalAnswer] = asyncio.get_running_loop().create_future()
            try:
                self._calls.put_nowait(_Call(request.texts, done, request.id))
            except asyncio.QueueFull:
                answer = RetrievalAnswer(
                    request.id, error="the service is overloaded", overloaded=True
                )
            else:
                answer = await done
        else:
            answer = RetrievalAnswer(request.id, error=f"unknown kind {request.kind!r}")
        with contextlib.suppress(OSError):
            writer.write(frame(answer))
            await writer.drain()

    async def _work(self) -> None:
        while True:
            batch = [await self._calls.get()]
            size = len(batch[0].texts)
            while size < _MAX_BATCH and not self._calls.empty():
                call = self._calls.get_nowait()
                size += len(call.texts)
                batch.append(call)
            live = [call for call in batch if not call.done.done()]
            for call, answer in zip(
                live, await asyncio.to_thread(self._answers, live), strict=True
            ):
                if not call.done.done():
                    call.done.set_result(answer)

    def _answers(self, calls: list[_Call]) -> list[RetrievalAnswer]:
        """Embed the calls together; where that fails, each by itself, so that one fails alone."""
        try:
            return self._embed(calls)
        except Exception as error:
            if len(calls) > 1:
                return [answer for call in calls for answer in self._answers([call])]
            _log.exception("embedding failed")
            return [RetrievalAnswer(calls[0].id, error=str(error) or type(error).__name__)]

    def _embed(self, calls: list[_Call]) -> list[RetrievalAnswer]:
        answers = []
        vectors, tokens = self._embedder.embed([text for call in calls for text in call.texts])
        start = 0
        for call in calls:
            end = start + len(call.texts)
            rows = [row.tobytes() for row in vectors[start:end]]
            answers.append(RetrievalAnswer(call.id, vectors=rows, tokens=sum(tokens[start:end])))
            start = end
        return answers
