"""Prediction-powered means: unbiased where the judge is not, and better where it is good."""

import numpy as np
import pytest

from training.evaluation.prediction_powered import mean


def draw(rng: np.random.Generator, n: int, error: float) -> tuple[list[float], list[float]]:
    """People's labels at a rate of 0.2, and a judge that calls too much hallucinated."""
    human = rng.random(n) < 0.2
    judge = human | (rng.random(n) < error)
    return list(human.astype(float)), list(judge.astype(float))


def test_a_biased_judge_is_corrected_and_the_interval_covers() -> None:
    rng = np.random.default_rng(1)
    inside, widths, plain = 0, [], []
    for _ in range(300):
        human, judged = draw(rng, 100, 0.15)
        _, only = draw(rng, 900, 0.15)
        found = mean(human, judged, only, 0.9)
        inside += found.low <= 0.2 <= found.high
        widths.append(found.high - found.low)
        plain.append(mean(human, judged, [], 0.9).high - mean(human, judged, [], 0.9).low)
    assert inside / 300 >= 0.85
    # The judge alone says 0.32; with it the interval is narrower than with the labels alone.
    assert np.mean(widths) < 0.8 * np.mean(plain)


def test_a_judge_that_guesses_costs_nothing() -> None:
    rng = np.random.default_rng(2)
    human = list((rng.random(200) < 0.3).astype(float))
    noise = list((rng.random(200) < 0.5).astype(float))
    more = list((rng.random(2000) < 0.5).astype(float))
    with_judge, without = mean(human, noise, more), mean(human, noise, [])
    assert with_judge.high - with_judge.low <= 1.03 * (without.high - without.low)


def test_too_few_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="30"):
        mean([0.0] * 29, [0.0] * 29, [0.0] * 100)
    assert mean([0.0] * 40, [0.0] * 40, [0.0] * 60).high > 0  # never certain
