"""Whether a passage says what a sentence says.

No model is asked: a small one writes no citations that hold, and a judge of its own would cost more
than the answer. What is compared are words, numbers with their units, names, denials and their
order, and everything that is in doubt counts against support.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from retrieval.injection import suspicious
from retrieval.records import Hit
from retrieval.statements import Statement, Term, read, statements_of
from retrieval.words import EXCLUSIVE

SUPPORTED = 0.75
"""Share of a sentence's words, misplaced ones counted twice, that its evidence must say."""
_LEAST_TERMS = 2  # one word says nothing that could be checked
_CANDIDATES = 4  # windows of a passage that are looked at closely


class Verdict(NamedTuple):
    """What the evidence says to a claim.

    Attributes:
        score: Between 0 and 1; 0 where something speaks against it.
        why: What speaks against it, or an empty text.
        contradicted: Whether the evidence speaks of the same and says something else.
    """

    score: float
    why: str = ""
    contradicted: bool = False


class Match(NamedTuple):
    """The best evidence for a claim.

    Attributes:
        hit: Its place among the hits.
        start: Where the evidence stands in the passage.
        end: Where it ends.
        verdict: What it says.
    """

    hit: int
    start: int
    end: int
    verdict: Verdict


def match(claim: Statement, hits: Sequence[Hit], about: frozenset[str] = frozenset()) -> Match:
    """Return the best evidence in the hits for a claim; its score may be 0.

    Args:
        claim: A sentence of an answer.
        hits: The passages.
        about: Keys that must be found too: what a pronoun of the claim stands for.
    """
    best = Match(-1, 0, 0, Verdict(0.0, "nothing about it"))
    for place, hit in enumerate(hits):
        context = context_of(hit)
        for window in windows(claim.keys | about, hit.passage.text):
            verdict = weigh(claim, window, context, about)
            better = verdict.score > best.verdict.score
            if better or (verdict.contradicted and not best.verdict.score):
                best = Match(place, window[0].start, window[-1].end, verdict)
    return best


def context_of(hit: Hit) -> frozenset[str]:
    """Return the keys of a document's title and of the headings above a passage."""
    return read(f"{hit.document.title}\n{hit.passage.heading}").keys


def windows(keys: frozenset[str], text: str) -> Iterable[tuple[Statement, ...]]:
    """Return the sentences, alone and two by two, that share most keys."""
    statements = statements_of(text)
    shared = [
        len(statement.keys & keys) if not suspicious(statement.text) else -99
        for statement in statements
    ]
    ranked: list[tuple[int, tuple[Statement, ...]]] = []
    for place, statement in enumerate(statements):
        if shared[place] > 0:
            ranked.append((shared[place] * 2, (statement,)))
            if place + 1 < len(statements) and shared[place + 1] > 0:
                both = (statement, statements[place + 1])
                common = len((both[0].keys | both[1].keys) & keys)
                ranked.append((common * 2 - 1, both))
            if statement.refers and place and shared[place - 1] >= 0:
                both = (statements[place - 1], statement)
                common = len((both[0].keys | both[1].keys) & keys)
                ranked.append((common * 2 - 1, both))
    ranked.sort(key=lambda item: -item[0])
    return [window for _, window in ranked[:_CANDIDATES]]


def weigh(
    claim: Statement,
    window: Sequence[Statement],
    context: frozenset[str],
    about: frozenset[str] = frozenset(),
) -> Verdict:
    """Judge a claim by one window of evidence."""
    if len(claim.terms) + len(about) < _LEAST_TERMS:
        return Verdict(0.0, "too little to check")
    evidence = _joined(window)
    said = frozenset(term.key for term in evidence)
    known = said | context
    words = [term for term in claim.terms if term.kind not in "n"]
    topical = sum(term.key in known for term in words) / max(len(words), 1)
    against = _against(claim, window, evidence, said, known)
    if against:
        return Verdict(0.0, against, topical >= 0.6)
    if not about <= known:
        return Verdict(0.0, "about something else")
    weight = sum(2.0 if term.kind == "n" else 1.0 for term in claim.terms)
    missing = _misplaced(claim.terms, evidence, known)
    return Verdict(max(0.0, 1.0 - missing / weight))


