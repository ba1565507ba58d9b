"""A collection made of vectors that are there, and the real service process over it."""

import asyncio
import contextlib
import hashlib
import json
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from loadtests.bench.process import running
from retrieval.client import RetrievalClient
from retrieval.collections import Collections
from retrieval.embedder import Embedder, Vectors
from retrieval.records import Document, Entry, Passage

NAME = "vs_bench"
_TOGETHER = 1000


def prepare(folder: Path, embedder: Embedder, texts: Sequence[str], vectors: Vectors) -> None:
    """Make the collection `vs_bench`, a document per text with its row as id, in one generation.

    One that is there, of the same texts, is kept.
    """
    done = folder / "prepared.json"
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    wanted = {"texts": len(texts), "digest": digest, "embedder": embedder.id}
    if done.is_file() and json.loads(done.read_text()) == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    collections = Collections(folder / "indexes", embedder.id, embedder.dimensions)
    collection = collections.open(NAME, create=True)
    began = time.monotonic()
    for start in range(0, len(texts), _TOGETHER):
        block = texts[start : start + _TOGETHER]
        entries = [
            Entry(document=Document(id=str(start + n)), passages=(Passage(number=0, text=text),))
            for n, text in enumerate(block)
        ]
        rows = [vectors[start + n : start + n + 1] for n in range(len(block))]
        collection.upsert(entries, rows)
    say(f"{len(texts):,} passages added in {time.monotonic() - began:.0f} s; compacting")
    collection.compact()
    collections.close()
    say(f"made in {time.monotonic() - began:.0f} s")
    done.write_text(json.dumps(wanted))


@contextlib.asynccontextmanager
async def serving(folder: Path, model: str) -> AsyncIterator[RetrievalClient]:
    """Run the service on a folder that `prepare` made; gives a client once it answers.

    Args:
        folder: The folder; its `indexes` are served.
        model: Folder of the embedder, or `hash`.
    """
    path = folder / "r.sock"
    command: list[str | Path] = [
        *(Path(sys.executable).with_name("driftgate"), "retrieval", "serve"),
        *("--model", model, "--socket", path, "--indexes", folder / "indexes"),
    ]

    def ready() -> bool:
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(path))
            return True
        return False

    client = RetrievalClient(path)
    with contextlib.ExitStack() as stack:
        await asyncio.to_thread(
            stack.enter_context, running(command, ready, folder / "service.log", timeout_s=120)
        )
        await client.stats(NAME, deadline_s=120)  # it is open from here on
        try:
            yield client
        finally:
            await client.close()
            await asyncio.to_thread(stack.close)


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
