"""Compaction: the next generation, built by a process of its own: `python -m retrieval.compaction`.

It reads a generation and the journal after it, writes a new folder, and changes nothing else. The
process that writes the collection starts it, and makes the folder the current generation. So either
may be killed at any moment. Where the starting process dies, this one ends too.

The order comes in as JSON on its first line of standard input, which then stays open.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from retrieval import index, lexical
from retrieval.database import CompactionFailed, IndexProblem
from retrieval.generation import Generation, Manifest, hashed, seal
from retrieval.journal import Reader
from retrieval.lifeline import end_with_parent
from retrieval.packed import write_packed
from retrieval.records import Document
from retrieval.recovery import replay
from retrieval.state import State
from retrieval.validity import Validity

_BLOCK = 65_536


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to build.

    Attributes:
        folder: The collection's folder.
        into: The folder to write.
        base: The generation to begin with, or "".
        through: The last file of the journal to take in.
        embedder: The embedder's id.
        dimensions: Length of a vector.
    """

    folder: str
    into: str
    base: str
    through: int
    embedder: str
    dimensions: int


def run(order: Order) -> None:
    """Have a process build a generation, and wait for it.

    Raises:
        CompactionFailed: It could not, with what it said.
    """
    threads = str(max(1, (os.cpu_count() or 2) // 2))  # the rest is for those who search
    environment = os.environ | {"OMP_NUM_THREADS": threads, "DISABLE_TQDM": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "retrieval.compaction"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        try:
            if process.stdin is None or process.stderr is None:
                raise OSError("no pipes")
            process.stdin.write(msgspec.json.encode(order) + b"\n")
            process.stdin.flush()
            said = process.stderr.read().decode(errors="replace").strip()
            if process.wait() != 0:
                last = said.splitlines()[-1] if said else f"exit status {process.returncode}"
                raise CompactionFailed(last)
        except OSError as error:
            raise CompactionFailed(str(error)) from error
        finally:
            process.kill()


def build(order: Order) -> None:
    """Write the generation that an order asks for."""
    begun = time.monotonic()
    collection, folder = Path(order.folder), Path(order.into)
    base, first = None, 1
    if order.base:
        path = collection / "generations" / order.base
        base = Generation(path, order.embedder, order.dimensions)
        first = base.manifest.journal
    state = State(base, order.dimensions)
    reader = Reader(collection / "journal", first, order.through)
    replay(state, reader, order.embedder, order.dimensions)
    folder.mkdir()
    living = _Living(state)
    write_packed(folder / "documents.bin", living.packed_documents())
    passages = write_packed(folder / "passages.bin", living.packed_passages())
    names = _write_documents(folder, living)
    stored = state.supersessions.stored(names)
    (folder / "supersessions.msgpack").write_bytes(msgspec.msgpack.encode(stored))
    _write_vectors(folder / "vectors.npy", living, passages, order.dimensions)
    lexical.build(folder, *living.tokens())
    vectors = np.load(folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
    before = collection / "generations" / order.base / "dense.faiss" if order.base else None
    manifest = Manifest(
        embedder=order.embedder,
        dimensions=order.dimensions,
        documents=len(names),
        passages=passages,
        journal=order.through + 1,
        lists=index.build(folder / "dense.faiss", vectors, before),
        created=0.0,
        built_s=time.monotonic() - begun,
    )
    seal(folder, manifest)


class _Living:
    """The documents of a state that are still there: the generation's, then the added ones."""

    def __init__(self, state: State) -> None:
        self.base, self.delta = state.generation, state.delta
        self.kept = np.flatnonzero(state.kept.alive)
        self.added = np.flatnonzero(state.added.alive)
        self.kept_owners = np.zeros(0, np.int32) if self.base is None else self.base.owners
        self.kept_rows = np.flatnonzero(state.kept.alive[self.kept_owners])
        self.added_rows = np.flatnonzero(state.added.alive[self.delta.owners])

    def packed_documents(self) -> Iterator[bytes]:
        if self.base is not None:
            yield from map(self.base.packed, self.kept.tolist())
        for number in self.added.tolist():
            yield msgspec.msgpack.encode(self.delta.documents[number])

    def packed_passages(self) -> Iterator[bytes]:
        if self.base is not None:
            yield from map(self.base.packed_passage, self.kept_rows.tolist())
        for row in self.added_rows.tolist():
            yield msgspec.msgpack.encode(self.delta.passages[row])

    def documents(self) -> Iterator[Document]:
        if self.base is not None:
            yield from map(self.base.document, self.kept.tolist())
        for number in self.added.tolist():
            yield self.delta.documents[number]

    def owners(self) -> npt.NDArray[np.int32]:
        kept = np.searchsorted(self.kept, self.kept_owners[self.kept_rows])
        added = np.searchsorted(self.added, self.delta.owners[self.added_rows])
        return np.concatenate((kept, added + len(self.kept))).astype(np.int32)

    def vectors(self) -> Iterator[npt.NDArray[np.float32]]:
        if self.base is not None:
            for start in range(0, len(self.kept_rows), _BLOCK):
                yield self.base.vectors[self.kept_rows[start : start + _BLOCK]]
        yield self.delta.vectors[self.added_rows]

    def tokens(self) -> tuple[lexical.Tokens, dict[str, int]]:
        vocabulary = {} if self.base is None else self.base.words.vocabulary
        old = None if self.base is None else self.base.words.tokens
        texts = (
            lexical.searched_text(
                self.delta.documents[self.delta.owners[row]], self.delta.passages[row]
            )
            for row in self.added_rows.tolist()
        )
        return lexical.joined(old, self.kept_rows, texts, vocabulary)


def _write_documents(folder: Path, living: _Living) -> list[str]:
    names, files, facts = [], [], []
    for document in living.documents():
        names.append(document.id)
        files.append(hashed(document.file_id))
        facts.append(document)
    validity = Validity.of(facts, [np.inf] * len(facts))
    times = np.stack((validity.valid_from, validity.valid_to, validity.updated_at))
    arrays: dict[str, npt.NDArray[Any]] = {
        "owners.npy": living.owners(),
        "names.npy": np.array([hashed(name) for name in names], np.uint64),
        "files.npy": np.array(files, np.uint64),
        "times.npy": times,
    }
    for name, values in arrays.items():
        np.save(folder / name, values, allow_pickle=False)
    return names


def _write_vectors(path: Path, living: _Living, rows: int, dimensions: int) -> None:
    written: Any = np.lib.format  # it has no types
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, dimensions)}
        written.write_array_header_1_0(file, header)
        for block in living.vectors():
            file.write(np.ascontiguousarray(block, "<f4").data)


def main() -> None:
    """Build what the first line of standard input asks for."""
    os.nice(10)
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    end_with_parent()
    try:
        build(order)
    except IndexProblem as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)  # without waiting for the thread that reads standard input


if __name__ == "__main__":
    main()
