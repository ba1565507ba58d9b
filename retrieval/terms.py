"""The words of a sentence that count: stems, numbers with units, names, denials, by clause."""

import re
from collections import Counter
from functools import lru_cache
from typing import NamedTuple

from retrieval.stems import stem
from retrieval.words import (
    BOUNDS_AFTER,
    BOUNDS_BEFORE,
    BREAKS,
    CONTRAST,
    CURRENCIES,
    DENY,
    DIRECTIONS,
    HEDGE,
    JOINS,
    MONTHS,
    NUMBERS,
    OPPOSITES,
    PRONOUNS,
    SCALES,
    STOP,
    UNITS,
    WEEKDAYS,
)

_TOKEN = re.compile(
    r"(?P<code>https?://[^\s<>\"')\]]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|(?<!\w)--[A-Za-z][\w-]*)"
    r"|(?P<date>\b\d{4}-\d{2}-\d{2}\b)"
    r"|(?P<time>\b\d{1,2}:\d{2}\b(?!:))"
    r"|(?P<number>(?<![\w.])\d+(?:[.,:]\d+)*)(?P<suffix>[^\W\d_]+\b)?(?![\w])"
    r"|(?P<cjk>[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])"
    r"|(?P<name>\w*[\d_]\w*(?:[.-]\w+)*|[^\W\d_]{2,}(?:\.[^\W\d_]{2,})+|[^\W\d_]+-\d\w*)"
    r"|(?P<word>[^\W\d_]+(?:['\u2019][^\W\d_]+)?)"
    r"|(?P<sign>[$€£¥%])|(?P<break>[;:()\u2014|]|,(?!\s*\d{4}\b)|[.!?](?=\s))"
)
_PASSIVE = re.compile(r"\b(?:is|are|was|were|be|been|being)\b[^.;]{1,60}\bby\b", re.IGNORECASE)
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_SUBJECT = 4  # words from the start within which a pronoun is the subject


class Term(NamedTuple):
    """A word that counts.

    Attributes:
        key: What is compared: a stem, or a number in its plain form.
        kind: `w` word, `n` number, `d` part of a date, `N` name (capitalised within the sentence),
            `c` code.
        clause: Which clause it stands in.
        unit: A number's unit, where it has one that is known.
        bound: `<` or `>` where the number is a limit ("at least", "up to").
        role: The preposition just before it, where it decides who does what to whom.
    """

    key: str
    kind: str
    clause: int
    unit: str = ""
    bound: str = ""
    role: str = ""

    @property
    def valued(self) -> bool:
        """Tell whether it is a value that belongs to something: a number, a date or a code."""
        return self.kind in "ndc"


class Terms(NamedTuple):
    """The terms of a sentence and what else decides its meaning.

    Attributes:
        terms: What counts, in order; of a date the day first.
        keys: Their keys.
        denied: The clauses that have an odd number of denials.
        contrasted: The clauses about what is not so ("instead of").
        hedges: Words of conditions and other times ("unless", "previously").
        refers: Whether its subject is a pronoun.
        passive: Whether it tells by whom something is done.
    """

    terms: tuple[Term, ...]
    keys: frozenset[str]
    denied: frozenset[int]
    contrasted: frozenset[int]
    hedges: frozenset[str]
    refers: bool
    passive: bool


def number_key(digits: str, scale: float = 1.0) -> str:
    """Return a number's plain form: `1,500.0` is `1500`; versions and addresses stay."""
    if _THOUSANDS.fullmatch(digits):
        digits = digits.replace(",", "")
    elif re.fullmatch(r"\d+,\d{1,2}", digits):
        digits = digits.replace(",", ".")
    try:
        return f"{float(digits) * scale:.10g}" if digits.count(".") < 2 else digits
    except ValueError:
        return digits


@lru_cache(maxsize=4096)
def terms_of(text: str) -> Terms:
    """Read one sentence."""
    reader = _Reader()
    for found in _TOKEN.finditer(text):
        reader.take(found)
    terms = reader.joined()
    return Terms(
        terms,
        frozenset([term.key for term in terms]),
        frozenset(clause for clause, count in reader.denials.items() if count % 2),
        frozenset(reader.contrasted),
        frozenset(reader.hedges),
        reader.refers,
        "by" in text and _PASSIVE.search(text) is not None,
    )


