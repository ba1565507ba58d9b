"""What a vector database must offer to take the index's place, and how it may fail."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from retrieval.records import CollectionStats, Entry, Hit, Search

Vector = npt.NDArray[np.float32]
Vectors = npt.NDArray[np.float32]


class IndexProblem(Exception):
    """A collection cannot be used as asked. The classes below say why."""


class IndexMismatch(IndexProblem):
    """The collection's vectors are another embedder's: they cannot be compared with ours."""


class CorruptIndex(IndexProblem):
    """Files of the collection are damaged, and no generation is whole."""


class IndexBusy(IndexProblem):
    """Another process writes the collection."""


class CompactionFailed(IndexProblem):
    """The process that builds the next generation failed; the collection goes on as before."""


class VectorDatabase(Protocol):
    """One collection of documents. `retrieval.collection.Collection` is the one that comes along.

    All methods may be called from several threads at once.
    """

    name: str

    @property
    def generation(self) -> str:
        """The name of the generation that is searched; empty: there is none yet."""
        ...

    def upsert(self, entries: Sequence[Entry], vectors: Sequence[Vectors]) -> None:
        """Add documents, each in place of the one with its id; durable and findable on return.

        Args:
            entries: Documents with their passages.
            vectors: Per entry an array of shape (passages, dimensions), float32, unit rows.
        """
        ...

    def remove(self, *, documents: Sequence[str] = (), file_id: str | None = None) -> int:
        """Remove documents by id, or all of a file; durable on return. Returns how many."""
        ...

    def search(self, search: Search, vector: Vector | None) -> list[Hit]:
        """Return the passages of documents that hold at `search.now`, best first.

        Args:
            search: What to look for; `collections`, `rerank` and `reference` are others' business.
            vector: The query's unit vector; None searches by words alone.
        """
        ...

    def nearest(self, vector: Vector) -> float | None:
        """Return the cosine of the nearest passage that holds now; None without any."""
        ...

    def stats(self) -> CollectionStats:
        """Return sizes and state."""
        ...

    def wants_compaction(self) -> bool:
        """Whether `compact` would make searches cheaper, or the collection whole again."""
        ...

    def compact(self) -> None:
        """Fold what was added and removed into a new generation; searches and writes go on."""
        ...

    def close(self) -> None:
        """Let go of files and locks."""
        ...
