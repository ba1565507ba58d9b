"""Whether a claim's words stand in the evidence as they stand in the claim: bound, not just near.

A clause of a claim needs one clause of the evidence that has its numbers and dates, the same denial
and the same limits. What else the claim speaks of must stand there too, or come from where a reader
would take it: from the subject of an earlier clause, from the sentence before where a pronoun
refers to it, or from a title. A clause with a subject of its own takes none from elsewhere.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from retrieval.statements import Clause, Statement
from retrieval.stems import stem, stems
from retrieval.terms import Term
from retrieval.words import DIRECTIONS, EXCLUSIVE, LIGHT, MAYBE

_RIVALS = {stem(word): stems(group) for group in EXCLUSIVE for word in group}
_LIGHT = stems(LIGHT)
_MOST_TRIES = 96  # pairs of clauses; sentences that are written have fewer than 20
_MOST_REPEATS = 8  # of one word that are told apart


class Alignment(NamedTuple):
    """How a claim stands to some evidence.

    Attributes:
        found: Share of its words that stand where they must, between 0 and 1.
        why: What is wrong, or an empty text: then the evidence says it.
        conflict: Whether what is wrong speaks against the claim, and is not just missing.
    """

    found: float
    why: str = ""
    conflict: bool = False

    @property
    def holds(self) -> bool:
        return not self.why


def align(
    claim: Statement,
    evidence: Sequence[Statement],
    context: frozenset[str],
    about: frozenset[str] = frozenset(),
) -> Alignment:
    """Align a claim with one or two sentences that follow one another.

    Args:
        claim: What is said.
        evidence: The sentences.
        context: Keys of titles and headings above them.
        about: Keys that the claim leaves out and its evidence must have too.
    """
    hedges = frozenset().union(*(statement.hedges for statement in evidence))
    if hedges - claim.hedges:
        return Alignment(0.0, "a condition or another time", True)
    if claim.hedges - hedges - MAYBE:
        return Alignment(0.0, "a condition that the passage does not have")
    worst = Alignment(1.0)
    tries = 0
    asked = about - claim.keys
    passive = claim.passive != any(statement.passive for statement in evidence)
    for number, clause in enumerate(claim.clauses):
        wanted = asked if not number else frozenset()
        best = Alignment(0.0, f"nothing about {clause.terms[0].key}")
        for statement_place, place in _bases(evidence, clause.keys | wanted):
            tries += 1
            if tries > _MOST_TRIES:
                return Alignment(0.0, "too much to check")
            tried = _on(
                clause, claim, evidence, statement_place, place, context, wanted,
                first=not number, passive=passive,
            )  # fmt: skip
            if tried.holds:
                best = tried
                break
            if (tried.found, tried.conflict) > (best.found, best.conflict):
                best = tried
        if (best.holds, best.found) < (worst.holds, worst.found):
            worst = best
    return worst


def _bases(evidence: Sequence[Statement], keys: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Return the places of the clauses that speak of any of the keys."""
    for statement_place, statement in enumerate(evidence):
        for place, clause in enumerate(statement.clauses):
            if not keys.isdisjoint(clause.keys):
                yield statement_place, place


def _on(
    clause: Clause,
    claim: Statement,
    evidence: Sequence[Statement],
    statement_place: int,
    place: int,
    context: frozenset[str],
    about: frozenset[str],
    *,
    first: bool,
    passive: bool,
) -> Alignment:
    """Align a clause of a claim with a clause of the evidence."""
    statement = evidence[statement_place]
    base = statement.clauses[place]
    keys = clause.keys | about
    shared = keys & base.keys
    if not shared:
        return Alignment(0.0, "nothing about it")
    share = len(shared) / len(keys)
    if base.contrasted and not clause.contrasted:
        return Alignment(share, "what is not so", True)
    earlier = _earlier(evidence, statement_place, place)
    why = _values(clause, base, () if statement.record else earlier, keys)
    if why:
        return Alignment(share, why, True)
    if clause.denied != base.denied:
        return Alignment(share, "a denial", True)
    rest = keys - base.keys
    for key in rest:
        rivals = _RIVALS.get(key)
        if rivals is not None and rivals & base.keys - keys:
            return Alignment(share, f"not {key}", True)
    alone = claim.keys if not first else keys
    if (rest or not first) and not statement.record:
        if _own_subject(base, shared, alone | about):
            return Alignment(share, "its evidence is about something else", True)
        if any(term.kind in "Nc" and term.key not in keys for term in base.terms) and any(
            term.kind in "Nc" and term.key in rest for term in clause.terms
        ):
            return Alignment(share, "its evidence names something else", True)
    if not statement.record and _other_subject(clause, base, shared):
        return Alignment(share, "its evidence is about something else", True)
    if statement.record:  # the name of a field goes with its value and with no other
        earlier = tuple(
            other._replace(terms=other.terms[1:], keys=other.keys - {other.terms[0].key})
            if not other.keys <= keys
            else other
            for other in earlier
            if len(other.terms) > 1
        )
    missing = [key for key in rest if key not in context and not _lent(key, earlier, keys)]
    heavy = [key for key in missing if key not in _LIGHT]
    if heavy:
        weight = len(heavy) / len(keys)
        return Alignment(1.0 - weight, f"nothing about {min(heavy)}")
    why = _disorder(clause, base, earlier, passive=passive)
    if why and not statement.record:
        return Alignment(share, why, True)
    return Alignment(1.0 - 0.25 * len(missing) / len(keys))


