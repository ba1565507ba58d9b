"""Clusters of unit vectors."""

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

_SEED = 7
_MOST_CLUSTERS, _ROWS_PER_CLUSTER = 40, 50
_LARGE = 5000


def centroids(vectors: Vectors) -> Vectors:
    """Return the unit centroids of spherical k-means, shape (k, d): one for 50 rows, 2 to 40.

    On unit vectors the Euclidean k-means of scikit-learn orders by cosine; its centroids are scaled
    to length 1 in the end. The seed is fixed.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    count = min(max(2, min(_MOST_CLUSTERS, len(vectors) // _ROWS_PER_CLUSTER)), distinct(vectors))
    kind = MiniBatchKMeans if len(vectors) > _LARGE else KMeans
    with threadpool_limits(1):  # the cores are the host's, and one thread gives one result
        found = kind(count, n_init=3, random_state=_SEED).fit(vectors).cluster_centers_
    return unit(found)


def groups(vectors: Vectors, distance: float) -> Numbers:
    """Return the cluster of each row; clusters are merged up to a mean cosine distance."""
    from sklearn.cluster import AgglomerativeClustering

    if len(vectors) < 2:
        return np.zeros(len(vectors), np.int64)
    model = AgglomerativeClustering(
        n_clusters=None, metric="cosine", linkage="average", distance_threshold=distance
    )
    return np.asarray(model.fit_predict(vectors), np.int64)


def spread(vectors: Vectors, ids: Numbers) -> float:
    """Return the median over clusters of the mean cosine distance of two of their rows."""
    found = []
    for each in np.unique(ids):
        rows = vectors[ids == each]
        n = len(rows)
        if n > 1:  # the square of the sum holds each pair twice, and each row with itself
            total = float(np.square(rows.sum(axis=0, dtype=np.float64)).sum())
            found.append(1 - (total - n) / (n * (n - 1)))
    return float(np.median(found)) if found else 0.5


def unit(vectors: npt.ArrayLike) -> Vectors:
    """Return rows scaled to length 1; a row of zeros stays."""
    rows = np.asarray(vectors, np.float32)
    scaled: Vectors = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return scaled.astype(np.float32)


def distinct(vectors: Vectors) -> int:
    """Return how many rows differ: there cannot be more clusters."""
    return len(np.unique(vectors.round(4), axis=0))
