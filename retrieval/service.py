"""The retrieval service: one process per host on a Unix socket, for all gateway workers.

It never shares a process with the relay: 12 ms of torch under one interpreter lock would show in
every other request's tail. Here are the socket and the requests on it; `retrieval.operations`
does what they ask.
"""

import asyncio
import contextlib
import errno
import functools
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from retrieval.database import IndexMismatch, IndexProblem
from retrieval.embedder import Embedder
from retrieval.ingest import LoadError
from retrieval.library import NoCollection, Refused
from retrieval.operations import Operations
from retrieval.protocol import frame, read_frame
from retrieval.requests import AddFile, Answer, Cancel, Counts, Reason, Request
from retrieval.reranker import Reranker
from retrieval.scheduler import EmbeddingFailed, Overloaded
from retrieval.writing import Stopped

_log = logging.getLogger(__name__)
_REQUESTS = msgspec.msgpack.Decoder(Request)
_PROGRESS_S = 1.0


class RetrievalService:
    """Serves one embedder and the collections of one folder.

    Args:
        embedder: What turns texts into vectors.
        path: The Unix socket; its folder is made private (0700).
        indexes: Folder of the collections; None: only embeddings are served.
        files: The folder that files may be added from; None: none may.
        tokenizer: The embedder's folder, by whose tokens files are cut; empty: words are counted.
        reranker: Orders the best hits of a search again; None: they stay as they are.
    """

    def __init__(
        self,
        embedder: Embedder,
        path: Path,
        indexes: Path | None = None,
        files: Path | None = None,
        tokenizer: str = "",
        reranker: Reranker | None = None,
    ) -> None:
        self._path = path
        self._operations = Operations(embedder, indexes, files, tokenizer, reranker)
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
        """Serve while the block runs.

        Raises:
            OSError: Another service answers on the socket, or it cannot be made.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_served(self._path)
        self._path.unlink(missing_ok=True)
        async with self._operations.running():
            mask = os.umask(0o177)
            try:
                server = await asyncio.start_unix_server(self._connection, self._path)
            finally:
                os.umask(mask)
            try:
                yield
            finally:
                server.close()
                for writer in self._writers:
                    writer.close()
                self._path.unlink(missing_ok=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering: dict[int, asyncio.Task[None]] = {}
        self._writers.add(writer)
        try:
            while True:
                request = _REQUESTS.decode(await read_frame(reader))
                if isinstance(request, Cancel):
                    if request.id in answering:
                        answering[request.id].cancel()
                    continue
                task = asyncio.create_task(self._answer(request, writer))
                answering[request.id] = task
                task.add_done_callback(functools.partial(_forget, answering, request.id))
        except (EOFError, OSError):
            pass  # the client left
        except (ValueError, msgspec.MsgspecError) as error:
            _log.warning("a client sent what is not a request: %s", error)
        finally:
            for task in list(answering.values()):
                task.cancel()
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(request, AddFile):
                answer = await self._telling(request, writer)
            else:
                answer = await self._operations.answer(request)
        except Exception as error:
            answer = self._failed(request, error)
        with contextlib.suppress(OSError):
            writer.write(frame(answer))
            await writer.drain()

    async def _telling(self, request: AddFile, writer: asyncio.StreamWriter) -> Answer:
        """Add a file, and tell every second how far it is: silence means that we are gone."""
        so_far = Counts()

        def note(counts: Counts) -> None:
            nonlocal so_far
            so_far = counts

        adding = asyncio.create_task(self._operations.add_file(request, note))
        try:
            while not (await asyncio.wait({adding}, timeout=_PROGRESS_S))[0]:
                writer.write(frame(Answer(request.id, more=True, counts=so_far)))
                await writer.drain()
            return adding.result()
        finally:
            if not adding.done():
                adding.cancel()
                await asyncio.wait({adding})

    def _failed(self, request: Request, error: Exception) -> Answer:
        if isinstance(error, Overloaded):
            return Answer(request.id, error=str(error), overloaded=True)
        told = str(error) or type(error).__name__
        reason: Reason = "failed"
        for kind, word in _REASONS.items():
            if isinstance(error, kind):
                reason = word
                break
        if reason == "failed":
            self._operations.count_failure()
            if not isinstance(error, EmbeddingFailed | IndexProblem):
                _log.error("a request failed: %s", type(request).__name__, exc_info=error)
        return Answer(request.id, error=told, reason=reason)


def _refuse_served(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return  # nobody listens
    raise OSError(errno.EADDRINUSE, "another retrieval service serves this socket", str(path))


def _forget(answering: dict[int, asyncio.Task[None]], number: int, _: object) -> None:
    answering.pop(number, None)


_REASONS: dict[type[Exception], Reason] = {
    LoadError: "file",
    NoCollection: "missing",
    IndexMismatch: "mismatch",
    Refused: "refused",
    Stopped: "cancelled",
}
