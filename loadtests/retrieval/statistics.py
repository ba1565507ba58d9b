"""Times, recall, ranking quality, and intervals by bootstrap."""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from loadtests.retrieval.results import Interval, Times
from retrieval.embedder import Vectors

CUT = 10
_RESAMPLES = 2000
_BLOCK = 50_000
_EQUAL = 1e-5  # of two cosines in float32


def times(seconds: Sequence[float]) -> Times:
    """Return the quantiles of times in seconds, as milliseconds."""
    values = 1000 * np.asarray(seconds or [0.0])
    curve = np.quantile(values, np.arange(0.005, 1, 0.01))
    p50, p99 = np.quantile(values, (0.5, 0.99))
    return Times(len(seconds), round(float(p50), 3), round(float(p99), 3),
                 [round(value, 3) for value in curve.tolist()])  # fmt: skip


def nearest(vectors: Vectors, queries: Vectors, count: int = CUT) -> npt.NDArray[np.int64]:
    """Return the rows nearest to each query by exact search, shape (queries, count), best first."""
    best = np.zeros((len(queries), 0), np.float32)
    rows = np.zeros((len(queries), 0), np.int64)
    for start in range(0, len(vectors), _BLOCK):
        found = queries @ np.asarray(vectors[start : start + _BLOCK]).T
        top = np.argpartition(-found, min(count, found.shape[1]) - 1, axis=1)[:, :count]
        best = np.concatenate((best, np.take_along_axis(found, top, 1)), axis=1)
        rows = np.concatenate((rows, top + start), axis=1)
    order = np.argsort(-best, axis=1, kind="stable")[:, :count]
    return np.take_along_axis(rows, order, 1)


def recall(found: Sequence[Sequence[int]], vectors: Vectors, queries: Vectors) -> float:
    """Return how many of the nearest 10 were found, as a share.

    What is as near as the tenth counts as well: which of several equals is found is no matter.

    Source: Aumüller, Bernhardsson and Faithfull 2018, "ANN-Benchmarks", arXiv:1807.05614.
    """
    hits = total = 0
    exact = nearest(vectors, queries)
    for rows, best, query in zip(found, exact, queries, strict=True):
        least = float((vectors[best] @ query).min()) - _EQUAL
        near = np.asarray(vectors[list(rows[:CUT])] @ query) if rows else np.zeros(0)
        hits += int((near >= least).sum())
        total += len(best)
    return hits / total if total else 0.0


def ndcg(ranked: Sequence[str], relevant: Collection[str]) -> float:
    """Return nDCG@10 of a ranking where a document is relevant or not.

    Source: Järvelin and Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques".
    """
    gains = [1 / np.log2(place + 2) for place in range(CUT)]
    got = sum(gain for gain, name in zip(gains, ranked, strict=False) if name in relevant)
    return float(got / sum(gains[: len(relevant)]))


def recall_at(ranked: Sequence[str], relevant: Collection[str]) -> float:
    """Return how many of 10 are relevant, as a share of the most that could be."""
    return sum(name in relevant for name in ranked[:CUT]) / min(CUT, len(relevant))


def interval(values: Sequence[float]) -> Interval:
    """Return the mean of a value per question, with its interval."""
    array = np.asarray(values, float)
    random = np.random.default_rng(0)
    means = [array[random.integers(0, len(array), len(array))].mean() for _ in range(_RESAMPLES)]
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(*(round(float(value), 4) for value in (array.mean(), low, high)))
