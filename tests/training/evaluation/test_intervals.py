"""Intervals against published and computed values."""

import math

import numpy as np
import pytest
from scipy import stats

from training.evaluation.intervals import (
    bootstrap_mean,
    cases_to_bound_quantile,
    quantile,
    wilson,
)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (147, 200), (1, 3)])
def test_wilson_is_scipys(successes: int, n: int) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(0.95, "wilson")
    found = wilson(successes, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_as_published() -> None:
    """Newcombe, 1998, table I, method 3: 81 of 263 and 0 of 20."""
    assert wilson(81, 263).low == pytest.approx(0.2553, abs=5e-5)
    assert wilson(81, 263).high == pytest.approx(0.3662, abs=5e-5)
    assert wilson(0, 20).high == pytest.approx(0.1611, abs=5e-5)


def test_wilson_without_cases() -> None:
    found = wilson(0, 0)
    assert math.isnan(found.value)
    assert (found.low, found.high) == (0, 1)


def test_the_bootstrap_is_seeded_and_covers() -> None:
    rng = np.random.default_rng(7)
    sample = list(rng.beta(2, 5, size=60))
    assert bootstrap_mean(sample, 1) == bootstrap_mean(sample, 1)
    assert bootstrap_mean(sample, 1) != bootstrap_mean(sample, 2)
    inside = 0
    for run in range(60):
        found = bootstrap_mean(list(rng.beta(2, 5, size=60)), run, level=0.9)
        inside += found.low <= 2 / 7 <= found.high
    assert inside >= 46  # 54 expected; fewer than 46 happen in 0.2 % of such tests


def test_the_bootstrap_of_one_value_is_that_value() -> None:
    assert bootstrap_mean([0.4] * 5, 0).high == 0.4
    assert math.isnan(bootstrap_mean([], 0).value)


def test_a_quantile_is_bounded_by_order_statistics() -> None:
    values = [n / 100 for n in range(1, 101)]
    found = quantile(values, 0.5)
    # Conover, 1999: the 40th and the 61st of 100 bound the median.
    assert (found.value, found.low, found.high) == (0.5, 0.4, 0.61)
    assert quantile(values[:50], 0.95, 0.9).high == math.inf
    assert quantile(values[:59], 0.95, 0.9).high == 0.59
    assert cases_to_bound_quantile(0.95, 0.05) == 59


def test_the_interval_of_a_quantile_covers() -> None:
    rng = np.random.default_rng(11)
    truth = -math.log(0.05)  # of the exponential distribution
    above = below = 0
    for _ in range(400):
        found = quantile(list(rng.exponential(size=200)), 0.95, 0.9)
        above += found.high < truth
        below += found.low > truth
    assert max(above, below) <= 0.083 * 400
