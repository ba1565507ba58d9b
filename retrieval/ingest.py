"""Files to entries, in a process of its own: `python -m retrieval.ingest`.

Parsers of foreign files may hang, grow or crash. So a file is read by a child with limits of time
and memory, which sends what it finds as frames of MessagePack on its standard output. The child
waits while its reader is busy, so only one batch of rows is ever in memory.

Light on purpose: what parses is imported by the child alone.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import msgspec

from retrieval.protocol import frame, read_frame
from retrieval.records import Document, Entry, Passage, Value

MEMORY_BYTES = 2 * 2**30


class LoadError(Exception):
    """A file, or a part of it, could not be read; the message names the file and says why.

    Args:
        message: For people: the file's name, the page or line, and what is wrong there.
        partial: Whether the rest of the file was read: the entries that came before this error
            are whole and may stay. Otherwise nothing of the file should.
    """

    def __init__(self, message: str, *, partial: bool = False) -> None:
        super().__init__(message)
        self.partial = partial


class IngestOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a file becomes entries.

    Attributes:
        filename: What the file is called; its ending tells the format, and errors name it.
        document_id: Id of its document, unless the file gives one itself; rows of CSV and JSONL
            without an `id` of their own become `{document_id}#{row}`.
        file_id: The uploaded file, for the document's record.
        attributes: title, url, valid_from, valid_to, ttl and supersedes (ids with commas between
            them) describe the document; all others are metadata. They win over the file's own.
        max_tokens: Most tokens of a passage; never more than the embedder reads.
        overlap_tokens: Most tokens that a passage repeats of the one before.
        tokenizer: The embedder's folder, or a tokenizer.json; empty: words are counted.
        now: Unix seconds at which it is added; None: the clock.
    """

    filename: str
    document_id: str
    file_id: str = ""
    attributes: dict[str, Value] = {}
    max_tokens: int = 200
    overlap_tokens: int = 40
    tokenizer: str = ""
    now: float | None = None


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """How far the file has been read: `done` of `total` pages or bytes."""

    done: int
    total: int
    unit: str


class Began(msgspec.Struct, frozen=True, tag="began"):
    """A document; its passages follow."""

    document: Document


class Passages(msgspec.Struct, frozen=True, tag="passages"):
    """The next passages of the document that began last."""

    passages: tuple[Passage, ...]


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The document is whole."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The last message of a file that could not be read, or not all of it."""

    error: str
    partial: bool = False


Message = Progress | Began | Passages | Ended | Failed


class Batch(msgspec.Struct, frozen=True):
    """A frame of the child: what it has found since the last one."""

    messages: list[Message]


class Job(msgspec.Struct, frozen=True):
    """What the child is told on its standard input, as one frame."""

    path: str
    options: IngestOptions
    memory_bytes: int
    cpu_s: int


async def ingest(
    path: Path,
    options: IngestOptions,
    *,
    timeout_s: float = 600,
    memory_bytes: int = MEMORY_BYTES,
    on_progress: Callable[[Progress], None] | None = None,
) -> AsyncGenerator[Entry]:
    """Yield the entries of a file, each as soon as it is whole.

    Close the iterator where it is left early (`contextlib.aclosing`): that ends the child.

    Args:
        path: The file.
        options: What it is called and how it is cut.
        timeout_s: Most seconds of waiting for the child; what the caller does with an entry
            does not count.
        memory_bytes: Most address space of the child.
        on_progress: Called from time to time.

    Raises:
        LoadError: The file could not be read; with `partial`, some rows or pages of it.
    """
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "retrieval.ingest"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"},
    )
    assert child.stdin is not None  # noqa: S101
    assert child.stdout is not None  # noqa: S101
    name = options.filename
    # Of processor time twice the limit: it only has to end a child that nobody waits for.
    job = Job(str(path), options, memory_bytes, int(2 * timeout_s) + 10)
    left = timeout_s
    document: Document | None = None
    passages: list[Passage] = []
    try:
        with contextlib.suppress(ConnectionError):  # it ended early; the code tells below
            child.stdin.write(frame(job))
            await child.stdin.drain()
        while True:
            began = time.monotonic()
            try:
                async with asyncio.timeout(max(left, 0)):
                    data = await read_frame(child.stdout)
            except TimeoutError:
                raise LoadError(f"{name}: reading it took more than {timeout_s:g} s") from None
            except EOFError:
                break
            left -= time.monotonic() - began
            for message in msgspec.msgpack.decode(data, type=Batch).messages:
                if isinstance(message, Began):
                    document, passages = message.document, []
                elif isinstance(message, Passages):
                    passages += message.passages
                elif isinstance(message, Ended):
                    assert document is not None  # noqa: S101
                    yield Entry(document=document, passages=tuple(passages))
                    document, passages = None, []
                elif isinstance(message, Failed):
                    raise LoadError(message.error, partial=message.partial)
                elif on_progress is not None:
                    on_progress(message)
        code = await child.wait()
        if code != 0:
            raise LoadError(f"{name}: {_end(code)}")
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
        child.stdin.close()
        await asyncio.shield(_ended(child))


async def _ended(child: asyncio.subprocess.Process) -> None:
    """Wait for a child's end; asyncio waits for its pipes too, and for a full one forever."""
    if child.stdout is not None:
        while await child.stdout.read(2**16):
            pass
    await child.wait()


def _end(code: int) -> str:
    if code < 0:
        return f"the process that read it was ended by signal {-code}"
    return f"the process that read it ended with code {code}"


if __name__ == "__main__":
    from retrieval.reading import main

    main()
