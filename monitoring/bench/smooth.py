"""Material without end, for nulls that are longer than the questions that there are.

Each intent becomes a Gaussian with the mean of its vectors, and with their covariance around it,
shared by all intents and shrunk towards the diagonal. What is drawn from it never repeats, so that
any number of windows can be asked of it; it is as high-dimensional and as clustered as the
questions, and not as rough. Lengths and languages come from questions drawn at random.
"""

from dataclasses import replace

import numpy as np

from monitoring.bench.material import Material, Places
from monitoring.bench.streams import REFERENCE, Stream
from monitoring.reference import Vectors

_SHRUNK = 0.1


class Smooth:
    """Draws material.

    Args:
        material: What the Gaussians are fitted to: the plain questions of it.
    """

    def __init__(self, material: Material) -> None:
        self._material = material
        vectors = material.vectors[: material.plain].astype(np.float64)
        names, labels = np.unique(material.intents[: material.plain], return_inverse=True)
        means = np.stack([vectors[labels == each].mean(axis=0) for each in range(len(names))])
        rest = vectors - means[labels]
        covariance = (1 - _SHRUNK) * np.cov(rest.T) + _SHRUNK * np.diag(rest.var(axis=0))
        self._means, self._labels = means.astype(np.float32), labels
        self._root = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(covariance)))

    def null(self, windows: int, size: int, seed: int) -> tuple[Material, Stream]:
        """Return material of its own and a stream of it in which nothing changes."""
        rng = np.random.default_rng((seed, windows, size))
        count = REFERENCE + windows * size
        like: Places = rng.integers(0, self._material.plain, count)
        noise = rng.standard_normal((count, len(self._root)), np.float32)
        vectors: Vectors = self._means[self._labels[like]]
        vectors = vectors + noise @ self._root.T.astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        drawn = replace(
            self._material, rows=tuple(self._material.rows[i] for i in like), vectors=vectors,
            intents=self._material.intents[like], plain=count, altered={}, foreign=like[:0],
        )  # fmt: skip
        live = np.arange(REFERENCE, count).reshape(windows, size)
        return drawn, Stream(np.arange(REFERENCE), live, np.zeros(live.shape, bool), windows)
