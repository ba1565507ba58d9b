"""The delta: what was added since the generation was built, in memory and searched exactly.

It only grows, and a search looks no further than the rows that its view knows. So searches go on
while documents are added.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from retrieval.database import Vector, Vectors
from retrieval.filters import Columns
from retrieval.lexical import Postings, searched_text
from retrieval.masks import Mask
from retrieval.records import Document, Entry, Passage, Value

Rows = npt.NDArray[np.int64]
_ROOM = 256


class Delta:
    """Documents in memory.

    Args:
        dimensions: Length of a vector.
    """

    def __init__(self, dimensions: int) -> None:
        self.documents: list[Document] = []
        self.passages: list[Passage] = []
        self.words = Postings()
        self.columns = Columns(self._metadata)
        self.firsts: list[int] = []
        self._vectors = np.zeros((_ROOM, dimensions), np.float32)
        self._owners = np.zeros(_ROOM, np.int32)
        self._characters = 0
        self._numbers: dict[str, int] = {}

    @property
    def rows(self) -> int:
        """How many passages it has."""
        return len(self.passages)

    @property
    def bytes(self) -> int:
        """About how much memory its vectors and texts take."""
        return self._vectors.nbytes + self._characters

    @property
    def owners(self) -> npt.NDArray[np.int32]:
        """The document of each passage."""
        return self._owners[: self.rows]

    @property
    def vectors(self) -> Vectors:
        """The vector of each passage."""
        return self._vectors[: self.rows]

    def add(self, entry: Entry, vectors: Vectors) -> None:
        """Add a document; an older one with its id stays, for searches that began before."""
        number, first = len(self.documents), self.rows
        self._make_room(first + len(vectors))
        self._vectors[first : first + len(vectors)] = vectors
        self._owners[first : first + len(vectors)] = number
        for passage in entry.passages:
            self.words.add(searched_text(entry.document, passage))
        self.passages.extend(entry.passages)
        self._characters += sum(len(passage.text) for passage in entry.passages)
        self.firsts.append(first)
        self.documents.append(entry.document)
        self._numbers[entry.document.id] = number

    def find(self, document: str) -> int | None:
        """Return the number of the newest document with an id."""
        return self._numbers.get(document)

    def of_file(self, file_id: str) -> list[int]:
        """Return the numbers of a file's documents."""
        return [n for n, document in enumerate(self.documents) if document.file_id == file_id]

    def document(self, number: int) -> Document:
        """Return a document."""
        return self.documents[number]

    def passage(self, row: int) -> Passage:
        """Return a passage."""
        return self.passages[row]

    def nearest(self, vector: Vector, limit: int, mask: Mask) -> tuple[Rows, Vector]:
        """Return the nearest rows with their cosines, best first."""
        similarities = self._vectors[: mask.total] @ vector
        rows = mask.passing_rows()
        similarities = similarities[rows]
        if len(rows) > limit:
            best = np.argpartition(-similarities, limit - 1)[:limit]
            rows, similarities = rows[best], similarities[best]
        order = np.argsort(-similarities, kind="stable")
        return rows[order], similarities[order]

    def cosines(self, rows: Rows, vector: Vector) -> Vector:
        """Return the cosines of these rows to a vector."""
        return np.asarray(self._vectors[rows] @ vector, np.float32)

    def _make_room(self, rows: int) -> None:
        if rows > len(self._vectors):
            room = max(rows, 2 * len(self._vectors))
            vectors = np.zeros((room, self._vectors.shape[1]), np.float32)
            owners = np.zeros(room, np.int32)
            vectors[: self.rows], owners[: self.rows] = self.vectors, self.owners
            self._vectors, self._owners = vectors, owners

    def _metadata(self, start: int, end: int) -> Iterable[dict[str, Value]]:
        return (document.metadata for document in self.documents[start:end])
