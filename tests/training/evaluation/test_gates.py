"""Verdicts: PASS only where it is shown, and the number of cases that are missing."""

import numpy as np
import pytest

from training.evaluation.gates import (
    Compared,
    Verdict,
    by_slice,
    capability_gate,
    estimated_gate,
    hallucination_gate,
    latency_gate,
    overall,
    paired_gate,
)
from training.evaluation.intervals import Interval
from training.evaluation.paired import ALPHA, Pairs, holm, p_greater

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def test_better_where_named_and_not_worse_elsewhere() -> None:
    slices = [Compared("new", Pairs(200, 60, 10)), Compared("old", Pairs(900, 30, 28))]
    gate = paired_gate(slices, ["new"], 0.03)
    assert gate.verdict is PASS
    assert [test.rule for test in gate.tests] == ["superior", "non-inferior"]


def test_too_few_cases_are_inconclusive_and_counted() -> None:
    gate = paired_gate([Compared("old", Pairs(100, 5, 5))], [], 0.03)
    assert gate.verdict is INCONCLUSIVE
    test = gate.tests[0]
    assert test.missing is not None
    assert 100 + test.missing == pytest.approx(793, abs=10)
    assert f"{test.missing:,} more cases" in gate.reason


@pytest.mark.parametrize("n", [0, 1, 5, 40])
def test_equal_answers_on_a_handful_never_pass(n: int) -> None:
    gate = paired_gate([Compared("s", Pairs(n, 0, 0))], [], 0.03)
    assert gate.verdict is INCONCLUSIVE
    assert gate.missing


def test_worse_fails() -> None:
    assert paired_gate([Compared("s", Pairs(300, 2, 60))], [], 0.03).verdict is FAIL
    assert paired_gate([Compared("s", Pairs(900, 9, 20))], ["s"], 0.03).verdict is FAIL


def test_one_bad_slice_spoils_all() -> None:
    good, bad = Compared("good", Pairs(2000, 20, 20)), Compared("bad", Pairs(300, 0, 60))
    gate = paired_gate([good, bad], [], 0.03)
    assert gate.verdict is FAIL
    assert "bad" in gate.reason
    assert "good" not in gate.reason


def test_failed_requests_count_against_the_candidate() -> None:
    pairs = Pairs(900, 30, 28)
    assert paired_gate([Compared("s", pairs)], [], 0.03).verdict is PASS
    gate = paired_gate([Compared("s", pairs, lost=40)], [], 0.03)
    assert gate.verdict is INCONCLUSIVE
    assert "40 requests failed" in gate.reason


def test_missing_answers_are_lost_pairs_not_wrong_ones() -> None:
    slices = {"1": "a", "2": "a", "3": "a", "4": "b"}
    candidate = {"1": True, "2": True, "4": False}
    baseline = {"1": False, "3": True, "4": True}
    assert by_slice(slices, candidate, baseline) == [
        Compared("a", Pairs(1, 1, 0), 2),
        Compared("b", Pairs(1, 0, 1), 0),
    ]


def test_suites_pass_together_only() -> None:
    clean = [Compared(name, Pairs(120, 0, 0)) for name in "abcdef"]
    assert capability_gate(clean, 0.05).verdict is PASS
    short = [*clean[:5], Compared("f", Pairs(50, 0, 0))]
    assert capability_gate(short, 0.05).verdict is INCONCLUSIVE
    broken = [*clean[:5], Compared("f", Pairs(120, 0, 30))]
    assert capability_gate(broken, 0.05).verdict is FAIL


def test_harm_to_any_suite_passes_in_at_most_5_percent() -> None:
    """All six suites are worse by the margin: not even one of them may seem sound by luck."""
    rng = np.random.default_rng(9)
    shown = []
    for _ in range(200):
        drawn = rng.multinomial(120, [0.01, 0.06, 0.93], size=6)
        p_values = [p_greater(Pairs(120, int(b), int(c)), -0.05) for b, c, _ in drawn]
        shown.append(min(holm(p_values)) <= ALPHA)
    assert np.mean(shown) <= 0.096  # three standard errors above 5 %


def test_hallucinations() -> None:
    assert hallucination_gate(Compared("t", Pairs(320, 0, 0)), 0.01).verdict is PASS
    few = hallucination_gate(Compared("t", Pairs(100, 0, 0)), 0.01)
    assert few.verdict is INCONCLUSIVE
    assert few.missing
    assert hallucination_gate(Compared("t", Pairs(100, 0, 12)), 0.01).verdict is FAIL


def test_an_estimate_decides_by_its_limits() -> None:
    assert estimated_gate(Interval(-0.02, -0.04, 0.0, 500, 0.9), 0.01).verdict is PASS
    assert estimated_gate(Interval(0.05, 0.02, 0.08, 500, 0.9), 0.01).verdict is FAIL
    open_gate = estimated_gate(Interval(0.0, -0.03, 0.03, 500, 0.9), 0.01)
    assert open_gate.verdict is INCONCLUSIVE
    assert open_gate.missing == 4000  # a third of the width needs nine times the cases


def test_latency() -> None:
    fast = [0.1 + n / 1000 for n in range(100)]
    assert latency_gate(fast, 0.5, 0).verdict is PASS
    assert latency_gate(fast, 0.15, 0).verdict is FAIL
    few = latency_gate(fast[:20], 0.5, 0)
    assert (few.verdict, few.missing) == (INCONCLUSIVE, 39)
    assert latency_gate(fast, 0.5, failed=20).verdict is FAIL


def test_overall() -> None:
    assert overall([PASS, PASS]) is PASS
    assert overall([PASS, INCONCLUSIVE]) is INCONCLUSIVE
    assert overall([INCONCLUSIVE, FAIL, PASS]) is FAIL
    assert overall([]) is INCONCLUSIVE
