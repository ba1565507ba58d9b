"""The dense half: FAISS. An exact index below a size, inverted lists of 8-bit vectors above it.

The index finds candidates, and the exact vectors, kept beside it in a file that is mapped into
memory, order them. Only this file knows FAISS.

Source: Douze et al. 2024, arXiv:2401.08281; https://github.com/facebookresearch/faiss/wiki
"""

import math
from pathlib import Path
from typing import Any, cast

import faiss as _faiss
import numpy as np
import numpy.typing as npt

from retrieval.database import CorruptIndex, Vector, Vectors
from retrieval.masks import Mask

faiss: Any = _faiss  # its own types lack the parameters of a search
Rows = npt.NDArray[np.int64]

_FLAT_UP_TO = 20_000  # passages; an exact search of them takes about as long as the lists do
_EXACT_UP_TO = (
    4_000  # rows that pass a filter; comparing each is faster than probing far more lists
)
_BLOCK = 65_536
_TRAINING_PER_LIST = 50
_PROBES = 200  # queries that choose how many lists a search looks at
_RECALL = 0.985


class DenseIndex:
    """A generation's vectors, to be searched.

    Args:
        path: The file that `build` has written.
        vectors: The exact vectors, row by row.
        lists: How many inverted lists a search looks at; 0 where the index is exact.
    """

    def __init__(self, path: Path, vectors: Vectors, lists: int) -> None:
        try:
            self._index: Any = faiss.read_index(str(path))
        except RuntimeError as error:
            raise CorruptIndex(f"FAISS cannot read {path.name}") from error
        self._vectors, self._lists = vectors, lists
        self._all_lists = faiss.extract_index_ivf(self._index).nlist if lists else 0

    def search(self, vector: Vector, limit: int, mask: Mask) -> tuple[Rows, Vector]:
        """Return the nearest rows that the mask lets pass, with their cosines, best first."""
        limit = min(limit, mask.passing)
        if limit == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        if self._lists and mask.passing <= _EXACT_UP_TO:
            rows = mask.passing_rows()
            return nearest_of(rows, cosines(self._vectors, rows, vector), limit)
        faiss.omp_set_num_threads(1)  # of this thread: other searches run beside it
        selector = None if mask.rows is None else faiss.IDSelectorBitmap(mask.bits)
        if not self._lists:
            found = _search(self._index, vector, limit, faiss.SearchParameters(sel=selector))
            return found
        # The fewer rows pass, the more lists hold as many of them as an unfiltered search sees.
        lists = min(self._all_lists, math.ceil(self._lists * mask.total / mask.passing))
        parameters = faiss.SearchParametersIVF(nprobe=lists, sel=selector)
        rows, _ = _search(self._index, vector, 2 * limit + 10, parameters)
        return nearest_of(rows, cosines(self._vectors, rows, vector), limit)


def build(path: Path, vectors: Vectors, before: Path | None = None) -> int:
    """Write an index; returns how many lists a search has to look at, or 0 where it is exact.

    Args:
        path: The file to write.
        vectors: Shape (rows, dimensions), unit rows; may be mapped from a file.
        before: The index of the generation before, whose lists serve as long as sizes are alike.
    """
    count, dimensions = vectors.shape
    if count <= _FLAT_UP_TO:
        index = faiss.IndexIDMap2(faiss.IndexFlatIP(dimensions))
        _add(index, vectors)
        faiss.write_index(index, str(path))
        return 0
    lists = int(4 * math.sqrt(count))
    inverted = _trained_before(before, lists)
    if inverted is None:
        inverted = _trained(vectors, lists)
    index = faiss.IndexIDMap2(inverted)
    _add(index, vectors)
    faiss.write_index(index, str(path))
    return _lists_needed(index, vectors, inverted.nlist)


def _trained(vectors: Vectors, lists: int) -> Any:
    count, dimensions = vectors.shape
    quantiser = faiss.IndexFlatIP(dimensions)
    inverted = faiss.IndexIVFScalarQuantizer(
        quantiser, dimensions, lists, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    inverted.cp.niter = 10
    inverted.cp.max_points_per_centroid = _TRAINING_PER_LIST
    inverted.cp.spherical = True
    sample = np.random.default_rng(0).choice(
        count, min(count, lists * _TRAINING_PER_LIST), replace=False
    )
    inverted.train(np.ascontiguousarray(vectors[np.sort(sample)]))
    return inverted


def _trained_before(path: Path | None, lists: int) -> Any:
    """Return the empty lists of an index, where about so many of them are wanted; else None.

    Training is most of a build: k-means over a sample. Lists for half or for twice as many rows
    (their number grows with the root) do as well.
    """
    if path is None:
        return None
    index = faiss.read_index(str(path))
    inverted = faiss.downcast_index(index.index)
    if not isinstance(inverted, faiss.IndexIVF) or not lists / 1.5 <= inverted.nlist <= lists * 1.5:
        return None
    inverted.reset()
    return faiss.clone_index(inverted)  # a copy that outlives `index`


def nearest_of(rows: Rows, similarities: Vector, limit: int) -> tuple[Rows, Vector]:
    """Return the best `limit` of rows by similarity, best first."""
    if len(rows) > limit:
        best = np.argpartition(-similarities, limit - 1)[:limit]
        rows, similarities = rows[best], similarities[best]
    order = np.argsort(-similarities, kind="stable")
    return rows[order], similarities[order]


def cosines(vectors: Vectors, rows: Rows, vector: Vector) -> Vector:
    """Return the cosine of each of these rows to a vector, all of length 1."""
    return np.asarray(vectors[rows] @ vector, np.float32)


def _add(index: Any, vectors: Vectors) -> None:
    for start in range(0, len(vectors), _BLOCK):
        block = np.ascontiguousarray(vectors[start : start + _BLOCK])
        index.add_with_ids(block, np.arange(start, start + len(block), dtype=np.int64))


def _search(index: Any, vector: Vector, limit: int, parameters: Any) -> tuple[Rows, Vector]:
    similarities, rows = index.search(
        np.ascontiguousarray(vector, np.float32)[None], limit, params=parameters
    )
    found = rows[0] >= 0  # FAISS fills up with -1
    return cast(Rows, rows[0][found]), cast(Vector, similarities[0][found])


def _lists_needed(index: Any, vectors: Vectors, lists: int) -> int:
    """Return the fewest lists with which 10 neighbours are found as surely as wanted.

    A question lies farther from passages than they lie from each other, so a query here is midway
    between two passages. (At 0.7 of the way, real questions found 91 % in 1,000,000 vectors.)
    """
    random = np.random.default_rng(1)
    pairs = vectors[random.choice(len(vectors), 2 * _PROBES, replace=False)]
    queries = pairs[:_PROBES] + pairs[_PROBES:]
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    exact = faiss.IndexFlatIP(vectors.shape[1])
    best = faiss.ResultHeap(_PROBES, 10, keep_max=True)
    for start in range(0, len(vectors), _BLOCK):
        exact.reset()
        exact.add(np.ascontiguousarray(vectors[start : start + _BLOCK]))
        similarities, rows = exact.search(queries, 10)
        best.add_result(similarities, rows + start)
    best.finalize()
    probes = 4
    while probes < lists:
        parameters = faiss.SearchParametersIVF(nprobe=probes)
        _, rows = index.search(queries, 20, params=parameters)
        found = sum(len(np.intersect1d(a, b)) for a, b in zip(best.I, rows, strict=True))
        if found >= _RECALL * best.I.size:
            break
        probes = math.ceil(probes * 1.4)
    return min(probes, lists)
