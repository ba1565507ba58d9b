"""The step `evaluate` of a job: asks base and candidate the same questions, and decides.

A retraining's candidate is compared with the release in service, by the gates of its loop
(`training.gating`); any other job's with its base.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from gateway.store.examples import Example
from training.gating import Gating, GatingInvalid, missing
from training.order import Order
from training.step_process import StepFailed, Teller

# Fields of a job's `set` that are the evaluation's, not the recipe's.
CASES, SUITES = "evaluation.cases", "evaluation.suites"
# Cases, where the job does not say: generation on a CPU takes seconds a case.
_CASES_CPU, _CASES_GPU = 100, 1000
_ANSWER_TOKENS = (32, 512)


def evaluate(order: Order, tell: Teller) -> dict[str, Any]:
    """Ask the baseline and the merged model the same held-out questions, and compare."""
    from training import integrity
    from training.evaluation.answerers.base import AnswererError, Sampling, System
    from training.evaluation.config import EvaluationConfig
    from training.evaluation.run import evaluate as run_evaluation
    from training.evaluation.run import write
    from training.run import gpu_count

    gating = gating_of(order)
    wanted = gating or Gating(suites=order.overrides.get(SUITES, gpu_count() > 0))
    merged = order.finished("merge")
    model = Path(merged["model"])
    out = order.folder / "evaluation"
    cases, most, longest = write_cases(order, out)
    config = EvaluationConfig(
        data=cases,
        out=out,
        baseline=System("baseline", str(order.baseline or order.base)),
        candidate=System("candidate", str(model)),
        superior_on=wanted.superior_on,
        margin=wanted.margin,
        margins=wanted.margins,
        suites=("all",) if wanted.suites else (),
        truth=Path(wanted.truth) if wanted.truth else None,
        sla_p95_s=wanted.latency_p95_s,
        run=Path(order.finished("train")["run"]),
        sampling=Sampling(seed=order.seed),
        max_tokens=longest,
    )
    try:
        evaluation = run_evaluation(config, _progress(tell))
    except (AnswererError, ValueError) as error:
        raise StepFailed("evaluation_failed", str(error)) from error
    weights = integrity.unchanged(model, merged["digests"])  # what was evaluated just now
    before = [check for check in merged.get("integrity", ()) if check["name"] != weights.name]
    checks = [*before, weights]
    gates = (integrity.gate(checks), *evaluation.gates)
    gates = (*gates, *missing(wanted.required, gates, evaluation.not_run))
    evaluation = replace(evaluation, gates=gates)
    write(evaluation)
    measured = {row["system"]: row for row in evaluation.measured()}
    summary = {
        "verdict": str(evaluation.verdict),
        "cases": most,
        "systems": measured,
        "baseline": order.baseline_release or order.base_release,
        "gates": [
            {
                "name": gate.name,
                "verdict": str(gate.verdict),
                "reason": gate.reason,
                "missing": gate.missing,
            }
            for gate in gates
        ],
    }
    base, new = measured["baseline"], measured["candidate"]
    tell.event(
        f"Evaluation on held-out rows: {base['score']:.1%} right before, {new['score']:.1%} after "
        f"({new['low']:.1%} to {new['high']:.1%}); verdict {evaluation.verdict}.",
        level="info" if summary["verdict"] == "PASS" else "warn",
    )
    reports = [out / "report.html", out / "evaluation.json"]
    return {"summary": summary, "reports": [str(path) for path in reports]}


def gating_of(order: Order) -> Gating | None:
    """Return the gates that a job asks for; StepFailed where they cannot be used."""
    try:
        return Gating.of(order.overrides)
    except GatingInvalid as error:
        raise StepFailed("invalid_gates", str(error)) from error


def score(order: Order) -> Callable[[Path], float]:
    """Return what scores a merge: its share of right answers to the held-out cases."""

    def scored(model: Path) -> float:
        from training.evaluation.answerers.base import Sampling, System
        from training.evaluation.config import EvaluationConfig
        from training.evaluation.run import evaluate as run_evaluation

        out = order.folder / "evaluation" / model.name
        cases, _, longest = write_cases(order, out)
        config = EvaluationConfig(
            data=cases,
            out=out,
            systems=(System("merge", str(model)),),
            suites=(),
            sampling=Sampling(seed=order.seed),
            max_tokens=longest,
        )
        return float(run_evaluation(config).measured()[0]["score"])

    return scored


def write_cases(order: Order, folder: Path) -> tuple[Path, int, int]:
    """Write the cases of an evaluation: the first validation rows, of each slice as many.

    Returns:
        Their file, how many they are, and how many tokens an answer may have.
    """
    from gateway.store.examples import read_jsonl, write_jsonl
    from training.run import gpu_count

    gating = gating_of(order)
    usual = order.overrides.get(CASES, _CASES_GPU if gpu_count() else _CASES_CPU)
    most = gating.cases if gating is not None and gating.cases is not None else usual
    valid = Path(order.finished("prepare")["valid"])
    rows = balanced([row for row in read_jsonl(valid) if isinstance(row, Example)], most)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_jsonl(folder / "cases.jsonl", rows)
    # A token has three characters or more in most languages; two leave room.
    longest = max(len(row.answer) for row in rows) // 2
    least, limit = _ANSWER_TOKENS
    return folder / "cases.jsonl", len(rows), min(max(longest, least), limit)


def balanced(rows: Sequence[Example], most: int) -> list[Example]:
    """Return the first rows, of each slice as many as there are places, in their order."""
    by_slice: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        by_slice[row.slice].append(index)
    in_turn = chain.from_iterable(zip_longest(*by_slice.values()))
    chosen = [index for index in in_turn if index is not None][:most]
    return [rows[index] for index in sorted(chosen)]


def _progress(tell: Teller) -> Callable[[str, int, int], None]:
    """Return what tells of each stage once it begins."""
    seen: set[str] = set()

    def hear(stage: str, done: int, total: int) -> None:
        if stage not in seen:
            seen.add(stage)
            tell.event(f"Evaluation: {stage}" + (f" ({total:,})" if total > 1 else ""))

    return hear
