"""From answers to a recommendation, its reasons, and what would change it.

What would change it is found by trying: each answer is replaced by each other one, and the rules
are applied again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from training.advice.questions import REMEDIES, Answer, AnswerError, Question, rules


class Advice(StrEnum):
    """What to do."""

    FINE_TUNE = "fine-tune"
    RETRIEVE = "retrieval"
    BOTH = "both"
    PROMPT = "prompt only"


@dataclass(frozen=True, slots=True)
class Reason:
    """An answer that counted: its points for a remedy, or that it rules the remedy out."""

    question: str
    answer: str
    remedy: str
    points: int
    blocks: bool
    because: str


@dataclass(frozen=True, slots=True)
class Change:
    """Another answer to one question, and what would be recommended then."""

    question: str
    answer: str
    advice: Advice


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to do and why.

    Args:
        advice: What to do.
        points: Points of each remedy.
        threshold: From how many on a remedy is recommended.
        blocked: Remedies that an answer rules out.
        reasons: Every answer that counted, the weightiest first.
        changes: Every single other answer that would change the advice.
    """

    advice: Advice
    points: dict[str, int]
    threshold: int
    blocked: tuple[str, ...]
    reasons: tuple[Reason, ...]
    changes: tuple[Change, ...]


def recommend(answers: Mapping[str, str]) -> Recommendation:
    """Return the recommendation for answers to all questions (`questions.check`ed).

    Raises:
        AnswerError: A question is not answered.
    """
    asked = rules().questions
    missing = [question.id for question in asked if question.id not in answers]
    if missing:
        raise AnswerError(f"not answered: {', '.join(missing)}")
    given = [question.answers[answers[question.id]] for question in asked]
    reasons = [
        reason
        for question, answer in zip(asked, given, strict=True)
        for reason in _reasons(question, answer)
    ]
    reasons.sort(key=lambda reason: (not reason.blocks, -abs(reason.points)))
    return Recommendation(
        advice=_decide(given),
        points={remedy: _points(given, remedy) for remedy in REMEDIES},
        threshold=rules().threshold,
        blocked=tuple(remedy for remedy in REMEDIES if _blocked(given, remedy)),
        reasons=tuple(reasons),
        changes=tuple(_changes(answers)),
    )


def _decide(given: list[Answer]) -> Advice:
    tune, retrieve = (
        _points(given, remedy) >= rules().threshold and not _blocked(given, remedy)
        for remedy in REMEDIES
    )
    if tune:
        return Advice.BOTH if retrieve else Advice.FINE_TUNE
    return Advice.RETRIEVE if retrieve else Advice.PROMPT


def _changes(answers: Mapping[str, str]) -> list[Change]:
    asked = rules().questions
    now = _decide([question.answers[answers[question.id]] for question in asked])
    found = []
    for question in asked:
        for key in question.answers:
            changed = {**answers, question.id: key}
            then = _decide([other.answers[changed[other.id]] for other in asked])
            if then is not now:
                found.append(Change(question.id, key, then))
    return found


def _reasons(question: Question, answer: Answer) -> list[Reason]:
    found = []
    for remedy in REMEDIES:
        points, blocks = getattr(answer, remedy), answer.blocks == remedy
        if points or blocks:
            found.append(Reason(question.id, answer.key, remedy, points, blocks, answer.because))
    return found


def _points(given: list[Answer], remedy: str) -> int:
    return sum(getattr(answer, remedy) for answer in given)


def _blocked(given: list[Answer], remedy: str) -> bool:
    return any(answer.blocks == remedy for answer in given)