def _joined(window: Sequence[Statement]) -> list[Term]:
    """Return the terms of a window; clauses are numbered on."""
    terms: list[Term] = []
    for statement in window:
        base = terms[-1].clause + 1 if terms else 0
        terms += [term._replace(clause=term.clause + base) for term in statement.terms]
    return terms


def _against(
    claim: Statement,
    window: Sequence[Statement],
    evidence: Sequence[Term],
    said: frozenset[str],
    known: frozenset[str],
) -> str:
    """Return what speaks against a claim, or nothing."""
    for term in claim.terms:
        if term.kind == "n" and not _has_number(term, evidence):
            return f"the number {term.key}"
        if term.kind in "Nc" and term.key not in known:
            return f"the name {term.key}"
    for group in EXCLUSIVE:
        mine, theirs = claim.keys & group, said & group
        if theirs and mine - theirs:
            return f"not {next(iter(mine - theirs))}"
    if any(statement.hedged for statement in window) and not claim.hedged:
        return "a condition or another time"
    if _denials(claim, window):
        return "a denial"
    if _better_elsewhere(claim, evidence):
        return "the number belongs to something else"
    return ""


def _has_number(number: Term, evidence: Sequence[Term]) -> bool:
    return any(
        term.kind == "n"
        and term.key == number.key
        and (not term.unit or not number.unit or term.unit == number.unit)
        for term in evidence
    )


def _denials(claim: Statement, window: Sequence[Statement]) -> bool:
    """Tell whether one of the two denies what the other says."""
    used = [statement for statement in window if statement.keys & claim.keys]
    theirs = 0
    for statement in used:
        for clause in statement.denied:
            keys = {term.key for term in statement.terms if term.clause == clause}
            others = {term.key for term in statement.terms if term.clause != clause}
            if not keys or keys & claim.keys - others:
                theirs += 1
    return len(claim.denied) % 2 != theirs % 2


def _better_elsewhere(claim: Statement, evidence: Sequence[Term]) -> bool:
    """Tell whether another clause with a number of its own fits the claim better than its own."""
    for number in claim.terms:
        if number.kind != "n":
            continue
        own = {term.clause for term in evidence if term.key == number.key}
        rivals = {
            term.clause
            for term in evidence
            if term.kind == "n" and term.key not in claim.keys and term.clause not in own
        }
        fit = max((_fit(claim, evidence, clause) for clause in own), default=0.0)
        if any(_fit(claim, evidence, clause) > fit for clause in rivals):
            return True
    return False


def _fit(claim: Statement, evidence: Sequence[Term], clause: int) -> float:
    keys = {term.key for term in evidence if term.clause == clause and term.kind != "n"}
    return len(keys & claim.keys) / len(keys) if keys else 0.0


def _misplaced(claim: Sequence[Term], evidence: Sequence[Term], known: frozenset[str]) -> float:
    """Return how much of a claim its evidence does not say, or says in another order."""
    common = _common([term.key for term in claim], [term.key for term in evidence])
    missing = 0.0
    for place, term in enumerate(claim):
        if term.key not in known:
            missing += 2.0 if term.kind in "nN" else 1.0
        elif place not in common and term.key in {other.key for other in evidence}:
            missing += 0.25
    return missing


def _common(claim: Sequence[str], evidence: Sequence[str]) -> set[int]:
    """Return the places of a longest common subsequence in the claim."""
    rows = [[0] * (len(evidence) + 1)]
    for key in claim:
        above = rows[-1]
        row = [0]
        for column, other in enumerate(evidence):
            row.append(above[column] + 1 if key == other else max(row[column], above[column + 1]))
        rows.append(row)
    places: set[int] = set()
    row_place, column = len(claim), len(evidence)
    while row_place and column:
        if claim[row_place - 1] == evidence[column - 1]:
            places.add(row_place - 1)
            row_place, column = row_place - 1, column - 1
        elif rows[row_place - 1][column] >= rows[row_place][column - 1]:
            row_place -= 1
        else:
            column -= 1
    return places
