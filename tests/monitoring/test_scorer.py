"""Windows against a reference: which signals speak, and what they say."""

import math
from dataclasses import replace

import numpy as np
import pytest

from monitoring import reference
from monitoring.reference import Reference, Row, Vectors
from monitoring.scorer import Scorer

_CENTRES = np.random.default_rng(7).normal(size=(5, 16))


def _vectors(rng: np.random.Generator, topics: np.ndarray) -> Vectors:
    found = (_CENTRES[topics] + rng.normal(size=(len(topics), 16)) * 0.3).astype(np.float32)
    unit: Vectors = found / np.linalg.norm(found, axis=1, keepdims=True)
    return unit


def _rows(rng: np.random.Generator, count: int, *, nll: bool = True) -> list[Row]:
    found = []
    for n in range(count):
        numbers = {"prompt_words": float(rng.poisson(12))}
        if nll:
            numbers["nll"] = float(rng.gamma(2.0))
        found.append(
            Row(f"{n}", "text", None, numbers, str(rng.choice(["en", "de"], p=[0.9, 0.1])))
        )
    return found


@pytest.fixture(scope="module")
def usual() -> Reference:
    rng = np.random.default_rng(0)
    return reference.made(_rows(rng, 1000), _vectors(rng, rng.integers(0, 4, 1000)), "traffic")


def _smallest(
    scorer: Scorer, rows: list[Row], vectors: Vectors, windows: int = 8
) -> dict[str, float]:
    """Return the mean p-value of each signal in the last of several windows."""
    for number in range(windows):
        found = scorer.score(rows, vectors, number)
    return {name: float(np.mean(ps)) for name, ps in found.items()}


def test_a_usual_window_has_usual_p_values(usual: Reference) -> None:
    scorer = Scorer(usual, "m/r")
    assert scorer.signals == ("far", "crowded", "length", "language", "uncertainty")
    rng = np.random.default_rng(1)
    every: dict[str, list[float]] = {}
    for number in range(40):
        rows, vectors = _rows(rng, 50), _vectors(rng, rng.integers(0, 4, 50))
        for name, ps in scorer.score(rows, vectors, number).items():
            every.setdefault(name, []).extend(ps)
    assert set(every) == set(scorer.signals)
    for name, ps in every.items():
        assert min(ps) > 0, name
        for level in (0.05, 0.2, 0.5):  # uniform, or held back by caution
            assert np.mean(np.asarray(ps) <= level) <= level + 0.03, name


@pytest.mark.parametrize("what", ["far", "length", "language", "uncertainty"])
def test_each_signal_finds_its_own_drift(usual: Reference, what: str) -> None:
    rng = np.random.default_rng(2)
    rows, topics = _rows(rng, 50), rng.integers(0, 4, 50)
    if what == "far":
        topics = np.full(50, 4)
    elif what == "length":
        rows = [replace(row, numbers={**row.numbers, "prompt_words": 60.0}) for row in rows]
    elif what == "language":
        rows = [replace(row, language="fr") for row in rows]
    else:
        rows = [replace(row, numbers={**row.numbers, "nll": 20.0}) for row in rows]
    found = _smallest(Scorer(usual, "m/r"), rows, _vectors(rng, topics), windows=1)
    assert found[what] < 0.05
    assert all(mean > 0.3 for name, mean in found.items() if name != what and name != "crowded")


def test_a_topic_that_crowds_is_found_where_each_prompt_is_usual(usual: Reference) -> None:
    rng = np.random.default_rng(3)
    scorer = Scorer(usual, "m/r")
    for number in range(10):
        vectors = _vectors(rng, np.full(50, 1))
        found = scorer.score(_rows(rng, 50), vectors, number)
    assert np.mean(found["crowded"]) < 0.25
    assert np.mean(found["far"]) > 0.4


def test_what_is_not_known_is_no_evidence(usual: Reference) -> None:
    rng = np.random.default_rng(4)
    rows = [replace(row, numbers={}, language="") for row in _rows(rng, 50)]
    broken = _vectors(rng, rng.integers(0, 4, 50))
    broken[:] = math.nan
    found = Scorer(usual, "m/r").score(rows, broken, 0)
    assert "uncertainty" not in found
    assert found["far"] == found["length"] == found["language"] == [1.0] * 50


def test_a_signal_without_a_reference_is_none(usual: Reference) -> None:
    rng = np.random.default_rng(5)
    bare = [replace(row, numbers={}, language="") for row in usual.rows]
    scorer = Scorer(reference.made(bare, usual.vectors, "traffic"), "m/r")
    assert scorer.signals == ("far", "crowded")
    assert set(scorer.score(_rows(rng, 50), _vectors(rng, rng.integers(0, 4, 50)), 0)) == {"far"}


def test_a_window_of_one_language_and_equal_lengths_is_no_alarm(usual: Reference) -> None:
    rng = np.random.default_rng(6)
    same = [replace(row, numbers={"prompt_words": 12.0}, language="en") for row in _rows(rng, 50)]
    found = Scorer(usual, "m/r").score(same, _vectors(rng, rng.integers(0, 4, 50)), 0)
    assert np.mean(found["language"]) > 0.4
    assert np.mean(found["length"]) > 0.8


def test_the_same_window_gets_the_same_p_values_again(usual: Reference) -> None:
    rng = np.random.default_rng(7)
    rows, vectors = _rows(rng, 50), _vectors(rng, rng.integers(0, 4, 50))
    one, two = (Scorer(usual, "m/r").score(rows, vectors, 3) for _ in range(2))
    assert one == two
