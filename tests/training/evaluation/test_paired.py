"""The exact paired test keeps its level, agrees with known values, and knows what it lacks."""

import math
from functools import cache

import numpy as np
import pytest
from scipy import optimize, stats

from training.evaluation.paired import (
    ALPHA,
    Pairs,
    cases_for_gain,
    cases_for_margin,
    holm,
    interval,
    p_greater,
    p_less,
    pairs,
    score,
)


def statistic(seen: Pairs, difference: float) -> float:
    return float(
        score(np.array(float(seen.gains)), np.array(float(seen.losses)), seen.n, difference)
    )


def passes(n: int, margin: float, gains: float, seed: int, runs: int) -> float:
    """The share of simulated evaluations of a model `margin` worse that are called non-inferior."""
    shown = cache(lambda b, c: p_greater(Pairs(n, b, c), -margin) <= ALPHA)
    shares = [gains, gains + margin, 1 - 2 * gains - margin]
    drawn = np.random.default_rng(seed).multinomial(n, shares, size=runs)
    return float(np.mean([shown(int(b), int(c)) for b, c, _ in drawn]))


def test_counts_gains_and_losses() -> None:
    assert pairs([True, True, False, False], [True, False, True, False]) == Pairs(4, 1, 1)
    with pytest.raises(ValueError):
        pairs([True], [])


def test_the_statistic_is_that_of_the_constrained_likelihood() -> None:
    """Tango's closed form against a numerical maximum of the trinomial likelihood."""
    for seen, difference in [(Pairs(50, 12, 2), 0.1), (Pairs(200, 9, 14), -0.05)]:
        b, c, rest = seen.gains, seen.losses, seen.n - seen.gains - seen.losses

        def negative(
            q: float, b: int = b, c: int = c, rest: int = rest, d: float = difference
        ) -> float:
            return -(b * math.log(q + d) + c * math.log(q) + rest * math.log(1 - 2 * q - d))

        low, high = max(0.0, -difference) + 1e-9, (1 - difference) / 2 - 1e-9
        q = optimize.minimize_scalar(negative, bounds=(low, high), method="bounded").x
        variance = seen.n * (2 * q + difference - difference**2)
        expected = (b - c - seen.n * difference) / math.sqrt(variance)
        assert statistic(seen, difference) == pytest.approx(expected, abs=1e-3)


def test_published_interval() -> None:
    """Airway data of Bentur et al., 2009 (1 gain, 7 losses of 21); Fagerland et al., 2014, table 6.

    They give -0.517 to -0.026 for Tango's interval.
    """
    z = stats.norm.isf(0.025)
    assert statistic(Pairs(21, 1, 7), -0.517) == pytest.approx(z, abs=0.02)
    assert statistic(Pairs(21, 1, 7), -0.026) == pytest.approx(-z, abs=0.02)


def test_superiority_is_close_to_the_exact_test_of_mcnemar_and_never_below_it_by_much() -> None:
    seen = Pairs(100, 18, 6)
    mcnemar = stats.binomtest(18, 24, 0.5, alternative="greater").pvalue
    assert p_greater(seen, 0.0) < mcnemar  # the unconditional test has more power
    assert p_greater(seen, 0.0) == pytest.approx(stats.norm.sf(statistic(seen, 0.0)), rel=0.5)


@pytest.mark.parametrize("n", [60, 100, 400])
@pytest.mark.parametrize("gains", [0.0, 0.02, 0.1])
def test_a_model_worse_by_the_margin_passes_in_at_most_5_percent(n: int, gains: float) -> None:
    """1,000 runs; 0.0707 is three standard errors above 5 %."""
    assert passes(n, 0.03, gains, seed=n, runs=1000) <= 0.0707


