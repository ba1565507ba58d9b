"""Whether two answers to the same question can both be right."""

import json
import re
from typing import Literal

from training.data.texts import canonical_json, normalised

Verdict = Literal["same", "compatible", "incompatible", "unclear"]
# Up to this many words an answer is a label, a name or a number: another one is another answer.
_SHORT_WORDS = 6
_ALIKE = 0.5
_APART = 0.2
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_NEGATIONS = (
    "no not never cannot can't won't don't doesn't isn't aren't without nein nicht kein keine nie "
    "non ne pas jamais nunca"
)
_NEGATION = frozenset(_NEGATIONS.split())


def compare(a: str, b: str) -> Verdict:
    """Compare two answers.

    Short ones and JSON must be equal. Longer ones are incompatible where their wording is alike but
    their numbers or a negation differ, compatible where the wording is alike, and unclear where it
    is not: they may say the same in other words.
    """
    if a == b:
        return "same"
    parsed, other = canonical_json(a), canonical_json(b)
    if parsed is not None or other is not None:
        return "same" if parsed == other else "incompatible"
    first, second = normalised(a), normalised(b)
    if first == second:
        return "same"
    words, others = first.split(), second.split()
    if max(len(words), len(others)) <= _SHORT_WORDS:
        return "incompatible"
    overlap = len(set(words) & set(others)) / len(set(words) | set(others))
    if overlap < _APART:
        return "unclear"
    if _numbers(a) != _numbers(b) or _negated(a) != _negated(b):
        return "incompatible"
    return "compatible" if overlap >= _ALIKE else "unclear"


def shown(answer: str, most: int = 60) -> str:
    """Return an answer short enough for a reason, its control signs visible."""
    text = " ".join(answer.split())
    return json.dumps(text if len(text) <= most else text[: most - 1] + "…", ensure_ascii=False)


def _numbers(text: str) -> set[str]:
    return set(_NUMBER.findall(text))


def _negated(text: str) -> bool:
    return not _NEGATION.isdisjoint(text.casefold().replace("\u2019", "'").split())
