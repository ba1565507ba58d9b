"""A collection's state: a generation, and the journal's records since, applied in turn."""

import msgspec
import numpy as np

from retrieval.database import Vectors
from retrieval.delta import Delta
from retrieval.generation import Generation
from retrieval.journal import Record
from retrieval.records import Document, Entry
from retrieval.validity import Supersessions, Validity
from retrieval.view import SegmentView, View


class State:
    """What a collection holds. One thread at a time may change it; views do not change.

    Args:
        generation: What it begins with; None: nothing.
        dimensions: Length of a vector.
    """

    def __init__(self, generation: Generation | None, dimensions: int) -> None:
        self.generation = generation
        self.delta = Delta(dimensions)
        self.supersessions = Supersessions() if generation is None else generation.supersessions()
        self._dimensions = dimensions
        nothing = Validity.of((), ())
        self.kept = nothing if generation is None else generation.validity
        self.added = nothing
        self._kept_view = None if generation is None else SegmentView(generation, self.kept)

    def apply(self, record: Record) -> None:
        """Do what a record says."""
        if record.kind == "upsert":
            vectors = (
                np.frombuffer(data, "<f4").reshape(-1, self._dimensions) for data in record.vectors
            )
            pairs = zip(record.entries, vectors, strict=True)
            self._upsert({entry.document.id: (entry, rows) for entry, rows in pairs})
        elif record.kind == "remove":
            changed: set[str] = set()
            for document in record.documents:
                changed |= self.supersessions.removed(document, record.at)
            self._forget(record.documents)
            self._supersede(changed)

    def living(self, *, documents: tuple[str, ...] = (), file_id: str | None = None) -> list[str]:
        """Return which of these documents, and which of a file, are there."""
        found = {document for document in documents if self._place(document) is not None}
        if file_id is not None:
            if self.generation is not None:
                numbers = self.generation.of_file(file_id)
                found.update(self.generation.document(n).id for n in numbers if self.kept.alive[n])
            numbers = self.delta.of_file(file_id)
            found.update(self.delta.documents[n].id for n in numbers if self.added.alive[n])
        return sorted(found)

    def view(self) -> View:
        """Return what a search may see now."""
        added = SegmentView(self.delta, self.added)
        if self._kept_view is None or self.generation is None:
            return View("", (added,))
        if self._kept_view.validity is not self.kept:
            self._kept_view = SegmentView(self.generation, self.kept)
        return View(self.generation.name, (self._kept_view, added))

    def _upsert(self, batch: dict[str, tuple[Entry, Vectors]]) -> None:
        self._forget(list(batch))
        changed: set[str] = set()
        for entry, vectors in batch.values():
            changed |= self.supersessions.added(entry.document)
            self.delta.add(entry, vectors)
        documents: list[Document] = [entry.document for entry, _ in batch.values()]
        since = [self.supersessions.since(document.id) for document in documents]
        self.added = self.added.joined(Validity.of(documents, since))
        self._supersede(changed | set(batch))

    def _place(self, document: str) -> tuple[bool, int] | None:
        """Return whether a living document is in the delta, and its number there."""
        number = self.delta.find(document)
        if number is not None:
            return (True, number) if self.added.alive[number] else None
        number = None if self.generation is None else self.generation.find(document)
        return None if number is None or not self.kept.alive[number] else (False, number)

    def _forget(self, documents: list[str]) -> None:
        places = [place for document in documents if (place := self._place(document)) is not None]
        kept = [number for is_added, number in places if not is_added]
        added = [number for is_added, number in places if is_added]
        if kept:
            self.kept = self.kept.without(kept)
        if added:
            self.added = self.added.without(added)

    def _supersede(self, documents: set[str]) -> None:
        kept: dict[int, float] = {}
        added: dict[int, float] = {}
        for document in documents:
            place = self._place(document)
            if place is not None:
                (added if place[0] else kept)[place[1]] = self.supersessions.since(document)
        kept = {n: at for n, at in kept.items() if self.kept.superseded_at[n] != at}
        added = {n: at for n, at in added.items() if self.added.superseded_at[n] != at}
        if kept:
            self.kept = self.kept.superseded(kept)
        if added:
            self.added = self.added.superseded(added)


def as_record(at: float, entries: list[Entry], vectors: list[Vectors], dimensions: int) -> Record:
    """Return the record that adds documents.

    Raises:
        ValueError: Vectors that do not fit the passages, or are not finite.
    """
    stored, dated = [], []
    for entry, rows in zip(entries, vectors, strict=True):
        if rows.shape != (len(entry.passages), dimensions):
            raise ValueError(
                f"{entry.document.id}: vectors of shape {rows.shape}, "
                f"not {(len(entry.passages), dimensions)}"
            )
        if not np.isfinite(rows).all():
            raise ValueError(f"{entry.document.id}: a vector is not finite")
        document = entry.document
        if not document.updated_at:
            updated_at = at if document.valid_from is None else document.valid_from
            document = msgspec.structs.replace(document, updated_at=updated_at)
        dated.append(msgspec.structs.replace(entry, document=document))
        stored.append(np.ascontiguousarray(rows, "<f4").tobytes())
    return Record(kind="upsert", at=at, entries=dated, vectors=stored)
