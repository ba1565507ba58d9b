"""The harm test and the combination of evidence, against simulation."""

import json

import numpy as np
import pytest

from monitoring.evidence.combining import average, believed
from monitoring.evidence.harm import HarmTest


def _alarms(rate: float, limit: float, runs: int, length: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    alarmed = 0
    for _ in range(runs):
        test = HarmTest(limit)
        for window in (rng.random((length // 50, 50)) < rate).astype(float):
            test.observe(window)
        alarmed += test.alarm
    return alarmed / runs


@pytest.mark.slow
def test_a_release_within_its_limit_is_left_alone_for_its_whole_life() -> None:
    # 200 windows of 50, looked at after each; the loss is exactly what is allowed.
    assert _alarms(0.10, 0.10, runs=300, length=10_000, seed=1) <= 0.02


def test_a_release_that_got_worse_is_found() -> None:
    assert _alarms(0.20, 0.10, runs=20, length=1000, seed=2) >= 0.95


def test_a_release_that_was_good_for_long_is_found_as_well() -> None:
    rng = np.random.default_rng(9)
    delays = []
    for _ in range(20):
        test = HarmTest(0.15)
        for _ in range(1000):
            test.observe((rng.random(50) < 0.10).astype(float))
        assert not test.alarm
        windows = 0
        while not test.alarm and windows < 100:
            test.observe((rng.random(50) < 0.35).astype(float))
            windows += 1
        delays.append(windows)
    assert np.median(delays) <= 6  # 300 requests; without waiting capital it takes 20 times that


def test_the_lower_limit_holds_and_comes_near() -> None:
    rng = np.random.default_rng(3)
    limits = []
    for _ in range(50):
        test = HarmTest(0.10)
        test.observe((rng.random(2000) < 0.25).astype(float))
        limits.append(test.at_least)
    assert max(limits) < 0.25
    assert np.mean(limits) > 0.19


def test_losses_between_0_and_1_count_by_their_size() -> None:
    test = HarmTest(0.5)
    test.observe([0.25, 0.75, 0.999])
    assert test.count == 3
    assert test.mean == pytest.approx((0.25 + 0.75 + 0.99) / 3)


def test_an_alarm_stays() -> None:
    test = HarmTest(0.1)
    test.observe([1.0] * 20)
    assert test.alarm
    test.observe([0.0] * 500)
    assert test.evidence < 1
    assert test.alarm
    assert HarmTest.restored(json.loads(json.dumps(test.state()))).state() == test.state()


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_a_loss_out_of_range_counts_nothing(wrong: float) -> None:
    test = HarmTest(0.1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        test.observe([1.0, wrong])
    assert test.count == 0
    assert test.mean is None
    assert test.evidence == 1.0
    assert test.at_least < 0.001


@pytest.mark.parametrize(("limit", "alpha"), [(0.0, 0.01), (1.0, 0.01), (0.1, 0.0), (0.1, 1.5)])
def test_settings_out_of_range_are_named(limit: float, alpha: float) -> None:
    with pytest.raises(ValueError, match="limit" if alpha == 0.01 else "alpha"):
        HarmTest(limit, alpha)


def test_evidence_of_several_signals_is_averaged() -> None:
    assert average({"a": 4.0, "b": 1.0, "c": float("nan")}) == 2.5
    assert average({}) == 1.0


def test_which_aliases_are_believed() -> None:
    assert believed({"a": 100.0, "b": 1.0, "c": 16.0, "d": 0.1}) == {"a"}
    assert believed({"a": 100.0, "b": 1.0, "c": 21.0, "d": 0.1}) == {"a", "c"}
    assert believed({"a": 9.0}) == frozenset()
    assert believed({}) == frozenset()
