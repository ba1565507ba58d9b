"""Intervals of a single number: rates, quantiles, and means of anything.

Sources: Wilson, "Probable inference, the law of succession, and statistical inference" (1927);
order statistics of a quantile after Conover, "Practical Nonparametric Statistics" (1999), 3.2;
Efron, "Better bootstrap confidence intervals" (1987), through scipy.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate from `n` cases, between `low` and `high` at a two-sided `level`."""

    value: float
    low: float
    high: float
    n: int
    level: float = LEVEL

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def wilson(successes: int, n: int, level: float = LEVEL) -> Interval:
    """Return the rate `successes / n` with Wilson's score interval; [0, 1] where n is 0."""
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 0, level)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # At the ends the formula is exact, and rounding must not leave 0 or 1 outside.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(rate, low, high, n, level)


def bootstrap_mean(values: Sequence[float], seed: int, level: float = LEVEL) -> Interval:
    """Return the mean with its BCa bootstrap interval; the range of what can be said of one case.

    Args:
        values: One number a case.
        seed: Of the resampling, so that the same answers give the same interval.
        level: Two-sided.
    """
    sample = np.asarray(values, dtype=float)
    n = len(sample)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0, level)
    mean = float(sample.mean())
    if n == 1 or float(np.ptp(sample)) < 1e-12:
        return Interval(mean, mean, mean, n, level)
    from scipy import stats

    found = stats.bootstrap(
        (sample,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=level,
        method="BCa",
        batch=max(1, 2_000_000 // n),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high), n, level)


def resampling_weights(n: int, seed: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Return how often each of `n` cases is drawn, shape (resamples, n): for statistics of sums."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)


def percentiles(
    value: float, resampled: NDArray[np.float64], n: int, level: float = LEVEL
) -> Interval:
    """Return `value` with the percentile interval of its bootstrap replicates."""
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), n, level)


def quantile(values: Sequence[float], share: float, level: float = LEVEL) -> Interval:
    """Return a quantile with its distribution-free interval, from order statistics.

    The high end is infinite where there are too few cases to bound it: 59 for the 95th percentile
    at one-sided 95 %.
    """
    ordered = sorted(values)
    n = len(ordered)
    if n == 0:
        return Interval(math.nan, -math.inf, math.inf, 0, level)
    from scipy import stats

    tail = (1 - level) / 2
    # The number of values below the quantile is binomial(n, share).
    below = int(stats.binom.ppf(tail, n, share))
    above = int(stats.binom.isf(tail, n, share)) + 1
    return Interval(
        ordered[min(n - 1, math.ceil(share * n) - 1)],
        ordered[below - 1] if below >= 1 else -math.inf,
        ordered[above - 1] if above <= n else math.inf,
        n,
        level,
    )


def cases_to_bound_quantile(share: float, alpha: float) -> int:
    """Return the fewest cases whose largest value bounds the quantile at one-sided alpha."""
    return math.ceil(math.log(alpha) / math.log(share))
