"""A mean from many judgements of a model and few of people, without the model's bias.

Source: Angelopoulos et al., "Prediction-powered inference" (Science, 2023); the judge's weight is
tuned as in Angelopoulos, Duchi and Zrnic, "PPI++" (2023), so that a poor judge costs nothing.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from training.evaluation.intervals import Interval

# The interval is that of the central limit theorem: fewer labels do not carry it.
LEAST_LABELS = 30
LEAST_EVENTS = 30

Floats = NDArray[np.float64]


def mean(
    labelled: Sequence[float],
    judged: Sequence[float],
    judged_only: Sequence[float],
    level: float = 0.95,
) -> Interval:
    """Return the mean of what people would say of all cases.

    Args:
        labelled: What people say of a random part of the cases.
        judged: What the judge says of the same cases, in the same order.
        judged_only: What the judge says of the others.
        level: Of the two-sided interval.

    Raises:
        ValueError: There are fewer labels than `LEAST_LABELS`.
    """
    human, same, rest = (np.asarray(v, dtype=float) for v in (labelled, judged, judged_only))
    n, more = len(human), len(rest)
    if n < LEAST_LABELS or len(same) != n:
        raise ValueError(f"at least {LEAST_LABELS} labelled answers are needed, there are {n}")
    weight = _weight(human, same, rest)
    value = float(human.mean() - weight * same.mean() + weight * (rest.mean() if more else 0.0))
    if not more:
        value = float(human.mean())
    error = human - weight * same
    variance = float(error.var(ddof=1)) / n
    if more:
        variance += weight**2 * float(np.concatenate([same, rest]).var(ddof=1)) / more
    # Where people and judge never differ the sample variance is 0, which n cases cannot show.
    variance = max(variance, 1 / (4 * (n + more) ** 2))
    half = NormalDist().inv_cdf(0.5 + level / 2) * math.sqrt(variance)
    return Interval(value, value - half, value + half, n + more, level)


def _weight(human: Floats, same: Floats, rest: Floats) -> float:
    if not len(rest):
        return 0.0
    spread = float(np.concatenate([same, rest]).var(ddof=1))
    if spread == 0:
        return 0.0
    shared = float(np.cov(human, same)[0, 1])
    return min(1.0, max(0.0, shared / (spread * (1 + len(human) / len(rest)))))
