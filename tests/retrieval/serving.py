"""The retrieval service for tests: in this process, or as the process that `driftgate` starts."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from retrieval.client import RetrievalClient
from retrieval.embedder import Embedder, HashEmbedder
from retrieval.records import Area, Document, Found, Passage, Search, SearchMode
from retrieval.records import Entry as Entry
from retrieval.reranker import Reranker
from retrieval.service import RetrievalService

SERVE = "from retrieval.cli import app; app()"


@contextlib.asynccontextmanager
async def service(
    home: Path, *, embedder: Embedder | None = None, reranker: Reranker | None = None
) -> AsyncIterator[RetrievalClient]:
    """Serve `home/indexes` and `home/files` in this process; yields a client."""
    (home / "files").mkdir(exist_ok=True)
    path = home / "run" / "r.sock"
    served = RetrievalService(
        embedder or HashEmbedder(), path, home / "indexes", home / "files", reranker=reranker
    )
    async with served.serving():
        client = RetrievalClient(path)
        try:
            yield client
        finally:
            await client.close()


@contextlib.contextmanager
def process(home: Path, socket: Path, model: str = "hash") -> Iterator[subprocess.Popen[bytes]]:
    """Run `driftgate retrieval serve` on `home`, from when it answers."""
    (home / "files").mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", SERVE, "serve", "--model", model, "--socket", str(socket)]
    command += ["--indexes", str(home / "indexes"), "--files", str(home / "files")]
    started = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        asyncio.run(answers(socket, started))
        yield started
    finally:
        started.kill()
        started.communicate()


async def answers(socket: Path, started: subprocess.Popen[bytes], within_s: float = 60) -> None:
    """Wait until a service that was started answers."""
    deadline = time.monotonic() + within_s
    client = RetrievalClient(socket)
    while True:
        try:
            await client.info()
            break
        except Exception:
            assert started.poll() is None, "the service ended"
            assert time.monotonic() < deadline, "the service does not answer"
            await asyncio.sleep(0.05)
    await client.close()


def entry(name: str, *texts: str, **fields: object) -> Entry:
    """Return a document with a passage per text."""
    passages = tuple(Passage(number=n, text=text) for n, text in enumerate(texts))
    return Entry(document=Document(id=name, **fields), passages=passages)  # type: ignore[arg-type]


async def search(
    client: RetrievalClient,
    query: str,
    *collections: str,
    limit: int = 10,
    mode: SearchMode = "hybrid",
    rerank: bool | None = None,
    reference: str | None = None,
    areas: tuple[Area, ...] = (),
) -> Found:
    """Search; the collection is `facts` where none is named."""
    asked = Search(
        query=query,
        collections=collections or ("facts",),
        limit=limit,
        mode=mode,
        rerank=rerank,
        reference=reference,
        areas=areas,
    )
    return await client.search(asked, deadline_s=10)


async def documents(client: RetrievalClient, query: str, *collections: str) -> set[str]:
    """Return the ids of the documents that a search finds."""
    found = await search(client, query, *collections, limit=10_000)
    return {hit.document.id for hit in found.hits}
