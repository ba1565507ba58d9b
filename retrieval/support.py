"""Whether a passage says what a sentence says.

No model is asked: a small one writes no citations that hold, and a judge of its own would cost more
than the answer. What is compared are words, numbers with their units, names, denials and their
order, and everything that is in doubt counts against support.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import NamedTuple

from retrieval.alignment import align
from retrieval.injection import suspicious
from retrieval.records import Hit
from retrieval.statements import Statement, read, statements_of
from retrieval.stems import stems
from retrieval.words import LIGHT

SUPPORTED = 0.75
"""Score from which a sentence is supported; what does not hold scores less."""
_LIGHT = stems(LIGHT)
_LEAST_TERMS = 2  # one word says nothing that could be checked
_CANDIDATES = 4  # windows of a passage that are looked at closely
_MOST_PLACES = 256  # of one word in a passage: who repeats it more often only pads
_LONGEST_CHAIN = 4  # sentences that refer back, one after the other
_SPOKEN_OF = 0.6  # share of a claim's words from which a passage speaks of the same


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
    if claim.asks or len(claim.terms) + len(about) < _LEAST_TERMS:
        return Match(-1, 0, 0, Verdict(0.0, "too little to check"))
    keys = claim.keys | about
    wanted = keys - _LIGHT
    for place, hit in enumerate(hits):
        context = context_of(hit)
        for rank, window in enumerate(windows(keys, hit.passage.text)):
            if rank and not wanted - window.keys <= context:
                continue  # it cannot support the claim, and the first one tells what speaks against
            verdict = weigh(claim, window, context, about)
            better = verdict.score > best.verdict.score
            if better or (verdict.contradicted and not best.verdict.score):
                first, last = window.statements[0], window.statements[-1]
                best = Match(place, first.start, last.end, verdict)
            if verdict.score == 1.0:
                return best
    return best


def context_of(hit: Hit) -> frozenset[str]:
    """Return the keys of a document's title and of the headings above a passage."""
    return _context(f"{hit.document.title}\n{hit.passage.heading}")


@lru_cache(maxsize=1024)
def _context(text: str) -> frozenset[str]:
    return frozenset(term.key for term in read(text).terms if term.kind not in "nd")


def keys_of(hit: Hit) -> AbstractSet[str]:
    """Return what the evidence of a hit speaks of."""
    return _windows(hit.passage.text).places.keys() | context_of(hit)


class Window(NamedTuple):
    """A sentence of a passage, behind those that it refers to.

    Attributes:
        statements: The sentences.
        keys: What they speak of.
    """

    statements: tuple[Statement, ...]
    keys: frozenset[str]


class _Windows(NamedTuple):
    """The windows of a passage, and in which of them a key stands."""

    windows: tuple[Window, ...]
    places: dict[str, list[int]]


@lru_cache(maxsize=1024)
def _windows(text: str) -> _Windows:
    found: list[Window] = []
    chain: tuple[Statement, ...] = ()
    for statement in statements_of(text):
        if statement.asks or suspicious(statement.text):
            chain = ()
            continue
        found.append(Window((statement,), statement.keys))
        if chain and statement.refers and len(chain) < _LONGEST_CHAIN:
            chain = (*chain, statement)
            found.append(Window(chain, frozenset().union(*[other.keys for other in chain])))
        else:
            chain = (statement,)
    places: dict[str, list[int]] = {}
    for place, window in enumerate(found):
        for key in window.keys:
            standing = places.setdefault(key, [])
            if len(standing) < _MOST_PLACES:
                standing.append(place)
    return _Windows(tuple(found), places)


def windows(keys: frozenset[str], text: str) -> list[Window]:
    """Return the few windows of a passage that share most keys, best first."""
    everything, places = _windows(text)
    common: dict[int, int] = {}
    for key in keys:
        for place in places.get(key, ()):
            common[place] = common.get(place, 0) + 1
    if len(common) <= 1:
        return [everything[place] for place in common]
    ranked = sorted(
        (3 * len(everything[place].statements) - 4 * count, place)
        for place, count in common.items()
    )
    return [everything[place] for _, place in ranked[:_CANDIDATES]]


def weigh(
    claim: Statement,
    window: Window,
    context: frozenset[str],
    about: frozenset[str] = frozenset(),
) -> Verdict:
    """Judge a claim by one window of evidence."""
    keys = claim.keys | about
    missing = keys - window.keys - context - _LIGHT
    share = 1.0 - len(missing) / len(keys)
    if share < _SPOKEN_OF and missing:  # spares the closer look at most windows
        return Verdict(share * SUPPORTED * 0.9, f"nothing about {min(missing)}")
    aligned = align(claim, window.statements, context, about)
    if aligned.holds:
        return Verdict(aligned.found)
    if aligned.conflict:
        return Verdict(0.0, aligned.why, share >= _SPOKEN_OF)
    return Verdict(aligned.found * SUPPORTED * 0.9, aligned.why)