def _values(clause: Clause, base: Clause, earlier: Sequence[Clause], keys: frozenset[str]) -> str:
    """Return the number or date of a claim that its evidence has not, or has otherwise.

    One that stands before ("In 2015, ...") counts where the evidence has none of its own.
    """
    said = base.measures
    for key, unit, bound in clause.measures:
        stands = (key, unit, bound) in said or (not unit and _unmeasured(key, bound, said))
        if not stands and key not in base.keys and not base.values - clause.values:
            lenders = [lender for lender in earlier if key in lender.keys]
            before = frozenset().union(*[lender.measures for lender in lenders])
            stands = _lent(key, earlier, keys) and (
                (key, unit, bound) in before or (not unit and _unmeasured(key, bound, before))
            )
        if not stands:
            return f"not {key.removeprefix('month:')}{' ' if unit else ''}{unit}"
    return ""


def _unmeasured(key: str, bound: str, said: frozenset[tuple[str, str, str]]) -> bool:
    """Tell whether a number that is named without its unit is said with one."""
    return any(key == other and bound == limit for other, _, limit in said)


def _earlier(evidence: Sequence[Statement], statement_place: int, place: int) -> tuple[Clause, ...]:
    """Return the clauses that can lend a subject: earlier ones, and those that a pronoun means."""
    statement = evidence[statement_place]
    earlier = statement.clauses[:place]
    if not statement.refers:
        return earlier
    before = [clause for other in evidence[:statement_place] for clause in other.clauses]
    return (*before, *earlier)


def _lent(key: str, earlier: Sequence[Clause], keys: frozenset[str]) -> bool:
    """Tell whether an earlier clause lends a word: from before any value that is not claimed."""
    for clause in earlier:
        if key not in clause.keys or clause.contrasted:
            continue
        for term in clause.terms:
            if term.key == key:
                return True
            if term.kind in "ndcN" and term.key not in keys:
                break
    return False


def _own_subject(base: Clause, shared: frozenset[str], keys: frozenset[str]) -> bool:
    """Tell whether words that are not claimed stand before the last one that is."""
    last = max(place for place, term in enumerate(base.terms) if term.key in shared)
    return any(term.key not in keys for term in base.terms[:last])


def _other_subject(clause: Clause, base: Clause, shared: frozenset[str]) -> bool:
    """Tell whether a claim begins elsewhere than its evidence, so that its subject is another.

    What is taken from elsewhere is a subject and stands before the rest, but where the evidence
    leaves out all else ("dogs are allowed, but cats are not"). And evidence with a subject that the
    claim does not have must not give its object as one.
    """
    claimed = [term.key for term in clause.terms]
    first = next((place for place, key in enumerate(claimed) if key in shared), None)
    if first is None:
        return False
    late = [key for key in claimed[first:] if key not in base.keys]
    if late and base.keys - clause.keys and not _LIGHT.issuperset(late):
        return True
    leading = next(place for place, term in enumerate(base.terms) if term.key in shared)
    return leading > 0 and base.terms[leading].key != claimed[first]


def _disorder(clause: Clause, base: Clause, earlier: Sequence[Clause], *, passive: bool) -> str:
    """Return what stands in another order than in the evidence, where that changes the meaning."""
    places: dict[str, list[int]] = {}
    terms: list[Term] = []
    for source in (*earlier, base):
        for term in source.terms:
            standing = places.setdefault(term.key, [])
            if len(standing) < _MOST_REPEATS:
                standing.append(len(terms))
            terms.append(term)
    order: list[tuple[Term, int]] = []
    before = -1
    used: set[int] = set()
    for term in clause.terms:
        free = [place for place in places.get(term.key, ()) if place not in used]
        if not free:
            if term.key in places:
                return "words that are repeated"
            continue
        place = next((place for place in free if place > before), free[0])
        used.add(place)
        order.append((term, place))
        before = place
    falls = 0
    for (left, left_place), (right, right_place) in itertools.pairwise(order):
        if right_place > left_place:
            continue
        falls += 1
        if passive:
            continue
        for term, place in ((left, left_place), (right, right_place)):
            role = terms[place].role
            if term.role != role and (term.role in DIRECTIONS or role in DIRECTIONS):
                return "another order"
    most = 1 + passive + len(order) // 8
    return "another order" if falls > most else ""
