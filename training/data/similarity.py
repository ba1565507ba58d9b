"""Near duplicates: MinHash finds candidates, the real Jaccard similarity decides.

Texts are sets of five-character shingles (Broder, "On the resemblance and containment of
documents", 1997; Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3). Shingles
that a large part of all rows share, such as an instruction repeated in each, are left out: they say
nothing about what is alike, and would make one cluster of a whole data set.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from training.data.source import Progress, silent

Shingles = npt.NDArray[np.uint64]
# Measured on 2,000 rows of BANKING77, whose questions are short and alike: 0.8 flags 0.5 % of
# them, and those are the same question with a word more or less; 0.75 flags 0.9 %, 0.7 1.7 %.
THRESHOLD = 0.8
# What must not be on both sides of a split may be less alike: a wrong join costs nothing there.
CLUSTER_THRESHOLD = 0.7
WIDTH = 5
# Fewer distinctive shingles than this are too little to say that two texts are alike.
LEAST = 12
# 16 bands of 5: a pair at 0.8 is a candidate with 99.8 %, one at 0.7 with 95 %, at 0.4 with 15 %.
_BANDS, _ROWS = 16, 5
_COMMON_SHARE, _COMMON_LEAST = 0.05, 10
# Bounds the work where thousands of rows are the same but for a number.
_MOST_CANDIDATES = 200
# Any odd number with bits all over will do: shingles are hashed as polynomials in it, modulo 2^64.
_BASE = 0x9E3779B97F4A7C15


def shingles(text: str) -> Shingles:
    """Return the sorted hashes of a text's shingles of `WIDTH` characters."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    if len(points) < WIDTH:
        return np.empty(0, dtype=np.uint64)
    powers = np.array([pow(_BASE, n, 2**64) for n in range(1, WIDTH + 1)], dtype=np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(points, WIDTH).astype(np.uint64)
    return np.unique((windows * powers).sum(axis=1, dtype=np.uint64))


def jaccard(a: Shingles, b: Shingles) -> float:
    """Return the share of shingles that two texts have in common, from 0 to 1."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    union = len(a) + len(b) - shared
    return shared / union if union else 0.0


def distinctive(texts: Sequence[str]) -> list[Shingles]:
    """Return each text's shingles without those that more than a twentieth of the texts have."""
    found = [shingles(text) for text in texts]
    if not found:
        return []
    values, counts = np.unique(np.concatenate(found), return_counts=True)
    common = values[counts > max(_COMMON_LEAST, _COMMON_SHARE * len(texts))]
    return [s[~np.isin(s, common, assume_unique=True)] if len(common) else s for s in found]


def near_pairs(
    texts: Sequence[str], *, threshold: float = THRESHOLD, on_progress: Progress = silent
) -> Iterator[tuple[int, int, float]]:
    """Find texts that are nearly the same.

    Args:
        texts: Normalised texts; the very same text should be there once.
        threshold: Least Jaccard similarity of a pair.
        on_progress: Told how many texts are done.

    Yields:
        earlier, later, similarity: indices into `texts`, and their similarity.
    """
    from datasketch import MinHashLSH

    found = distinctive(texts)
    index = MinHashLSH(num_perm=_BANDS * _ROWS, params=(_BANDS, _ROWS))
    sketcher = _Sketcher()
    for number, mine in enumerate(found):
        if number % 500 == 0:
            on_progress("near duplicates", number, len(found))
        if len(mine) < LEAST:
            continue
        sketch = sketcher.sketch(mine)
        for other in sorted(index.query(sketch))[:_MOST_CANDIDATES]:
            # Sets whose sizes differ that much cannot be that alike.
            if min(len(mine), len(found[other])) < threshold * max(len(mine), len(found[other])):
                continue
            similarity = jaccard(mine, found[other])
            if similarity >= threshold:
                yield other, number, similarity
        index.insert(number, sketch, check_duplication=False)
    on_progress("near duplicates", len(found), len(found))


class _Sketcher:
    """Makes MinHash sketches of hashes that are there already; the permutations are made once."""

    def __init__(self) -> None:
        from datasketch import MinHash

        self._new = MinHash
        self._first = MinHash(num_perm=_BANDS * _ROWS, seed=1)

    def sketch(self, hashes: Shingles) -> Any:
        sketch = self._new(
            num_perm=_BANDS * _ROWS,
            permutations=self._first.permutations,
            scheme=self._first.scheme,
            hashfunc=int,
        )
        # The upper half: the lower bits of a polynomial in an odd number mix less.
        sketch.update_batch((hashes >> np.uint64(32)).tolist())
        return sketch


class Clusters:
    """Rows that belong together, by union and find (Tarjan, 1975)."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def find(self, item: int) -> int:
        """Return the smallest member of an item's cluster."""
        root = item
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[item] != root:
            self._parent[item], item = root, self._parent[item]
        return root

    def join(self, a: int, b: int) -> None:
        """Make one cluster of two; the smaller index leads, so the order of joins is no matter."""
        a, b = sorted((self.find(a), self.find(b)))
        self._parent[b] = a

    def groups(self) -> list[list[int]]:
        """Return the clusters, each sorted, in the order of their first members."""
        found: dict[int, list[int]] = {}
        for item in range(len(self._parent)):
            found.setdefault(self.find(item), []).append(item)
        return list(found.values())
