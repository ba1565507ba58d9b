"""The report of an evaluation as one HTML page without scripts (Jinja2)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from training.evaluation.differing import pieces
from training.evaluation.intervals import Interval
from training.evaluation.plots import forest, latency
from training.evaluation.result import Compare, Evaluation, Score

_TEMPLATES = Path(__file__).parents[1] / "templates"
_MOST_CASES = 60  # of each group; the JSON has them all
_SHOWN_TEXT = 4000
_NONE = "–"  # noqa: RUF001 - a dash for "there is none"

METRICS = {
    "right": ("Right", "share"),
    "valid": ("Valid format", "share"),
    "bleu": ("BLEU", "0 to 100"),
    "rouge_l": ("ROUGE-L", "0 to 1"),
    "bertscore": ("BERTScore F1", "0 to 1"),
    "hallucinated": ("Hallucinated", "share"),
    "judged": ("Hallucinated, says the judge alone", "share"),
    "declined": ("Declined", "share"),
    "passed": ("Passed", "share"),
}
_SHARES = ("right", "valid", "hallucinated", "judged", "declined", "passed")
_GROUPS = (
    ("lost", "Lost: only the baseline is right"),
    ("failed", "No answer: a request failed"),
    ("wrong", "Wrong in all"),
    ("mixed", "Right in some"),
    ("gained", "Gained: only the candidate is right"),
    ("right", "Right in all"),
)


def render(evaluation: Evaluation) -> str:
    """Return the page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["interval"] = interval_text
    environment.filters["seconds"] = _seconds
    return environment.get_template("evaluation.html").render(
        evaluation=evaluation,
        verdict=evaluation.verdict,
        when=datetime.fromtimestamp(evaluation.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        tables=tables(evaluation),
        metrics=METRICS,
        forest=forest(evaluation.gates),
        latency=latency(evaluation.latencies_s, evaluation.settings.get("sla_p95_s")),
        groups=case_groups(evaluation.cases),
        pieces=pieces,
        cut=lambda text: text if len(text) <= _SHOWN_TEXT else text[:_SHOWN_TEXT] + " …",
    )


def interval_text(found: Interval | None, metric: str, *, signed: bool = False) -> str:
    """Return an interval as people read it: shares in %, differences of shares in points."""
    if found is None or not found.n:
        return _NONE
    factor, digits = (100, 1) if metric in _SHARES else (1, 1 if metric == "bleu" else 3)
    unit = "" if signed or metric not in _SHARES else " %"
    sign = "+" if signed else ""
    value, low, high = (factor * x for x in (found.value, found.low, found.high))
    return f"{value:{sign}.{digits}f}{unit} ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})"


def tables(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return per part (test, truth, suite) the rows of slice and measure, a column a system."""
    found: dict[str, dict[tuple[str, str], dict[str, Score]]] = {}
    for score in evaluation.scores:
        row = found.setdefault(score.part, {}).setdefault((score.slice, score.metric), {})
        row[score.system] = score
    changes = {(d.part, d.slice, d.metric): d.interval for d in evaluation.differences}
    return [
        {
            "part": part,
            "rows": [
                {
                    "slice": slice,
                    "metric": metric,
                    "scores": [row[s.name].interval if s.name in row else None
                               for s in evaluation.systems],
                    "change": changes.get((part, slice, metric)),
                }
                for (slice, metric), row in rows.items()
            ],
        }
        for part, rows in found.items()
    ]  # fmt: skip


def case_groups(cases: Sequence[Compare]) -> list[dict[str, Any]]:
    """Return the cases in groups, the worst first, at most 60 of each."""
    found: dict[str, list[Compare]] = {}
    for case in cases:
        found.setdefault(_group(case), []).append(case)
    return [
        {"title": title, "total": len(found[name]), "cases": found[name][:_MOST_CASES]}
        for name, title in _GROUPS
        if name in found
    ]


def _group(case: Compare) -> str:
    right = {said.system: said.right for said in case.said}
    if None in right.values():
        return "failed"
    if len(set(right.values())) == 1:
        return "right" if all(right.values()) else "wrong"
    if set(right) == {"candidate", "baseline"}:
        return "gained" if right["candidate"] else "lost"
    return "mixed"


def _seconds(found: Interval | None) -> str:
    return _NONE if found is None else f"{found.value:.3g} s"
