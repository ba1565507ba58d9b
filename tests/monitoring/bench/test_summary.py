"""Figures follow from runs, and runs outlive a kill."""

import math
from pathlib import Path

import numpy as np
import pytest

from monitoring.bench.goals import goals
from monitoring.bench.outcomes import OURS, Outcome, Outcomes
from monitoring.bench.peers import PcaKs
from monitoring.bench.plan import LONG
from monitoring.bench.report import markdown
from monitoring.bench.summary import alarm, calibrated, found, summarised
from tests.monitoring.bench.made import known


def _run(
    scenario: str, seed: int, trace: list[float], method: str = OURS, code: str = "",
    harm: int | None = None, loss: tuple[float, float] = (0.1, 0.1),
) -> Outcome:  # fmt: skip
    signal = "all" if method == OURS else "statistic"
    return Outcome(method, scenario, 100, seed, 2, {signal: trace}, 10.0, code, harm, loss)


@pytest.fixture
def outcomes(tmp_path: Path) -> Outcomes:
    return Outcomes(tmp_path / "drift.jsonl")


def test_a_delay_is_counted_from_the_onset_and_an_early_alarm_is_no_find() -> None:
    runs = [
        _run("topic-10", 0, [0, 0, 5, 5]),
        _run("topic-10", 1, [0, 0, 0, 5]),
        _run("topic-10", 2, [5, 5, 5, 5]),
        _run("topic-10", 3, [0, 0, 0, 0]),
    ]
    seen = found(runs, "all", 5)
    assert (seen.delays, seen.early, seen.rate) == ([1, 2], 1, 0.5)
    assert math.isinf(seen.median)
    assert found(runs[:2], "all", 5).median == 1.5


def test_our_alarm_is_at_the_threshold_and_a_peers_above_its_limit() -> None:
    assert alarm([1, 2, 3], 2) == 1
    assert alarm([1, 2, 3], 2, above=True) == 2
    assert alarm([1, 2, 3], 3, above=True) is None


@pytest.mark.parametrize(("count", "alarms"), [(20, 1), (100, 5), (19, 0)])
def test_a_calibrated_limit_lets_five_percent_of_null_runs_alarm(count: int, alarms: int) -> None:
    rng = np.random.default_rng(1)
    runs = [_run("null", seed, rng.normal(size=30).tolist()) for seed in range(count)]
    limit = calibrated(runs, "all")
    assert sum(alarm(each.traces["all"], limit, above=True) is not None for each in runs) == alarms


def test_runs_are_kept_a_half_line_is_not_and_old_code_runs_again(tmp_path: Path) -> None:
    path = tmp_path / "drift.jsonl"
    first = Outcomes(path)
    first.add(_run("null", 0, [0, 1], code=first.code))
    first.add(_run("null", 1, [0, 1], code="of another detector"))
    first.add(_run("null", 1, [0, 1], "pca-ks"))
    with path.open("ab") as file:
        file.write(b'\n{"method": "driftgate", "scen')
    again = Outcomes(path)
    again.add(_run("null", 2, [0, 1], code=again.code))
    kept = Outcomes(path)
    assert [each.seed for each in kept.of(OURS, "null")] == [0, 2]
    assert [each.seed for each in kept.of("pca-ks", "null")] == [1]


def test_the_report_says_what_was_measured(outcomes: Outcomes) -> None:
    for seed in range(20):
        outcomes.add(_run("topic-10", seed, [0, 0, 0, 6.0], harm=3 if seed < 5 else None,
                          loss=(0.1, 0.3)))  # fmt: skip
        outcomes.add(_run("null", seed, [0, 0, 0, 6.0 if seed == 0 else 0.1 * seed],
                          harm=3 if seed == 7 else None))  # fmt: skip
        for scenario in ("null", "topic-10"):
            trace = [0.3, 0.4, 0.4, 0.5 + 0.01 * seed]
            outcomes.add(_run(scenario, seed, trace, "pca-ks"))
    for seed in range(100):
        outcomes.add(_run(LONG.name, seed, [4.0] if seed < 7 else [1.0]))
    made = summarised(outcomes, [("pca-ks", 0.45)], 100)
    assert made.nulls["4000"][LONG.name] == (7, 100)
    assert made.nulls["43200"]["null"] == (1, 20)
    ours, peer = made.lines
    assert (ours.default.alarmed, ours.calibrated.alarmed) == (1, 1)
    # One null run of 20 may reach 6.0; the limit is what the others reached.
    assert ours.calibrated.found["topic-10"].delays == [2] * 20
    assert (peer.default.alarmed, peer.calibrated.alarmed) == (20, 1)
    assert peer.default.found["topic-10"].delays == [2] * 20
    text = markdown(made, {"pca-ks": "PCA + KS"})
    assert "| new topic, 10 % | 20 of 20 | 2 | 200 | 20 of 20 | 2 |" in text
    assert "| PCA + KS | default: 0.45 | 20 of 20 |" in text
    assert "**precision 83.3%; 5 of 20 found**" in text  # five of six harm alarms
    verdicts = {goal.claim.split(",")[0]: goal.verdict for goal in goals(made)}
    assert verdicts["False alarms of drift over 200 windows without change"] == "**missed**"
    assert verdicts["New topic of 10 %"] == "met"


def test_pca_and_ks_tell_another_distribution() -> None:
    material = known()
    rng = np.random.default_rng(1)
    places = rng.permutation(material.plain)
    judge = PcaKs().judge(material.vectors[places[:1500]])
    usual = judge.statistic(material.vectors[places[1500:1600]])
    assert usual < 4
    assert judge.statistic(material.vectors[material.foreign]) > 10
    assert judge.statistic(material.vectors[:100]) > max(usual, PcaKs().limit)