def test_the_size_is_at_most_5_percent_computed_not_simulated() -> None:
    for n, margin, share in [(87, 0.03, 0.03), (99, 0.03, 0.03), (150, 0.05, 0.09)]:
        size = 0.0
        for c in range(n + 1):
            weight = stats.binom.pmf(c, n, share)
            if weight < 1e-7:
                continue
            least = next(
                (b for b in range(n - c + 1) if p_greater(Pairs(n, b, c), -margin) <= ALPHA),
                n - c + 1,
            )
            size += weight * stats.binom.sf(least - 1, n - c, (share - margin) / (1 - share))
        assert size <= ALPHA
    # The plain score test would have let 87 cases without a loss pass: 0.97^87 is 7 %.
    assert statistic(Pairs(87, 0, 0), -0.03) > stats.norm.isf(ALPHA) - 0.01
    assert p_greater(Pairs(87, 0, 0), -0.03) == pytest.approx(0.97**87, abs=1e-3)


def test_a_good_model_passes_most_of_the_time_with_the_cases_that_were_planned() -> None:
    n = cases_for_margin(Pairs(1000, 50, 50), 0.03)
    assert n is None or n == pytest.approx(1001, abs=1)
    planned = cases_for_margin(Pairs(20, 1, 1), 0.03)
    assert planned is not None
    shown = cache(lambda b, c: p_greater(Pairs(planned, b, c), -0.03) <= ALPHA)
    share = Pairs(20, 1, 1).discordance
    drawn = np.random.default_rng(3).multinomial(planned, [share / 2, share / 2, 1 - share], 500)
    power = np.mean([shown(int(b), int(c)) for b, c, _ in drawn])
    assert 0.74 <= power <= 0.88


def test_the_interval_covers() -> None:
    """A 90 % interval leaves out the truth in at most 5 % of runs on each side.

    Its ends are where the two tests reach 5 %, so they are what is simulated.
    """
    drawn = np.random.default_rng(5).multinomial(60, [0.12, 0.07, 0.81], size=1000)
    seen = [Pairs(60, int(b), int(c)) for b, c, _ in drawn]
    assert np.mean([p_greater(one, 0.05) <= ALPHA for one in seen]) <= 0.07
    assert np.mean([p_less(one, 0.05) <= ALPHA for one in seen]) <= 0.07


def test_the_interval_and_the_test_agree() -> None:
    for seen in (Pairs(100, 4, 6), Pairs(300, 40, 20), Pairs(60, 0, 0), Pairs(10, 10, 0)):
        limits = interval(seen)
        assert limits.low <= seen.difference <= limits.high
        assert p_greater(seen, limits.low - 1e-3) <= ALPHA < p_greater(seen, limits.low + 1e-3)
        assert p_less(seen, limits.high + 1e-3) <= ALPHA


def test_no_cases_show_nothing() -> None:
    assert p_greater(Pairs(0, 0, 0), -0.03) == 1
    assert (interval(Pairs(0, 0, 0)).low, interval(Pairs(0, 0, 0)).high) == (-1, 1)


def test_planning_gives_the_numbers_of_the_textbook() -> None:
    """About 700 pairs at 10 % discordance and 1,400 at 20 %, for 3 points at 80 % power."""
    assert cases_for_margin(Pairs(396, 19, 19), 0.03) == pytest.approx(690, abs=15)
    assert cases_for_margin(Pairs(396, 39, 39), 0.03) == pytest.approx(1375, abs=15)
    # Nothing differed in 10 cases: 2 of 14 are taken to. In 3,000: 0.97^n must fall to 5 %.
    assert cases_for_margin(Pairs(10, 0, 0), 0.03) == pytest.approx(982, abs=2)
    assert 0.97**99 < ALPHA < 0.97**98
    assert cases_for_margin(Pairs(5000, 0, 400), 0.03) is None
    assert cases_for_gain(Pairs(40, 6, 4), 0.03) == pytest.approx(681, abs=60)
    assert cases_for_gain(Pairs(5000, 10, 10), 0.03) is None


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []
