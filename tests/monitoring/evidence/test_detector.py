"""The change detector: false alarms as rare as chosen, changes found, nothing lost by a restart."""

import json

import numpy as np
import pytest

from monitoring.evidence.bets import BETS, mean_of_logs, on_p_values
from monitoring.evidence.conformal import FIXED, p_values
from monitoring.evidence.detector import Detector

_WINDOW = 50


def test_a_bet_is_worth_at_most_one_on_average_while_nothing_changes() -> None:
    rng = np.random.default_rng(1)
    worth = np.exp([on_p_values(rng.random(_WINDOW)) for _ in range(4000)])
    assert worth.shape == (4000, BETS)
    # Of the bets with the largest stakes single windows are worth very much: the median bet tells.
    assert np.median(worth.mean(axis=0)) < 1.2


@pytest.mark.slow
def test_false_alarms_are_as_rare_as_was_chosen() -> None:
    rng = np.random.default_rng(2)
    lengths = []
    for _ in range(60):
        detector = Detector(BETS, threshold=30)
        while not detector.alarm and detector.windows < 900:
            detector.observe(on_p_values(rng.random(_WINDOW)))
        lengths.append(detector.windows)
    assert np.mean(lengths) >= 30  # ended at 900, so that the true mean is larger still


def test_a_change_is_found_and_its_begin_named() -> None:
    rng = np.random.default_rng(3)
    detector = Detector(BETS, threshold=43_200)
    for _ in range(40):
        detector.observe(on_p_values(rng.random(_WINDOW)))
    assert not detector.alarm
    while not detector.alarm and detector.windows < 60:
        p = rng.random(_WINDOW)
        p[:8] **= 8  # eight requests are of another kind
        detector.observe(on_p_values(p))
    assert detector.alarm
    assert 41 <= detector.windows <= 52
    assert 36 <= detector.onset <= 44
    detector.restart()
    assert detector.evidence == 1.0
    assert not detector.alarm


def test_a_detector_goes_on_where_another_was() -> None:
    rng = np.random.default_rng(4)
    first = Detector(BETS, threshold=100)
    for _ in range(10):
        first.observe(on_p_values(rng.random(_WINDOW) ** 1.2))
    second = Detector.restored(json.loads(json.dumps(first.state())))
    window = on_p_values(rng.random(_WINDOW))
    assert first.observe(window) == second.observe(window)
    assert (first.onset, first.windows) == (second.onset, second.windows)


@pytest.mark.parametrize(
    "state",
    [
        {"threshold": 9, "windows": 1, "logs": [0.0], "since": [0, 1]},
        {"threshold": 9, "windows": 1, "logs": [float("nan")], "since": [0]},
        {"threshold": 1, "windows": 1, "logs": [0.0], "since": [0]},
    ],
)
def test_a_state_that_is_none_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Detector.restored(state)


def test_e_values_that_are_no_numbers_change_nothing() -> None:
    detector = Detector(2, threshold=10)
    for wrong in (np.array([0.0, np.nan]), np.zeros(3)):
        with pytest.raises(ValueError, match="2 e-values"):
            detector.observe(wrong)
    assert (detector.windows, detector.evidence) == (0, 1.0)


def test_p_values_are_not_too_small() -> None:
    rng = np.random.default_rng(5)
    calibration = rng.normal(size=1500)
    found = p_values(rng.normal(size=20_000), calibration, rng)
    for level in (0.01, 0.05, 0.2):
        assert (found <= level).mean() <= level * 1.1
    plain = p_values(rng.normal(size=20_000), calibration, rng, caution=0)
    assert abs((plain <= 0.2).mean() - 0.2) < 0.04


def test_ties_and_what_is_no_number_are_no_evidence() -> None:
    rng = np.random.default_rng(6)
    same = p_values(np.zeros(5000), np.zeros(100), rng, caution=0)
    assert abs(same.mean() - 0.5) < 0.02
    assert p_values(np.array([np.nan]), np.zeros(5), rng).tolist() == [1.0]
    assert (on_p_values(np.ones(3)) < 0).all()
    with pytest.raises(ValueError, match="no finite score"):
        p_values(np.zeros(1), np.array([np.nan]), rng)


def test_the_mean_of_large_e_values_is_no_overflow() -> None:
    assert mean_of_logs(np.array([1000.0, 1000.0])) == pytest.approx(1000.0)


def test_one_calibration_set_may_serve_many_windows() -> None:
    """What a set lacks by chance adds up over 200 windows, and caution outweighs it."""
    rng = np.random.default_rng(7)

    def alarms(caution: float) -> int:
        found = 0
        for _ in range(20):
            calibration = rng.normal(size=1500)
            detector = Detector(BETS, threshold=43_200)
            seen = [
                detector.observe(on_p_values(p_values(window, calibration, rng, caution=caution)))
                for window in rng.normal(size=(200, 100))
            ]
            found += max(seen) >= detector.threshold
        return found

    assert alarms(FIXED) == 0
    assert alarms(0.0) >= 2
