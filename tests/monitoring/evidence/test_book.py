"""All evidence about a release, as a fold over stored inputs."""

import json

import numpy as np
import pytest

from monitoring.evidence.book import TOGETHER, Book, Harm, Inputs, Levels, highest_mean

LEVELS = Levels(windows=1000.0, alpha=0.01, tolerance=0.05, baseline=200)


def _inputs(rng: np.random.Generator, *, new: float = 0.0, loss: float = 0.1) -> Inputs:
    p = rng.random(50)
    p[: int(50 * new)] = rng.random(int(50 * new)) * 0.01
    return Inputs({"far": p.tolist()}, {"format": (rng.random(50) < loss).astype(float).tolist()})


def test_drift_shows_in_the_average_and_harm_in_its_signal() -> None:
    rng = np.random.default_rng(1)
    book = Book(LEVELS, ("far", "crowded"))
    for _ in range(20):
        book.observe(_inputs(rng).as_dict())
    assert book.drift < 20
    assert book.harms == []
    while book.alarm is None:
        book.observe(_inputs(rng, new=0.3, loss=0.6).as_dict())
    signals = book.signals()
    # `crowded` said nothing, and counts as 1 in the average.
    assert signals[TOGETHER]["evidence"] == pytest.approx((signals["far"]["evidence"] + 1) / 2)
    assert book.alarm.evidence == book.drift > LEVELS.windows
    assert book.alarm.began == 20
    assert book.alarm.window < 30
    for _ in range(10):
        book.observe(_inputs(rng, loss=0.6).as_dict())
    assert book.quiet == 10
    assert book.drift < 20
    assert book.harms == ["format"]
    assert book.signals()["format"]["mean"] > book.signals()["format"]["limit"]


def test_the_state_and_the_stored_inputs_give_the_same_evidence_again() -> None:
    rng = np.random.default_rng(2)
    stored = [json.loads(json.dumps(_inputs(rng, new=0.1).as_dict())) for _ in range(12)]
    straight = Book(LEVELS, ("far",))
    evidence = [straight.observe(inputs) for inputs in stored]
    halting = Book(LEVELS, ("far",))
    for inputs, expected in zip(stored, evidence, strict=True):
        assert halting.observe(inputs) == expected
        halting = Book.restored(json.loads(json.dumps(halting.state())), LEVELS)


def test_p_values_are_rounded_up_only() -> None:
    p = [1e-9, 0.123456789, 0.99999999, 1.0]
    rounded = Inputs({"far": p}, {}).as_dict()["p_values"]["far"]
    assert all(after >= before for after, before in zip(rounded, p, strict=True))
    assert rounded == [1e-5, 0.12346, 1.0, 1.0]


def test_a_release_as_good_as_ever_is_not_said_to_do_harm() -> None:
    rng = np.random.default_rng(3)
    alarmed = 0
    for _ in range(200):
        harm = Harm(LEVELS)
        for _ in range(40):
            harm.observe((rng.random(50) < 0.1).astype(float).tolist())
        alarmed += harm.shown()["alarm"]
    assert alarmed <= 6  # 1 % promised; more than 6 of 200 has a chance of 0.5 %


def test_a_loss_above_the_tolerance_is_found() -> None:
    rng = np.random.default_rng(4)
    found = 0
    for _ in range(50):
        harm = Harm(LEVELS)
        harm.observe((rng.random(200) < 0.1).astype(float).tolist())
        for _ in range(20):
            harm.observe((rng.random(50) < 0.4).astype(float).tolist())
        found += harm.shown()["alarm"]
    assert found >= 48


def test_an_agreed_limit_needs_no_baseline() -> None:
    book = Book(Levels(limits={"probes": 0.2}), ())
    book.observe({"p_values": {}, "losses": {"probes": [1.0] * 30}})
    assert book.harms == ["probes"]
    assert book.drift == 1.0


def test_the_baselines_upper_limit_holds() -> None:
    rng = np.random.default_rng(5)
    missed = 0
    for _ in range(200):
        losses = (rng.random(200) < 0.2).astype(float).tolist()
        missed += highest_mean(losses, 0.05) < 0.2
    assert missed <= 18  # 5 %: above 18 of 200 has a chance of 1 %
    assert 0.2 < highest_mean([1.0] * 40 + [0.0] * 160, 0.05) < 0.3
