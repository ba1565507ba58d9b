"""A store, files on their way into it, and a service that fails as it is told, for tests."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.ingestion import Ingestion
from gateway.retrieval_metrics import RetrievalMetrics
from gateway.store.database import Database
from gateway.store.files import Files, StoredFile, file_id
from gateway.store.vector_store_files import VectorStoreFile, VectorStoreFiles
from gateway.store.vector_stores import VectorStore, VectorStores
from retrieval.client import RetrievalClient, RetrievalFailed
from retrieval.requests import Counts

WORKER = """
import asyncio, sys
from pathlib import Path
from gateway.ingestion import Ingestion
from gateway.retrieval_metrics import RetrievalMetrics
from gateway.store.database import Database
from gateway.store.files import Files
from retrieval.client import RetrievalClient

async def main(home):
    database = Database(f"sqlite:///{home}/driftgate.db")
    client = RetrievalClient(home / "run" / "r.sock")
    uploads = Files(database, home / "files")
    await Ingestion(database, uploads, client, RetrievalMetrics(), lease_s=2).run()

asyncio.run(main(Path(sys.argv[1])))
"""


@dataclass
class World:
    """A store, `vs_1`, and what is needed to bring files into it."""

    home: Path
    database: Database

    def __post_init__(self) -> None:
        self.uploads = Files(self.database, self.home / "files")
        self.stores = VectorStores(self.database)
        self.files = VectorStoreFiles(self.database)
        self.stores.add(VectorStore("vs_1", None, time.time()))

    def add(self, name: str, content: bytes, **fields: Any) -> str:
        """Upload a file and add it to the store; returns its id."""
        partial = self.uploads.partial()
        partial.write_bytes(content)
        id = file_id()
        self.uploads.add(StoredFile(id, None, 1.0, name, "assistants", len(content), "00"), partial)
        self.files.add([VectorStoreFile("vs_1", id, None, time.time(), **fields)])
        return id

    def file(self, id: str) -> VectorStoreFile:
        found = self.files.get("vs_1", id)
        assert found is not None
        return found

    @contextlib.asynccontextmanager
    async def working(self, index: Any = None, lease_s: float = 2.0) -> AsyncIterator[Ingestion]:
        """Run the background part, over the service unless `index` takes its place."""
        client = RetrievalClient(self.home / "run" / "r.sock")
        metrics = RetrievalMetrics()
        ingestion = Ingestion(self.database, self.uploads, index or client, metrics, lease_s)
        task = asyncio.create_task(ingestion.run())
        await asyncio.sleep(0)
        try:
            yield ingestion
            assert not task.done()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await client.close()


async def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        await asyncio.sleep(0.02)


def rows(count: int) -> bytes:
    return b"".join(b'{"text": "gate number %d opens at six"}\n' % n for n in range(count))


class Scripted:
    """Stands in for the service: fails as it is told, in order, then adds."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.added = 0
        self.removed: list[str | None] = []
        self.hold = asyncio.Event()
        self.hold.set()

    async def add_file(self, *_: Any, on_progress: Any = None) -> Counts:
        if self.faults and not isinstance(self.faults[0], RetrievalFailed):
            on_progress(Counts(read=1))
        if self.faults:
            raise self.faults.pop(0)
        await self.hold.wait()
        self.added += 1
        return Counts(documents=1, passages=1, bytes=10)

    async def remove(self, _: str, *, file_id: str | None = None) -> int:
        self.removed.append(file_id)
        return 0

    async def drop(self, _: str) -> None:
        pass
