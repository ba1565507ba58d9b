"""Whether passages hold enough to answer a question: asked before the model is."""

import re
from collections.abc import Sequence

import msgspec

from retrieval.records import Hit
from retrieval.statements import Statement, read
from retrieval.stems import stem, stems
from retrieval.support import Window, context_of, windows
from retrieval.terms import Term
from retrieval.words import LIGHT

SUFFICIENT = 0.7
"""Score from which passages are enough; chosen on labelled questions, see the tests."""
_UNANSWERED = 0.6  # what is left of a score where nothing of the kind that is asked for is said

_WHO = re.compile(r"\b(?:who|whom|whose|wer|qui)\b", re.IGNORECASE)
_WHEN = re.compile(r"\b(?:when|what (?:time|date|day|year)|wann|quand)\b", re.IGNORECASE)
_HOW = re.compile(r"\bhow (\w+)", re.IGNORECASE)
_MONEY = frozenset(("usd", "eur", "gbp", "jpy", "chf"))
_TIME = frozenset(("s", "min", "h", "day", "week", "month", "year", "ms"))
_LENGTH = frozenset(("m", "km", "cm", "mm", "mile"))
_MEASURES = {
    "much": None, "many": None, "often": None, "fast": None, "quickly": None, "large": None,
    "big": None, "old": None, "long": _TIME | _LENGTH, "deep": _LENGTH, "high": _LENGTH,
    "tall": _LENGTH, "wide": _LENGTH, "far": _LENGTH, "heavy": frozenset(("kg", "g", "lb")),
    "hot": frozenset(("c", "f")), "warm": frozenset(("c", "f")), "cold": frozenset(("c", "f")),
    "expensive": _MONEY,
}  # fmt: skip
"""What "how" may ask for, with the units of an answer; None: any number."""
_COST = stem("cost")
_LIGHT = stems(LIGHT) - stems(("create", "work"))  # what a question may be about


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

    Two things are asked of them: that one sentence, with what it refers to, its title and headings,
    speaks of what the question speaks of, names and numbers above all; and that it holds something
    of the kind that is asked for: a name for "who", a date or a time for "when", a number of the
    right unit for "how long".

    Args:
        question: Lines are turns, the last one asks (see `question_of`).
        hits: What was found.
        threshold: From which score they can; None: `SUFFICIENT`.
    """
    last = question.rsplit("\n", 1)[-1]
    asked = read(last)
    if not asked.terms and "\n" in question:
        asked = read(question)
    if not hits:
        return Sufficiency(0.0, False, "nothing was found")
    best, place = 0.0, -1
    for number, hit in enumerate(hits):
        score = max(
            (speaks_to(asked, window, hit) for window in windows(asked.keys, hit.passage.text)),
            default=0.0,
        )
        if score > best:
            best, place = score, number
    needed = SUFFICIENT if threshold is None else threshold
    enough = best >= needed
    return Sufficiency(best, enough, "" if enough else "no passage speaks of what was asked", place)


def speaks_to(asked: Statement, window: Window, hit: Hit) -> float:
    """Return how far a window of a passage answers a question, between 0 and 1."""
    if not asked.terms:
        return 0.0
    said = [term for statement in window.statements for term in statement.terms]
    context = context_of(hit)
    measure = _HOW.search(asked.text)
    measured = stem(measure.group(1)) if measure and measure.group(1).lower() in _MEASURES else ""
    terms = [term for term in asked.terms if term.key != measured and term.key not in _LIGHT]
    weight = found = 0.0
    for term in terms or asked.terms:
        weight += _weight(term)
        if term.key in window.keys:
            found += _weight(term)
        elif term.key in context:
            found += 0.8 * _weight(term)
        elif term.key == _COST and any(other.unit in _MONEY for other in said):
            found += _weight(term)
    return found / weight * (1.0 if _has_kind(asked, said) else _UNANSWERED)


def _weight(term: Term) -> float:
    return 2.0 if term.kind in "ndNc" else 1.0


def _has_kind(asked: Statement, said: Sequence[Term]) -> bool:
    """Tell whether what is said has something of the kind that is asked for."""
    new = [term for term in said if term.key not in asked.keys]
    measure = _HOW.search(asked.text)
    if measure and measure.group(1).lower() in _MEASURES:
        units = _MEASURES[measure.group(1).lower()]
        return any(
            term.kind == "n"
            and (units is None or term.unit in units or not (term.unit or _bare_year(term)))
            for term in new
        )
    if _WHEN.search(asked.text):
        return any(term.kind in "nd" for term in new)
    if _WHO.search(asked.text):
        return any(term.kind == "N" for term in new) or any(
            term.kind == "w" for term in said[:1] if term.key not in asked.keys
        )
    return True


def _bare_year(term: Term) -> bool:
    return len(term.key) == 4 and term.key.isdigit() and term.key[0] in "12"
