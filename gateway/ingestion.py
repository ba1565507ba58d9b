"""Brings files of vector stores into the index, in the background of each gateway worker.

A worker claims a file, has the retrieval service add it, renews the claim while that goes on, and
writes how it ended. A worker that is killed loses its claims after a while, and others go on: to
add again replaces what was there. Where the service is away, files wait.

It also takes out of the index what was removed, cancelled or has failed half-way, drops the
collections of stores that were deleted or have expired, and notes which stores are in use.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from gateway import attributes
from gateway.retrieval_metrics import RetrievalMetrics
from gateway.store.database import Database, StoreError
from gateway.store.files import Files
from gateway.store.indexing import LEASE_S, ClaimLost, Indexing
from gateway.store.vector_store_batches import FileBatches
from gateway.store.vector_store_files import (
    COMPLETED,
    FAILED,
    IN_PROGRESS,
    REMOVING,
    VectorStoreFile,
    VectorStoreFiles,
)
from gateway.store.vector_stores import VectorStores
from retrieval.client import RetrievalFailed, RetrievalUnavailable
from retrieval.ingest import IngestOptions
from retrieval.requests import Counts

_log = logging.getLogger(__name__)
# Files that one worker has in work: one is read while another is embedded.
_AT_ONCE = 2
_POLL_S = 1.0
_SWEEP_S = 5.0
_AWAY_S = 2.0
_MAX_ATTEMPTS = 5


class _Interrupted(RetrievalUnavailable):
    """The service went away while it was adding."""


class Index(Protocol):
    """What is needed of the retrieval client."""

    async def add_file(
        self,
        collection: str,
        path: Path,
        options: IngestOptions,
        *,
        on_progress: Callable[[Counts], None] | None = None,
    ) -> Counts: ...

    async def remove(self, collection: str, *, file_id: str | None = None) -> int: ...

    async def drop(self, collection: str) -> None: ...


class Ingestion:
    """The background part.

    Args:
        database: The store.
        uploads: The uploaded files.
        index: The retrieval service.
        metrics: Where files are counted.
        lease_s: How long a claim holds without being renewed, in seconds.
    """

    def __init__(
        self,
        database: Database,
        uploads: Files,
        index: Index,
        metrics: RetrievalMetrics,
        lease_s: float = LEASE_S,
    ) -> None:
        self._uploads = uploads
        self._index = index
        self._metrics = metrics
        self._lease_s = lease_s
        self._indexing = Indexing(database, lease_s)
        self._files = VectorStoreFiles(database)
        self._stores = VectorStores(database)
        self._batches = FileBatches(database)
        self._woken = asyncio.Event()
        self._sweep_now = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rests_until = 0.0
        self._used: set[str] = set()

    def wake(self) -> None:
        """Look for work at once; call it, from any thread, where some was just written."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._woken.set)
            self._loop.call_soon_threadsafe(self._sweep_now.set)

    def used(self, stores: Iterable[str]) -> None:
        """Note that stores were searched: without I/O, so that it may be told of every search."""
        self._used.update(stores)

    async def run(self) -> None:
        """Work until cancelled."""
        self._loop = asyncio.get_running_loop()
        slots = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweeping())
            while True:
                await slots.acquire()
                file = await self._next()
                if file is None:
                    slots.release()
                    await _wait(self._woken, _POLL_S)
                    continue
                task = tasks.create_task(self._take(file))
                task.add_done_callback(lambda _: slots.release())

    async def _next(self) -> VectorStoreFile | None:
        """Claim a file; None: there is none, or the store or the service is away."""
        if time.monotonic() < self._rests_until:
            return None
        claiming = asyncio.ensure_future(
            asyncio.to_thread(self._indexing.claim, secrets.token_hex(8))
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            with contextlib.suppress(StoreError):
                if (file := await claiming) is not None:
                    await self._let_go(file, counts=False)
            raise
        except StoreError as error:
            _log.warning("files of vector stores cannot be read: %s", error)
            return None

    async def _take(self, file: VectorStoreFile) -> None:
        """Do what a claimed file asks for, and let go of it whatever happens."""
        name = f"{file.file_id} in {file.vector_store_id}"
        try:
            if file.status == IN_PROGRESS:
                await self._add(file)
            else:
                await self._clean(file)
        except ClaimLost:
            await self._let_go(file)
            await self._leave_nothing(file.vector_store_id)
            self._woken.set()
        except RetrievalUnavailable as error:
            _log.warning("%s waits for the retrieval service: %s", name, error)
            self._rests_until = time.monotonic() + _AWAY_S
            await self._let_go(file, after_s=_AWAY_S, counts=isinstance(error, _Interrupted))
        except RetrievalFailed as error:
            # Disks and models may recover; after some attempts `_add` gives up.
            _log.warning("%s could not be indexed: %s", name, error)
            await self._let_go(file, after_s=_AWAY_S * min(file.attempts, 30))
        except StoreError as error:
            _log.warning("%s: the store is away: %s", name, error)
            await self._let_go(file)
        except asyncio.CancelledError:
            await self._let_go(file, counts=False)
            raise

    async def _add(self, file: VectorStoreFile) -> None:
        def known() -> tuple[Any, Any]:
            return self._uploads.get(file.file_id), self._stores.get(file.vector_store_id)

        upload, store = await asyncio.to_thread(known)
        if upload is None or store is None:
            await self._fail(file, "invalid_file", f"{file.file_id}: was deleted")
            return
        if file.attempts > _MAX_ATTEMPTS:
            told = f"{upload.filename}: was begun {_MAX_ATTEMPTS} times and never ended"
            await self._fail(file, "server_error", told)
            return
        path = self._uploads.path(upload.id)
        if not path.is_file():
            told = f"{upload.filename}: its bytes are not on this host"
            await self._fail(file, "server_error", told)
            return
        try:
            if file.stale:
                await self._index.remove(file.vector_store_id, file_id=file.file_id)
            how = attributes.options(file, upload.filename, store.chunking)
            counts = await self._added(file, path, how)
        except RetrievalFailed as error:
            if error.reason == "failed" and file.attempts < _MAX_ATTEMPTS:
                raise
            of_file = error.reason == "file"
            known_format = attributes.is_known_format(upload.filename)
            code = ("invalid_file" if known_format else "unsupported_file") if of_file else ""
            told = str(error) if of_file else f"{upload.filename}: {error}"
            await self._fail(file, code or "server_error", told)
            return
        await self._finish(
            file,
            status=COMPLETED,
            stale=False,
            last_error={"code": "invalid_file", "message": counts.error} if counts.error else None,
            usage_bytes=counts.bytes,
            documents=counts.documents,
            passages=counts.passages,
        )

    async def _added(self, file: VectorStoreFile, path: Path, how: IngestOptions) -> Counts:
        """Have the service add a file; the claim is renewed as long as it does."""
        so_far = Counts()

        def note(counts: Counts) -> None:
            nonlocal so_far
            so_far = counts

        adding = asyncio.create_task(
            self._index.add_file(file.vector_store_id, path, how, on_progress=note)
        )
        renewed = time.monotonic()
        try:
            while not (await asyncio.wait({adding}, timeout=self._lease_s / 10))[0]:
                progress = msgspec.to_builtins(so_far)
                try:
                    await asyncio.to_thread(self._indexing.renew, file, progress=progress)
                    renewed = time.monotonic()
                except StoreError:
                    if time.monotonic() - renewed > self._lease_s / 2:
                        raise  # another may take it soon
            return adding.result()
        except RetrievalUnavailable as error:
            if so_far == Counts():
                raise
            raise _Interrupted(str(error)) from error  # perhaps by this very file
        finally:
            if not adding.done():
                adding.cancel()
                await asyncio.wait({adding})

    async def _clean(self, file: VectorStoreFile) -> None:
        """Take a file's documents out of the index."""
        await self._index.remove(file.vector_store_id, file_id=file.file_id)
        if file.status == REMOVING:
            await asyncio.to_thread(self._indexing.delete, file)
        else:
            await asyncio.to_thread(self._indexing.finish, file, stale=False)

    async def _fail(self, file: VectorStoreFile, code: str, message: str) -> None:
        """End it; what the index may hold of it is taken out after."""
        error = {"code": code, "message": message[:2000]}
        nothing = {"usage_bytes": 0, "documents": 0, "passages": 0}
        await self._finish(file, status=FAILED, stale=True, last_error=error, **nothing)

    async def _finish(self, file: VectorStoreFile, *, status: str, **values: Any) -> None:
        await asyncio.to_thread(self._indexing.finish, file, status=status, **values)
        self._metrics.files.labels(status).inc()

    async def _let_go(
        self, file: VectorStoreFile, *, after_s: float = 0.0, counts: bool = True
    ) -> None:
        def release() -> None:
            with contextlib.suppress(StoreError):  # the claim runs out by itself
                self._indexing.release(file, after_s=after_s, counts=counts)

        await asyncio.shield(asyncio.to_thread(release))

    async def _leave_nothing(self, store: str) -> None:
        """Drop a collection that adding may have made after its store was deleted."""
        with contextlib.suppress(StoreError, RetrievalUnavailable, RetrievalFailed):
            if await asyncio.to_thread(self._stores.get, store) is None:
                await self._index.drop(store)

    async def _sweeping(self) -> None:
        while True:
            try:
                await self._sweep()
            except (StoreError, RetrievalUnavailable, RetrievalFailed) as error:
                _log.debug("vector stores are tidied later: %s", error)
            await _wait(self._sweep_now, _SWEEP_S)

    async def _sweep(self) -> None:
        used, self._used = self._used, set()
        if used:
            try:
                await asyncio.to_thread(self._stores.touch, used)
            except StoreError:
                self._used |= used
                raise
        for store in await asyncio.to_thread(self._stores.to_drop):

            def forget(id: str = store.id) -> bool:
                self._files.remove_all(id)  # whoever works on one of them stops
                return self._files.forget(id)

            if await asyncio.to_thread(forget):
                await self._index.drop(store.id)
                await asyncio.to_thread(self._batches.forget, store.id)
                await asyncio.to_thread(self._stores.dropped, store.id)


async def _wait(event: asyncio.Event, most_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(most_s):
            await event.wait()
    event.clear()
