"""The pre-deployment checklist: four questions that somebody asks before a model goes live."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.evaluation.gates import Compared, Gate, Verdict
from training.evaluation.paired import ALPHA, cases_for_gain, interval, p_greater, p_less
from training.evaluation.result import CheckItem

_RISE = 1.1  # of the last validation loss over the best
_STILL_FALLING = 0.05  # share by which the last third is below the third before it


def checklist(
    run: Path | None, whole: Compared, gates: Sequence[Gate], not_run: dict[str, str], margin: float
) -> tuple[CheckItem, ...]:
    """Return the checklist of a candidate.

    Args:
        run: The run folder of the training, or None.
        whole: Candidate and baseline over all test cases.
        gates: Those that ran.
        not_run: What the others need, by gate.
        margin: The gain that would be worth having.
    """
    loss = converged(run) if run else CheckItem("Loss converged", None, "no run folder was given")
    return (
        loss,
        _gate("Hallucination rate", "hallucination", gates, not_run),
        _better(whole, margin),
        _gate("Latency within the SLA", "latency", gates, not_run),
    )


def converged(run: Path) -> CheckItem:
    """Say whether the validation loss of a run has come to rest.

    Reads `metrics.jsonl`: one JSON object a line, with `step` and, of some, `eval_loss`.
    """
    title = "Loss converged"
    try:
        rows = [json.loads(row) for row in (run / "metrics.jsonl").read_text().splitlines() if row]
    except OSError as error:
        return CheckItem(title, None, f"{run}/metrics.jsonl cannot be read: {error.strerror}")
    except ValueError:
        return CheckItem(title, None, f"{run}/metrics.jsonl is not JSON Lines")
    losses = [
        _number(row) for row in rows if isinstance(row, dict) and row.get("eval_loss") is not None
    ]
    if any(not math.isfinite(loss) for loss in losses):
        return CheckItem(title, Verdict.FAIL, "the validation loss was not a number")
    if len(losses) < 3:
        seen = f"{len(losses)} validation losses; at least 3 are needed to say"
        return CheckItem(title, Verdict.INCONCLUSIVE, seen)
    first, last, best = losses[0], losses[-1], min(losses)
    seen = f"validation loss {first:.3f} → {last:.3f}, best {best:.3f}"
    if best >= first:
        return CheckItem(title, Verdict.FAIL, f"{seen}: it never fell")
    if last > _RISE * best and _kept(run) <= 1.01 * best:
        return CheckItem(title, Verdict.PASS, f"{seen}: it rose again, the best checkpoint is kept")
    if last > _RISE * best:
        return CheckItem(title, Verdict.FAIL, f"{seen}: it rises again, the run is overfitted")
    third = max(1, len(losses) // 3)
    before, after = losses[-2 * third : -third], losses[-third:]
    fell = 1 - (sum(after) / len(after)) / (sum(before) / len(before))
    if fell > _STILL_FALLING:
        why = f"{seen}: still falling, by {100 * fell:.0f} % over the last third"
        return CheckItem(title, Verdict.INCONCLUSIVE, why)
    return CheckItem(title, Verdict.PASS, seen)


def _kept(run: Path) -> float:
    """Return the validation loss of the adapter that the run kept, from its result."""
    try:
        return _number(json.loads((run / "result.json").read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return math.inf


def _number(row: dict[str, Any]) -> float:
    value = row["eval_loss"]
    return float(value) if isinstance(value, int | float) else math.nan


def _better(whole: Compared, margin: float) -> CheckItem:
    seen = interval(whole.pairs)
    detail = (
        f"{100 * seen.value:+.1f} points over all {seen.n:,} cases "
        f"({100 * seen.low:+.1f} to {100 * seen.high:+.1f})"
    )
    title = "Better than the baseline"
    if p_greater(whole.worst, 0.0) <= ALPHA:
        return CheckItem(title, Verdict.PASS, detail)
    if p_less(whole.pairs, margin) <= ALPHA:
        return CheckItem(title, Verdict.FAIL, f"{detail}: a gain worth having is ruled out")
    needed = cases_for_gain(whole.pairs, margin)
    if needed is not None:
        detail += f"; about {needed - seen.n:,} more cases are needed"
    return CheckItem(title, Verdict.INCONCLUSIVE, detail)


def _gate(title: str, name: str, gates: Sequence[Gate], not_run: dict[str, str]) -> CheckItem:
    for gate in gates:
        if gate.name == name:
            return CheckItem(title, gate.verdict, gate.reason)
    return CheckItem(title, None, not_run.get(name, "not measured"))
