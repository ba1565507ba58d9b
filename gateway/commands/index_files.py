"""Files of this host into a vector store: copied, filed, and followed until they are indexed."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gateway import attributes
from gateway.commands.index_sources import Source, copied
from gateway.ingestion import Ingestion
from gateway.retrieval_metrics import RetrievalMetrics
from gateway.store.database import Database
from gateway.store.files import Files, StoredFile, file_id
from gateway.store.vector_store_files import (
    COMPLETED,
    IN_PROGRESS,
    REMOVING,
    VectorStoreFile,
    VectorStoreFiles,
)
from gateway.store.vector_stores import VectorStore, VectorStores
from retrieval.client import RetrievalClient, RetrievalUnavailable

_PURPOSE = "assistants"
# Files that are copied and wait to be indexed; what is not copied yet need not be taken up again.
_WINDOW = 32
_POLL_S = 0.25
_LEASE_S = 10.0
_AWAY_S = 10.0
State = Literal["added", "replaced", "unchanged", "partial", "failed"]


@dataclass(slots=True)
class Outcome:
    """What became of a source.

    Attributes:
        name: What it is called.
        state: `partial`: some rows or pages of it could not be read, the rest was added.
        file_id: The file that it is in the store, where there is one.
        documents: Its documents.
        passages: Their passages.
        error: Why it, or a part of it, could not be added.
    """

    name: str
    state: State
    file_id: str = ""
    documents: int = 0
    passages: int = 0
    error: str = ""


@dataclass(slots=True)
class Sum:
    """How far adding is; `now` says what is being read."""

    files: int = 0
    documents: int = 0
    passages: int = 0
    now: str = ""


class Filing:
    """Files things in one vector store, and works on them beside the gateway's own workers.

    Where this process ends early, a gateway goes on with what was filed, or the next call does.

    Args:
        database: The store.
        uploads: The gateway's files.
        client: The retrieval service.
        store: The vector store.
    """

    def __init__(
        self, database: Database, uploads: Files, client: RetrievalClient, store: VectorStore
    ) -> None:
        self._uploads, self._client, self._store = uploads, client, store
        self._stores, self._rows = VectorStores(database), VectorStoreFiles(database)
        self._ingestion = Ingestion(database, uploads, client, RetrievalMetrics(), _LEASE_S)
        self._by_name: dict[str, tuple[VectorStoreFile, StoredFile]] = {}
        self._by_digest: dict[str, tuple[VectorStoreFile, StoredFile]] = {}
        self._filed: set[str] = set()

    async def add(self, given: Sequence[Source], show: Callable[[Sum], None]) -> list[Outcome]:
        """Add files; `show` hears how far it is. The outcomes are in the order of the files.

        Raises:
            RetrievalUnavailable: The service went away.
            StoreError: The store did.
        """
        await asyncio.to_thread(self._learn)
        outcomes: dict[str, Outcome] = {}
        replaced: dict[str, str] = {}
        gone: list[str] = []
        waiting, filed = deque(given), dict[str, Outcome]()
        so_far = Sum()
        async with self._working() as still_there:
            while waiting or filed:
                while waiting and len(filed) < _WINDOW:
                    source = waiting.popleft()
                    outcome, old = await asyncio.to_thread(self._file, source)
                    outcomes[source.name] = outcome
                    if old:
                        replaced[outcome.file_id] = old
                    if outcome.state in ("added", "replaced"):
                        self._filed.add(outcome.file_id)
                        filed[outcome.file_id] = outcome
                    else:
                        so_far.files += 1
                    show(so_far)
                self._ingestion.wake()
                await still_there()
                running = await self._follow(filed, so_far)
                for id in [id for id in filed if id not in running]:
                    outcome = filed.pop(id)
                    so_far.files += 1
                    if id in replaced and outcome.state != "failed":
                        gone.append(replaced[id])
                        await asyncio.to_thread(self._rows.remove, self._store.id, replaced[id])
                show(_with(so_far, filed, running))
            await self._wait_gone(gone, still_there)
        await asyncio.to_thread(self._stores.touch, [self._store.id])
        return list(outcomes.values())

    async def remove(self, ids: Sequence[str]) -> None:
        """Take files out of the store, and delete those that no other store has.

        Raises:
            RetrievalUnavailable: The service went away.
            StoreError: The store did.
        """
        for id in ids:
            await asyncio.to_thread(self._rows.remove, self._store.id, id)
        async with self._working() as still_there:
            await self._wait_gone(ids, still_there)

    async def drop(self, ids: Sequence[str]) -> None:
        """Delete the vector store, and its files that no other store has.

        Raises:
            RetrievalUnavailable: The service went away.
            StoreError: The store did.
        """
        await asyncio.to_thread(self._stores.remove, self._store.id)
        async with self._working() as still_there:
            while any(each.id == self._store.id for each in self._stores.to_drop()):
                self._ingestion.wake()
                await still_there()
        await asyncio.to_thread(self._delete_unused, ids)

    @contextlib.asynccontextmanager
    async def _working(self) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Work on what is filed while the block runs; yields what waits a moment, or raises."""
        working = asyncio.create_task(self._ingestion.run())
        heard = time.monotonic()

        async def still_there() -> None:
            nonlocal heard
            await asyncio.wait({working}, timeout=_POLL_S)
            if working.done():
                working.result()
            try:
                await self._client.info()
                heard = time.monotonic()
            except RetrievalUnavailable:
                if time.monotonic() - heard > _AWAY_S:
                    raise

        try:
            yield still_there
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    def _learn(self) -> None:
        """Read which files the store has."""
        rows: list[VectorStoreFile] = []
        after, more = None, True
        while more:
            page, more = self._rows.page(self._store.id, after=after, limit=1000)
            rows += page
            after = page[-1].file_id if page else None
        for row in reversed(rows):  # the newest of a name is what counts
            upload = self._uploads.get(row.file_id)
            if upload is not None:
                self._by_name[upload.filename] = self._by_digest[upload.sha256] = (row, upload)

    def _file(self, source: Source) -> tuple[Outcome, str]:
        """Copy and file a source; returns the id of the file that it replaces as well."""
        from gateway.api.vector_store_access import MAX_FILES  # FastAPI, which nothing else needs

        name = source.name
        try:
            attributes.check({"id": name})
            partial = self._uploads.partial()
        except (attributes.InvalidAttribute, OSError) as error:
            return Outcome(name, "failed", error=f"{name}: {error}"), ""
        try:
            size, digest = copied(source.path, partial)
            known = self._by_digest.get(digest)
            if known is not None:
                return self._again(name, *known), ""
            if len(self._by_digest) >= MAX_FILES:
                told = f"{name}: a store has at most {MAX_FILES:,} files"
                return Outcome(name, "failed", error=told), ""
            now, owner = time.time(), self._store.key_prefix
            upload = StoredFile(file_id(), owner, now, name, _PURPOSE, size, digest)
            self._uploads.add(upload, partial)
        except OSError as error:
            told = f"{name}: cannot be read: {error.strerror or error}"
            return Outcome(name, "failed", error=told), ""
        finally:
            partial.unlink(missing_ok=True)
        # The name is the document's id: a changed file replaces its old version at one stroke.
        row = VectorStoreFile(self._store.id, upload.id, owner, now, attributes={"id": name})
        self._rows.add([row])
        old = self._by_name.get(name)
        self._by_name[name] = self._by_digest[digest] = (row, upload)
        state: State = "added" if old is None else "replaced"
        return Outcome(name, state, upload.id), "" if old is None else old[1].id

    def _again(self, name: str, row: VectorStoreFile, upload: StoredFile) -> Outcome:
        """Take up a file that the store has already."""
        if row.status == COMPLETED or upload.id in self._filed:
            error = (row.last_error or {}).get("message", "")
            state: State = "partial" if error else "unchanged"
            return Outcome(name, state, upload.id, row.documents, row.passages, error)
        if row.status != IN_PROGRESS:
            now = time.time()
            anew = VectorStoreFile(self._store.id, upload.id, self._store.key_prefix, now)
            self._rows.add([replace(anew, attributes=row.attributes)])
        return Outcome(name, "added", upload.id)

    async def _follow(self, filed: dict[str, Outcome], so_far: Sum) -> dict[str, VectorStoreFile]:
        """Return the files that are still in work; the others' outcomes are written."""
        ids = {(self._store.id, id) for id in filed}
        rows = {
            id: row for (_, id), row in (await asyncio.to_thread(self._rows.among, ids)).items()
        }
        running = {}
        for id, outcome in filed.items():
            row = rows.get(id)
            if row is None or row.status == REMOVING:
                outcome.state, outcome.error = "failed", f"{outcome.name}: was removed meanwhile"
            elif row.status == IN_PROGRESS:
                running[id] = row
            else:
                outcome.documents, outcome.passages = row.documents, row.passages
                outcome.error = (row.last_error or {}).get("message", "")
                if row.status != COMPLETED:
                    outcome.state = "failed"
                    outcome.error = outcome.error or f"{outcome.name}: was cancelled"
                elif outcome.error:
                    outcome.state = "partial"
                so_far.documents += row.documents
                so_far.passages += row.passages
        return running

    async def _wait_gone(
        self, ids: Sequence[str], still_there: Callable[[], Awaitable[None]]
    ) -> None:
        """Wait until files are out of the index, then delete them."""
        left = {(self._store.id, id) for id in ids}
        while left:
            self._ingestion.wake()
            await still_there()
            left = set(await asyncio.to_thread(self._rows.among, left))
        await asyncio.to_thread(self._delete_unused, ids)

    def _delete_unused(self, ids: Sequence[str]) -> None:
        stores = self._stores.owners()
        used = {id for _, id in self._rows.among({(store, id) for store in stores for id in ids})}
        for id in ids:
            if id not in used:
                self._uploads.delete(id)


def _with(so_far: Sum, filed: Mapping[str, Outcome], running: Mapping[str, VectorStoreFile]) -> Sum:
    """Return the sum with what is in work."""
    total = replace(so_far)
    for id, row in running.items():
        progress = row.progress or {}
        total.documents += int(progress.get("documents", 0))
        total.passages += int(progress.get("passages", 0))
        if progress.get("total"):
            read, whole, unit = progress["read"], progress["total"], progress["unit"]
            part = (
                f"{100 * read // whole} %" if unit == "bytes" else f"{unit} {read:,} of {whole:,}"
            )
            total.now = f"{filed[id].name}: {part}"
    return total
