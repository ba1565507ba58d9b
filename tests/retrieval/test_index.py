"""The dense index finds what an exact search finds, also behind filters."""

from pathlib import Path

import numpy as np
import pytest

from retrieval import index
from retrieval.database import CorruptIndex, Vectors
from retrieval.masks import Mask


def _clustered(rows: int, seed: int) -> Vectors:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(9).standard_normal((100, 48))
    found = centres[random.integers(0, 100, rows)] + 0.7 * random.standard_normal((rows, 48))
    unit: Vectors = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _far(rows: int) -> Vectors:
    """Return queries that are near no passage, as questions are."""
    found = _clustered(rows, 6) + _clustered(rows, 7)
    unit: Vectors = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit


def _recall(
    found: index.DenseIndex, vectors: Vectors, mask: Mask, queries: Vectors | None = None
) -> float:
    hits = 0
    queries = _clustered(50, 2) if queries is None else queries
    rows = mask.passing_rows()
    for query in queries:
        exact = rows[np.argsort(-(vectors[rows] @ query))[:10]]
        nearest, cosines = found.search(query, 10, mask)
        np.testing.assert_allclose(cosines, vectors[nearest] @ query, atol=1e-5)
        assert (np.diff(cosines) <= 1e-6).all()
        assert mask.rows is None or mask.rows[nearest].all()
        hits += len(set(exact.tolist()) & set(nearest.tolist()))
    return hits / (10 * len(queries))


@pytest.mark.parametrize("rows", [500, 25_000])
def test_recall_without_and_with_filters(tmp_path: Path, rows: int) -> None:
    vectors = _clustered(rows, 1)
    lists = index.build(tmp_path / "i", vectors)
    assert (lists > 0) == (rows > 20_000)
    found = index.DenseIndex(tmp_path / "i", vectors, lists)
    exactly = 1.0 if rows == 500 else 0.95
    assert _recall(found, vectors, Mask(None, rows)) >= exactly
    assert _recall(found, vectors, Mask(None, rows), _far(200)) >= 0.985
    random = np.random.default_rng(4)
    for share in (0.9, 0.3, 0.05):
        assert _recall(found, vectors, Mask(random.random(rows) < share, rows)) >= exactly
    few = np.zeros(rows, np.bool_)
    few[[7, 400]] = True
    nearest, _ = found.search(vectors[0], 10, Mask(few, rows))
    assert sorted(nearest.tolist()) == [7, 400]
    assert len(found.search(vectors[0], 10, Mask(np.zeros(rows, np.bool_), rows))[0]) == 0


def test_a_file_that_is_no_index_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "i").write_bytes(b"no index")
    with pytest.raises(CorruptIndex, match="FAISS"):
        index.DenseIndex(tmp_path / "i", _clustered(1, 1), 0)


def test_lists_of_the_generation_before_serve_the_next(tmp_path: Path) -> None:
    before, vectors = _clustered(25_000, 1), _clustered(40_000, 5)
    index.build(tmp_path / "before", before)
    lists = index.build(tmp_path / "next", vectors, tmp_path / "before")
    found = index.DenseIndex(tmp_path / "next", vectors, lists)
    assert _recall(found, vectors, Mask(None, len(vectors))) >= 0.95
