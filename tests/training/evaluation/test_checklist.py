"""The pre-deployment checklist."""

import json
from pathlib import Path

import pytest

from training.evaluation.checklist import checklist, converged
from training.evaluation.gates import Compared, Gate, Verdict
from training.evaluation.paired import Pairs

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("losses", "verdict", "said"),
    [
        ([2.0, 1.0, 0.61, 0.6, 0.6, 0.59], PASS, "2.000 → 0.590"),
        ([2.0, 1.5, 1.2, 0.9, 0.7, 0.5], INCONCLUSIVE, "still falling"),
        ([2.0, 0.6, 0.5, 0.7, 0.9], FAIL, "rises again"),
        ([2.0, 2.1, 2.2], FAIL, "never fell"),
        ([2.0, 1.0], INCONCLUSIVE, "2 validation losses"),
        ([2.0, float("nan"), 1.0], FAIL, "not a number"),
    ],
)
def test_convergence(tmp_path: Path, losses: list[float], verdict: Verdict, said: str) -> None:
    rows = [{"kind": "step", "step": 1, "loss": 3.0, "eval_loss": None}]
    rows += [{"kind": "eval", "step": n, "eval_loss": loss} for n, loss in enumerate(losses)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    item = converged(tmp_path)
    assert item.verdict is verdict
    assert said in item.detail


def test_an_overfitted_run_that_kept_its_best_checkpoint_is_fine(tmp_path: Path) -> None:
    rows = [{"eval_loss": loss} for loss in (2.0, 0.6, 0.5, 0.7, 0.9)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "result.json").write_text('{"eval_loss": 0.5}')
    assert converged(tmp_path).verdict is PASS


def test_what_was_not_measured_says_what_it_needs(tmp_path: Path) -> None:
    whole = Compared("all", Pairs(200, 80, 2))
    gates = [Gate("latency", "t", FAIL, "too slow")]
    items = checklist(tmp_path / "gone", whole, gates, {"hallucination": "no truth set"}, 0.03)
    assert [item.verdict for item in items] == [None, None, PASS, FAIL]
    assert "cannot be read" in items[0].detail
    assert items[1].detail == "no truth set"
    assert items[2].detail.startswith("+39.0 points over all 200 cases")


@pytest.mark.parametrize(
    ("pairs", "verdict"),
    [(Pairs(40, 3, 1), INCONCLUSIVE), (Pairs(3000, 30, 90), FAIL), (Pairs(300, 30, 5), PASS)],
)
def test_better_than_the_baseline(pairs: Pairs, verdict: Verdict) -> None:
    assert checklist(None, Compared("all", pairs), [], {}, 0.03)[2].verdict is verdict
