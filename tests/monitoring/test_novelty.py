"""Scores of novelty on vectors whose distribution is known."""

import numpy as np
import pytest

from monitoring.novelty import MEMORY, Novelty, Vectors

_DIMENSIONS = 32


def _unit(rng: np.random.Generator, centre: Vectors, count: int, spread: float) -> Vectors:
    found = centre + spread * rng.normal(size=(count, _DIMENSIONS))
    unit: Vectors = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _traffic(rng: np.random.Generator, count: int) -> Vectors:
    centres = np.eye(_DIMENSIONS, dtype=np.float32)[:8]
    return np.concatenate([_unit(rng, c, 1, 0.1) for c in centres[rng.integers(8, size=count)]])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def novelty(rng: np.random.Generator) -> Novelty:
    return Novelty(_traffic(rng, 800), _traffic(rng, 400), rng)


def test_what_is_usual_has_usual_p_values(novelty: Novelty, rng: np.random.Generator) -> None:
    far, crowded = [], []
    for _ in range(30):
        scores = novelty.observe(_traffic(rng, 50))
        far.append(scores.far)
        if scores.crowded is not None:
            crowded.append(scores.crowded)
    assert len(crowded) == 28  # the first two windows have no history
    for found in (np.concatenate(far), np.concatenate(crowded)):
        assert 0.4 < found.mean() < 0.6
        assert (found < 0.05).mean() < 0.08


def test_a_new_topic_is_far_and_soon_crowded(novelty: Novelty, rng: np.random.Generator) -> None:
    new = np.eye(_DIMENSIONS, dtype=np.float32)[20]
    for _ in range(6):
        scores = novelty.observe(np.concatenate([_traffic(rng, 45), _unit(rng, new, 5, 0.1)]))
    assert scores.crowded is not None
    assert (scores.far[45:] < 0.05).all()
    assert (scores.crowded[45:] < 0.05).all()
    assert (scores.crowded[:45] < 0.05).mean() < 0.15


def test_a_topic_that_is_asked_more_often_is_crowded_and_not_far(
    novelty: Novelty, rng: np.random.Generator
) -> None:
    known = np.eye(_DIMENSIONS, dtype=np.float32)[0]
    far, crowded = [], []
    for _ in range(15):
        window = np.concatenate([_traffic(rng, 25), _unit(rng, known, 25, 0.1)])
        scores = novelty.observe(window)
        far.append(scores.far[25:])
        if scores.crowded is not None:
            crowded.append(scores.crowded[25:])
    assert np.concatenate(far).mean() > 0.4
    assert np.concatenate(crowded[5:]).mean() < 0.35


def test_rows_that_are_no_numbers_are_no_evidence(
    novelty: Novelty, rng: np.random.Generator
) -> None:
    window = _traffic(rng, 50)
    window[3] = np.nan
    scores = novelty.observe(window)
    assert scores.far[3] == 1.0
    assert len(novelty.recent()) == 49
    assert novelty.observe(window[:0]).far.size == 0


def test_the_memory_is_bounded_and_can_be_taken_over(
    novelty: Novelty, rng: np.random.Generator
) -> None:
    for _ in range(30):
        novelty.observe(_traffic(rng, 50))
    recent = novelty.recent()
    assert len(recent) == MEMORY
    again = Novelty(_traffic(rng, 800), _traffic(rng, 400), rng)
    again.recall(recent)
    assert (again.recent() == recent).all()
    assert again.observe(_traffic(rng, 50)).crowded is not None


def test_a_reference_that_is_none_is_refused(rng: np.random.Generator) -> None:
    rows = _traffic(rng, 10)
    with pytest.raises(ValueError, match="reference"):
        Novelty(rows[:2], rows, rng)
    with pytest.raises(ValueError, match="calibration"):
        Novelty(rows, np.full_like(rows, np.nan), rng)