class _Reader:
    """Reads the tokens of a sentence, one after the other."""

    def __init__(self) -> None:
        self.terms: list[Term] = []
        self.denials: Counter[int] = Counter()
        self.hedges: set[str] = set()
        self.contrasted: set[int] = set()
        self.refers = False
        self._joins: set[int] = set()  # clauses that a comma or "and" began
        self._clause = 0
        self._words = 0
        self._last = ("", "")  # the two tokens before, in lower case
        self._between = False  # whether the next "and" joins two values
        self._unit = ""  # of a sign or a currency before its number

    def take(self, found: re.Match[str]) -> None:
        kind = found.lastgroup or ""
        if kind == "word":
            self._word(found.group())
            return
        if kind in ("number", "suffix"):
            self._number(found.group("number"), found.group("suffix") or "")
        elif kind == "date":
            year, month, day = found.group().split("-")
            self._add(str(int(day)), "d")
            self._add(f"month:{int(month)}", "d")
            self._add(year, "n")
        elif kind == "time":
            hours, minutes = found.group().split(":")
            self._add(f"{int(hours)}:{minutes}", "n")
        elif kind == "cjk":
            self._add(found.group(), "w")
        elif kind == "sign":
            if found.group() == "%" and self._after_number:
                self.terms[-1] = self.terms[-1]._replace(unit="pct")
            else:
                self._unit = UNITS.get(found.group(), "")
            return
        elif kind == "break":
            self._break(found.group())
        else:
            self._add(found.group().lower().rstrip("."), "c")
        self._shift("#" if kind in ("number", "suffix", "time", "date") else kind)

    @property
    def _after_number(self) -> bool:
        return self._last[1] == "#" and bool(self.terms) and self.terms[-1].kind in "nd"

    def _word(self, token: str) -> None:
        lower = token.lower().replace("\u2019", "'")
        if self._words < _SUBJECT and lower in PRONOUNS and not self._subject_named():
            self.refers = True
        self._words += 1
        if self._after_number and (lower in SCALES or lower in UNITS or lower in ("am", "pm")):
            self._measure(lower)
            self._shift("#" if lower in SCALES else lower)
            return
        if lower in BREAKS and not self._between:
            self._break(lower)
        self._between = lower in _BETWEEN or (self._between and lower not in BREAKS)
        if lower in HEDGE and not (lower in _UNTIL and self.terms):
            self.hedges.add(lower)
        if lower in DENY or lower.endswith("n't"):
            self.denials[self._clause] += 1
        elif lower in OPPOSITES:
            self.denials[self._clause] += 1
            self._add(stem(OPPOSITES[lower]), "w")
        elif lower in NUMBERS:
            self._add(str(NUMBERS[lower]), "n")
            self._shift("#")
            return
        elif token[0].isupper() and lower in MONTHS and (lower != "may" or self._dated()):
            self._add(f"month:{MONTHS[lower]}", "d")
        elif lower in WEEKDAYS:
            self._add(stem(lower), "d")
        elif lower in BOUNDS_AFTER and self._last[1] == "or" and self.terms:
            self.terms[-1] = self.terms[-1]._replace(bound=BOUNDS_AFTER[lower])
        elif lower in CURRENCIES:
            self._unit = UNITS[lower]
        elif not (lower == "longer" and self._last[1] == "no") and lower not in _SILENT:
            named = token[0].isupper() and (self._words > 1 or not token[1:].islower())
            named = named or (not token[1:].islower() and not token.isupper())  # libName, vLLM
            if named and self._words == 2 and len(self.terms) == 1 and self._last[1][:1] != "#":
                self.terms[0] = self.terms[0]._replace(kind="N")  # "Ada Wren was": both are names
            self._add(stem(token), "N" if named and len(token) > 1 else "w")
        self._shift(lower)

    def _number(self, digits: str, suffix: str) -> None:
        lower = suffix.lower()
        bound = BOUNDS_BEFORE.get(" ".join(self._last), BOUNDS_BEFORE.get(self._last[1], ""))
        if (
            suffix
            and lower not in SCALES
            and lower not in UNITS
            and lower not in ("am", "pm", *_ORDINALS)
        ):
            self._add(f"{digits}{lower}", "c")
            return
        self.terms.append(
            Term(number_key(digits), "n", self._clause, self._unit, bound, self._role())
        )
        self._unit = ""
        self._order_date()
        if suffix and lower not in _ORDINALS:
            self._measure(lower)

    def _measure(self, word: str) -> None:
        """Give the last number the unit, the scale or the half of the day that follows it."""
        term = self.terms[-1]
        if word in ("am", "pm"):
            hours, _, minutes = term.key.partition(":")
            if hours.isdigit() and int(hours) <= 12:
                hour = int(hours) % 12 + (12 if word == "pm" else 0)
                self.terms[-1] = term._replace(key=f"{hour}:{minutes or '00'}", kind="n")
        elif word in SCALES and (word != "m" or term.unit):
            self.terms[-1] = term._replace(key=number_key(term.key, SCALES[word]))
        else:
            self.terms[-1] = term._replace(unit=UNITS.get(word, term.unit))

    def _order_date(self) -> None:
        """Put the day before its month, as in "5 May"."""
        if len(self.terms) > 1 and self.terms[-2].key.startswith("month:"):
            day, month = self.terms[-1], self.terms[-2]
            earlier = self.terms[-3] if len(self.terms) > 2 else None
            has_day = earlier is not None and earlier.kind == "d" and earlier.key.isdigit()
            if not has_day and day.key.isdigit() and 1 <= int(day.key) <= 31:
                self.terms[-2:] = [day._replace(kind="d"), month]

    def _dated(self) -> bool:
        return self._words > 1

    def _subject_named(self) -> bool:
        return any(term.kind in "wNc" for term in self.terms)

    def _add(self, key: str, kind: str) -> None:
        if kind == "d" and key.startswith("month:") and self._after_number:
            day = self.terms[-1]
            if day.key.isdigit() and 1 <= int(day.key) <= 31:
                self.terms[-1] = day._replace(kind="d")
        bound = ""
        if kind == "n":
            bound = BOUNDS_BEFORE.get(" ".join(self._last), BOUNDS_BEFORE.get(self._last[1], ""))
        self.terms.append(Term(key, kind, self._clause, "", bound, self._role()))

    def _role(self) -> str:
        """Return the preposition of what comes now, an article between them or not."""
        before = self._last[0] if self._last[1] in _ARTICLES else self._last[1]
        return before if before in DIRECTIONS else ""

    def _break(self, sign: str) -> None:
        if self.terms and self.terms[-1].clause == self._clause:
            self._clause += 1
            if sign in JOINS:
                self._joins.add(self._clause)
        elif sign not in JOINS:
            self._joins.discard(self._clause)
        if sign in CONTRAST:
            self.contrasted.add(self._clause)

    def joined(self) -> tuple[Term, ...]:
        """Return the terms; a clause of one word that "and" began belongs to the one before."""
        sizes = Counter([term.clause for term in self.terms])
        single = {
            clause
            for clause in self._joins
            if sizes[clause] == 1 and not self.denials[clause] and clause not in self.contrasted
        }
        if not single:
            return tuple(self.terms)
        place: dict[int, int] = {}
        for clause in sizes:
            place[clause] = place.get(clause - 1, clause) if clause in single else clause
        return tuple([term._replace(clause=place[term.clause]) for term in self.terms])

    def _shift(self, token: str) -> None:
        self._last = (self._last[1], token)


_ORDINALS = ("st", "nd", "rd", "th")
_BETWEEN = frozenset(("between", "zwischen"))
_UNTIL = frozenset(("until", "till"))  # another time only where a sentence begins with it
_SILENT = STOP | CONTRAST | _BETWEEN
_ARTICLES = frozenset(("the", "a", "an", "its", "der", "die", "das", "den", "dem"))
