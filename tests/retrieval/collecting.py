"""Documents and collections for tests of the index."""

from collections.abc import Sequence
from pathlib import Path

from retrieval.collection import Collection
from retrieval.collections import Collections
from retrieval.database import Vectors
from retrieval.embedder import HashEmbedder
from retrieval.records import Document, Entry, Hit, Passage, Search, SearchMode

EMBEDDER = HashEmbedder(64)


def entry(name: str, *texts: str, document: Document | None = None) -> Entry:
    """Return a document with a passage per text."""
    return Entry(
        document=document or Document(id=name),
        passages=tuple(Passage(number=n, text=text) for n, text in enumerate(texts)),
    )


def vectors(entries: Sequence[Entry]) -> list[Vectors]:
    """Return the vectors of entries."""
    return [EMBEDDER.embed([p.text for p in one.passages])[0] for one in entries]


def add(collection: Collection, *entries: Entry) -> None:
    """Add documents."""
    collection.upsert(entries, vectors(entries))


def find(
    collection: Collection,
    query: str,
    *,
    limit: int = 10,
    mode: SearchMode = "hybrid",
    now: float | None = None,
) -> list[Hit]:
    """Search."""
    search = Search(query=query, collections=(), limit=limit, mode=mode, now=now)
    return collection.search(search, EMBEDDER.embed([query])[0][0])


def ids(hits: list[Hit]) -> list[str]:
    """Return the documents of hits."""
    return [hit.document.id for hit in hits]


def opened(folder: Path) -> Collections:
    """Return the collections of a folder."""
    return Collections(folder, EMBEDDER.id, EMBEDDER.dimensions)
