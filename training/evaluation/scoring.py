"""From answers to scores: every measure of a system, on every slice, with its interval."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from training.evaluation.answerers.base import Answer
from training.evaluation.cases import ALL, Case
from training.evaluation.intervals import Interval, bootstrap_mean, wilson
from training.evaluation.metrics import bleu, rouge
from training.evaluation.metrics.exact import matches
from training.evaluation.metrics.json_format import JsonFormat
from training.evaluation.metrics.truth import says
from training.evaluation.paired import Pairs, interval
from training.evaluation.result import Difference, Score

RightBy = Literal["exact", "contains"]
Texts = Callable[[Sequence[str], Sequence[str]], list[float]]

LIMITS_LEVEL = 0.9  # both one-sided 95 % limits


@dataclass(frozen=True, slots=True)
class Scored:
    """The answers of one system to the test cases that it answered, measured.

    Args:
        ids: Of the cases, in their order.
        outcomes: Yes or no a case, by measure: `right`, `valid`.
        values: A number a case, by measure: `rouge_l`, `bertscore`.
        bleu: What BLEU sums, one row a case.
    """

    ids: tuple[str, ...]
    outcomes: dict[str, dict[str, bool]]
    values: dict[str, dict[str, float]]
    bleu: Any

    def rows(self, ids: Sequence[str]) -> Any:
        """Return the BLEU counts of some cases."""
        place = {id: n for n, id in enumerate(self.ids)}
        return self.bleu[[place[id] for id in ids]]


def measure(
    cases: Sequence[Case],
    answers: Mapping[str, Answer],
    right_by: RightBy,
    form: JsonFormat | None,
    bertscore: Texts | None,
) -> Scored:
    """Measure every answer of a system; failed requests are left out."""
    answered = [c for c in cases if c.id in answers and not answers[c.id].error]
    ids = tuple(case.id for case in answered)
    said = [answers[id].text for id in ids]
    wanted = [case.reference for case in answered]
    right = matches if right_by == "exact" else says
    outcomes = {"right": dict(zip(ids, map(right, said, wanted), strict=True))}
    if form is not None:
        outcomes["valid"] = {id: form.valid(text) for id, text in zip(ids, said, strict=True)}
    values = {"rouge_l": dict(zip(ids, rouge.rouge_l(said, wanted), strict=True))}
    if bertscore is not None:
        values["bertscore"] = dict(zip(ids, bertscore(said, wanted), strict=True))
    return Scored(ids, outcomes, values, bleu.counts(said, wanted))


def groups(cases: Sequence[Case]) -> dict[str, list[str]]:
    """Return the case ids of each slice, and of `all` where there are several slices."""
    found: dict[str, list[str]] = {ALL: [case.id for case in cases]}
    for case in cases:
        if case.slice != ALL:
            found.setdefault(case.slice, []).append(case.id)
    return found


def scores(system: str, cases: Sequence[Case], scored: Scored, seed: int) -> list[Score]:
    """Return every measure on every slice."""
    rows = []
    known = set(scored.ids)
    for name, all_ids in groups(cases).items():
        ids = [id for id in all_ids if id in known]
        for metric, outcome in scored.outcomes.items():
            rate = wilson(sum(outcome[id] for id in ids), len(ids))
            rows.append(Score("test", name, metric, system, rate))
        if not ids:
            continue
        rows.append(Score("test", name, "bleu", system, bleu.corpus(scored.rows(ids), seed)))
        for metric, value in scored.values.items():
            found = bootstrap_mean([value[id] for id in ids], seed)
            rows.append(Score("test", name, metric, system, found))
    return rows


def differences(
    cases: Sequence[Case], candidate: Scored, baseline: Scored, seed: int
) -> list[Difference]:
    """Return candidate - baseline of every measure and slice, over cases that both answered."""
    rows = []
    known = set(candidate.ids) & set(baseline.ids)
    for name, all_ids in groups(cases).items():
        ids = [id for id in all_ids if id in known]
        if not ids:
            continue
        for metric, new in candidate.outcomes.items():
            found = interval(_pairs(ids, new, baseline.outcomes[metric]))
            rows.append(Difference("test", name, metric, found))
        rows.append(Difference("test", name, "bleu", _bleu(ids, candidate, baseline, seed)))
        for metric, value in candidate.values.items():
            old = baseline.values[metric]
            found = bootstrap_mean([value[id] - old[id] for id in ids], seed, LIMITS_LEVEL)
            rows.append(Difference("test", name, metric, found))
    return rows


def rates(
    part: str, metric: str, slices: Mapping[str, str], system: str, outcome: Mapping[str, bool]
) -> list[Score]:
    """Return a rate of a system per slice, with Wilson's interval."""
    rows = []
    for name in dict.fromkeys(slices.values()):
        ids = [id for id, slice in slices.items() if slice == name and id in outcome]
        rate = wilson(sum(outcome[id] for id in ids), len(ids))
        rows.append(Score(part, name, metric, system, rate))
    return rows


def _pairs(ids: Sequence[str], new: Mapping[str, bool], old: Mapping[str, bool]) -> Pairs:
    gains = sum(new[id] and not old[id] for id in ids)
    return Pairs(len(ids), gains, sum(old[id] and not new[id] for id in ids))


def _bleu(ids: Sequence[str], candidate: Scored, baseline: Scored, seed: int) -> Interval:
    return bleu.difference(candidate.rows(ids), baseline.rows(ids), seed)
