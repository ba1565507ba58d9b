"""Sentences, read: what they say, clause by clause, and where they stand in a passage."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from retrieval.sentences import LONGEST, sentences_of
from retrieval.terms import Term, terms_of

MOST_CHARACTERS = 20_000
"""What is read of a passage. The chunker's have about 1,000; a longer one costs no more time."""

_LONGEST_SENTENCE = LONGEST + 64
_FIELD = r"[^\s:;.!?|][^:;.!?|\n]{0,39}: [^;\n]{0,200}"
_ROW = re.compile(rf"{_FIELD}(?:; {_FIELD})+")
_LINE = re.compile(rf"(?![QAqa]: ){_FIELD}(?<![.!?])")
_RULE = re.compile(r"\|?\s*:?-{2,}[-:|\s]*")


class Clause(NamedTuple):
    """A part of a sentence with at most one thing to say.

    Attributes:
        terms: What counts of it, in order.
        keys: Their keys.
        values: Keys of its numbers and dates.
        measures: The same with unit and bound.
        denied: Whether it denies.
        contrasted: Whether it tells what is not so.
    """

    terms: tuple[Term, ...]
    keys: frozenset[str]
    values: frozenset[str]
    measures: frozenset[tuple[str, str, str]]
    denied: bool
    contrasted: bool


class Statement(NamedTuple):
    """A sentence, read.

    Attributes:
        text: Its words.
        start: Where it stands in its passage.
        terms: What counts of it, in order.
        keys: Keys of the terms.
        clauses: The terms by clause.
        hedges: Words that say that it speaks of another time or on a condition.
        refers: Whether its subject is a pronoun, so that it stands before it.
        passive: Whether it tells by whom something is done.
        asks: Whether it is a question, which says nothing.
        record: Whether it is a row of named values, whose order says nothing.
    """

    text: str
    start: int
    terms: tuple[Term, ...]
    keys: frozenset[str]
    clauses: tuple[Clause, ...]
    hedges: frozenset[str]
    refers: bool
    passive: bool
    asks: bool
    record: bool = False

    @property
    def end(self) -> int:
        """Where it ends in its passage."""
        return self.start + len(self.text)


@lru_cache(maxsize=4096)
def read(text: str, start: int = 0) -> Statement:
    """Read one sentence; what is longer than sentences are is cut."""
    return _read(text[:_LONGEST_SENTENCE], text, start)


@lru_cache(maxsize=1024)
def statements_of(text: str) -> tuple[Statement, ...]:
    """Read the sentences of a passage.

    Rows of tables and of records ("host: db-07; memory: 256 GB", or a line each) are sentences
    whose values each have the name of their column.
    """
    return tuple(_statements(text[:MOST_CHARACTERS]))


def _statements(text: str) -> Iterator[Statement]:
    spans = sentences_of(text)
    header: list[str] = []
    place = 0
    while place < len(spans):
        start, end = spans[place]
        line = text[start:end]
        place += 1
        if line.startswith("|"):
            if _RULE.fullmatch(line):
                continue
            following = text[slice(*spans[place])] if place < len(spans) else ""
            if _RULE.fullmatch(following):
                header = _cells(line)
            elif header:
                named = zip(header, _cells(line), strict=False)
                words = "; ".join(f"{name} {cell}" for name, cell in named)
                yield _read(words, line, start)._replace(record=True)
            else:
                yield _read(line, line, start)
            continue
        header = []
        if _LINE.fullmatch(line):
            names = {line.partition(":")[0]}
            while (
                place < len(spans)
                and text[slice(*spans[place])].partition(":")[0] not in names
                and "\n" in text[end : spans[place][0]]
                and "\n\n" not in text[end : spans[place][0]]
                and spans[place][1] - start <= LONGEST
                and _LINE.fullmatch(text[slice(*spans[place])])
            ):
                names.add(text[slice(*spans[place])].partition(":")[0])
                end = spans[place][1]
                place += 1
            line = text[start:end]
            words = line.replace(": ", "  ").replace("\n", ";")
            yield _read(words, line, start)._replace(record=True)
        elif _ROW.fullmatch(line):
            yield _read(line.replace(": ", "  "), line, start)._replace(record=True)
        else:
            yield read(line, start)


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def _read(words: str, text: str, start: int) -> Statement:
    found = terms_of(words)
    clauses: list[Clause] = []
    place = 0
    while place < len(found.terms):
        number = found.terms[place].clause
        end = place
        while end < len(found.terms) and found.terms[end].clause == number:
            end += 1
        terms = found.terms[place:end]
        clauses.append(
            Clause(
                terms,
                frozenset([term.key for term in terms]),
                frozenset([term.key for term in terms if term.kind in "nd"]),
                frozenset(
                    [(term.key, term.unit, term.bound) for term in terms if term.kind in "nd"]
                ),
                number in found.denied,
                number in found.contrasted,
            )
        )
        place = end
    return Statement(
        text,
        start,
        found.terms,
        found.keys,
        tuple(clauses),
        found.hedges,
        found.refers,
        found.passive,
        words.rstrip(" \"'\u201d)").endswith(("?", "\uff1f")),
    )
