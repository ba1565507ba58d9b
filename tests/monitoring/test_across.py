"""Which of many aliases are believed to have got worse."""

import numpy as np

from monitoring.across import RATE, believed_harm
from tests.monitoring.watched import signals, state


def test_the_more_are_watched_the_more_evidence_one_needs() -> None:
    worse = state("shop", "shop-1", signals=signals(harm=70.0))
    assert believed_harm([worse]) == {("shop", "shop-1")}
    others = [state(f"a{n}", "r", signals=signals()) for n in range(19)]
    assert believed_harm([worse, *others]) == set()
    much = state("shop", "shop-1", signals=signals(harm=250.0))
    assert believed_harm([much, *others]) == {("shop", "shop-1")}


def test_several_that_are_bad_together_need_less_each() -> None:
    bad = [state(f"b{n}", "r", signals=signals(harm=45.0)) for n in range(10)]
    good = [state(f"a{n}", "r", signals=signals()) for n in range(10)]
    assert believed_harm([*bad, *good]) == {(each.alias, "r") for each in bad}


def test_drift_does_not_count_and_no_tests_are_no_evidence() -> None:
    drifted = {n: s for n, s in signals(drift=1e9).items() if s["kind"] == "drift"}
    assert believed_harm([state("a", "r", signals=drifted), state("b", "r", signals={})]) == set()
    assert believed_harm([]) == set()


def test_of_those_believed_few_are_good() -> None:
    """Likelihood ratios of 20 aliases, 4 of them bad: the false share is as promised."""
    rng = np.random.default_rng(4)
    false, runs = 0.0, 300
    for _ in range(runs):
        shift = np.array([3.0] * 4 + [0.0] * 16)
        evidence = np.exp(3.0 * (rng.normal(size=20) + shift) - 4.5)
        states = [
            state(f"a{n}", "r", signals={"format": {"kind": "harm", "evidence": float(value)}})
            for n, value in enumerate(evidence)
        ]
        found = [int(alias[1:]) for alias, _ in believed_harm(states)]
        false += sum(n >= 4 for n in found) / max(len(found), 1)
    assert false / runs <= RATE
