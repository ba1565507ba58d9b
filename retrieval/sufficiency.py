"""Whether passages hold enough to answer a question: asked before the model is."""

from collections.abc import Sequence

import msgspec

from retrieval.records import Hit
from retrieval.statements import Statement, Term, read
from retrieval.support import context_of, windows

SUFFICIENT = 0.5
"""Score from which passages are enough; chosen on labelled questions, see the tests."""


class Sufficiency(msgspec.Struct, frozen=True):
    """Whether the passages are enough.

    Attributes:
        score: Between 0 and 1.
        enough: Whether the score reaches the threshold.
        why: What is missing, for people.
        best: Place of the hit that speaks most to the question, or -1.
    """

    score: float
    enough: bool
    why: str = ""
    best: int = -1


def judge(question: str, hits: Sequence[Hit], threshold: float | None = None) -> Sufficiency:
    """Judge whether passages can answer a question.

    Args:
        question: Lines are turns, the last one asks (see `question_of`).
        hits: What was found.
        threshold: From which score they can; None: `SUFFICIENT`.
    """
    asked = read(question.rsplit("\n", 1)[-1])
    if not asked.terms and "\n" in question:
        asked = read(question)
    if not hits:
        return Sufficiency(0.0, False, "nothing was found")
    best, place = 0.0, -1
    for number, hit in enumerate(hits):
        score = max(
            speaks_to(asked, window, hit) for window in [(), *windows(asked.keys, hit.passage.text)]
        )
        if score > best:
            best, place = score, number
    needed = SUFFICIENT if threshold is None else threshold
    enough = best >= needed
    return Sufficiency(best, enough, "" if enough else "no passage speaks of what was asked", place)


def speaks_to(asked: Statement, window: Sequence[Statement], hit: Hit) -> float:
    """Return how much of a question a window of a passage takes up."""
    if not window or not asked.terms:
        return 0.0
    said = frozenset().union(*(statement.keys for statement in window))
    context = context_of(hit)
    weight = sum(_weight(term) for term in asked.terms)
    return (
        sum(
            _weight(term) * (1.0 if term.key in said else 0.8 if term.key in context else 0.0)
            for term in asked.terms
        )
        / weight
    )


def _weight(term: Term) -> float:
    return 2.0 if term.kind in "nNc" else 1.0
