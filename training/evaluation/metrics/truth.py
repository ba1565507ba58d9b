"""Is an answer grounded in what is known to be true? By rule, without a judge.

An answer is *hallucinated* if it says what is forbidden, lacks a fact, or says none of the accepted
answers; a question that has no answer must be declined. Declining a question that has one is no
hallucination (Lin et al., "TruthfulQA", 2022, tell true from informative in the same way).
"""

import re
from typing import Literal

from training.evaluation.cases import TruthCase
from training.evaluation.metrics.exact import normalised

Verdict = Literal["grounded", "declined", "hallucinated"]

_DECLINES = re.compile(
    r"\b(?:i (?:do not|don't|dont) (?:know|have (?:that|this|any|enough|the|access|information))"
    r"|i(?: am|'m) (?:not sure|unable|unsure)|i (?:cannot|can't) (?:say|tell|answer|find|confirm)"
    r"|(?:is|are|was) not (?:known|available|specified|mentioned|provided|stated)"
    r"|not enough information|no (?:information|answer|record)"
    r"|cannot be (?:known|determined|answered)"
    r"|unknown|unanswerable|weiß (?:ich )?nicht|je ne sais pas|no lo sé)",
    re.IGNORECASE,
)


def judge_by_rule(case: TruthCase, answer: str) -> Verdict | None:
    """Return the verdict, or None where the case gives nothing to judge by but its context."""
    if any(says(answer, text) for text in case.forbidden):
        return "hallucinated"
    declined = declines(answer)
    if case.unanswerable:
        return "grounded" if declined else "hallucinated"
    if not (case.accepted or case.facts or case.forbidden):
        return "declined" if declined else None
    said = not case.accepted or any(says(answer, text) for text in case.accepted)
    if said and all(says(answer, fact) for fact in case.facts) and normalised(answer):
        return "grounded"
    return "declined" if declined or not normalised(answer) else "hallucinated"


def says(answer: str, text: str) -> bool:
    """Return whether an answer contains a text as whole words, whatever the case and spaces."""
    found = re.escape(normalised(text))
    # An end that is a letter or digit must not go on: "5" is not in "15" or "5.2".
    pattern = rf"(?<![\w])(?<!\d[.,]){found}(?![\w])(?![.,]\d)"
    return re.search(pattern, normalised(answer)) is not None


def declines(answer: str) -> bool:
    """Return whether an answer says that it does not know."""
    return _DECLINES.search(answer.replace("’", "'")) is not None  # noqa: RUF001
