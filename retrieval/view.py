"""What a search sees: the segments of a collection as they were at one moment."""

import dataclasses
import threading
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from retrieval.database import Vector
from retrieval.filters import Columns
from retrieval.lexical import LexicalIndex, Postings
from retrieval.masks import Mask
from retrieval.records import Document, Filter, Passage
from retrieval.validity import Validity

Rows = npt.NDArray[np.int64]
_CACHED = 64


class Segment(Protocol):
    """A part of a collection that can be searched: a generation, or the delta."""

    @property
    def owners(self) -> npt.NDArray[np.int32]:
        """The document of each passage."""

    @property
    def words(self) -> LexicalIndex | Postings:
        """The lexical half."""

    @property
    def columns(self) -> Columns:
        """The documents' metadata."""

    def document(self, number: int) -> Document:
        """Return a document."""

    def passage(self, row: int) -> Passage:
        """Return a passage."""

    def nearest(self, vector: Vector, limit: int, mask: Mask) -> tuple[Rows, Vector]:
        """Return the nearest rows with their cosines, best first."""

    def cosines(self, rows: Rows, vector: Vector) -> Vector:
        """Return the cosines of these rows to a vector."""


@dataclasses.dataclass(frozen=True)
class _Cached:
    mask: Mask
    since: float
    until: float


class SegmentView:
    """A segment with the validity that its documents had at one moment.

    Args:
        segment: The segment.
        validity: Of its documents; those added later are not seen.
    """

    def __init__(self, segment: Segment, validity: Validity) -> None:
        self.segment, self.validity = segment, validity
        self.owners = segment.owners
        self.rows = len(self.owners)
        self._masks: dict[bytes, _Cached] = {}
        self._lock = threading.Lock()

    def mask(self, now: float, wanted: Filter | None) -> Mask:
        """Return which passages may be found: of documents that hold and meet the filter."""
        key = b"" if wanted is None else msgspec.msgpack.encode(wanted)
        cached = self._masks.get(key)
        if cached is None or not cached.since <= now < cached.until:
            cached = self._computed(now, wanted)
            with self._lock:
                if len(self._masks) >= _CACHED and key not in self._masks:
                    del self._masks[next(iter(self._masks))]
                self._masks[key] = cached
        return cached.mask

    def _computed(self, now: float, wanted: Filter | None) -> _Cached:
        documents = self.validity.holds(now)
        if wanted is not None:
            documents &= self.segment.columns.meeting(wanted, len(self.validity))
        rows = None if documents.all() else documents[self.owners]
        return _Cached(Mask(rows, self.rows), now, self.validity.until(now))

    def newest(self, now: float) -> float | None:
        """Return the time of the newest content that holds."""
        times = self.validity.updated_at[self.validity.holds(now)]
        return float(times.max()) if len(times) else None


@dataclasses.dataclass(frozen=True)
class View:
    """The segments of a collection at one moment.

    Attributes:
        generation: The name of the generation, or "" before the first.
        segments: The generation, where there is one, and the delta.
    """

    generation: str
    segments: tuple[SegmentView, ...]
