"""Systems beside each other: what each said to a case, and how its requests went."""

from collections.abc import Iterator, Mapping, Sequence

from training.evaluation.answerers.base import Answer, Question, System
from training.evaluation.deciding import ByCase, Outcomes
from training.evaluation.intervals import Interval, quantile
from training.evaluation.material import Material
from training.evaluation.result import Compare, Failure, Said, SystemSummary
from training.evaluation.scoring import Scored

Answers = Mapping[str, Mapping[str, Answer]]


def compare(
    material: Material,
    answers: Answers,
    outcomes: Outcomes,
    scored: Mapping[str, Scored],
) -> Iterator[Compare]:
    """Yield every case with what all systems said to it."""
    right = {system: found.outcomes["right"] for system, found in scored.items()}
    sound = {
        system: {id: not made_up for id, made_up in found.items()}
        for system, found in outcomes.hallucinated.items()
    }
    for case in material.cases:
        said = _said(case.id, answers, right)
        yield Compare(case.id, "test", case.slice, case.text, case.reference, said)
    for truth in material.truth:
        known = "; ".join((*truth.accepted, *truth.facts)) or truth.context
        expected = "no answer is known" if truth.unanswerable else known
        said = _said(truth.id, answers, sound)
        yield Compare(truth.id, "truth", truth.slice, truth.text, expected, said)
    for suite in material.suites:
        for item in suite.items:
            said = _said(item.id, answers, outcomes.passed)
            yield Compare(item.id, "suite", suite.name, item.text, str(dict(item.check)), said)


def summary(
    system: System, questions: Sequence[Question], answers: Mapping[str, Answer], served: bool
) -> SystemSummary:
    """Return how the requests of a system went."""
    good = [answer for answer in answers.values() if not answer.error]
    missing = [Failure(q.id, "no answer came") for q in questions if q.id not in answers]
    failures = [Failure(a.id, a.error) for a in answers.values() if a.error]
    latencies = [a.latency_s for a in good if a.latency_s is not None]
    firsts = [a.ttft_s for a in good if a.ttft_s is not None]
    return SystemSummary(
        name=system.name,
        spec=system.spec,
        served=served,
        asked=len(questions),
        answered=len(good),
        failures=(*failures, *missing),
        latency_p50_s=_quantile(latencies, 0.5),
        latency_p95_s=_quantile(latencies, 0.95),
        ttft_p50_s=_quantile(firsts, 0.5),
        prompt_tokens=_total([a.prompt_tokens for a in good]),
        completion_tokens=_total([a.completion_tokens for a in good]),
        truncated=sum(answer.finish == "length" for answer in good),
    )


def _said(id: str, answers: Answers, right: Mapping[str, ByCase]) -> tuple[Said, ...]:
    found = []
    for system, said in answers.items():
        answer = said.get(id)
        if answer is None or answer.error:
            reason = answer.error if answer else "no answer came"
            found.append(Said(system, "", None, reason))
        else:
            note = "cut off" if answer.finish == "length" else ""
            found.append(Said(system, answer.text, right[system].get(id), note, answer.latency_s))
    return tuple(found)


def _quantile(values: Sequence[float], share: float) -> Interval | None:
    return quantile(values, share) if values else None


def _total(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None
