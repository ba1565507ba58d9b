"""What a sentence says, as far as it can be compared: its words, numbers, names and denials."""

import re
from functools import lru_cache
from typing import NamedTuple

from retrieval.sentences import sentences_of
from retrieval.words import (
    BREAKS,
    DENY,
    HEDGE,
    IRREGULAR,
    MONTHS,
    NUMBERS,
    OPPOSITES,
    SAME,
    SCALES,
    STOP,
    UNITS,
)

_TOKEN = re.compile(
    r"(?P<code>https?://[^\s<>\"')\]]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|(?<!\w)--[A-Za-z][\w-]*)"
    r"|(?P<date>\b\d{4}-\d{2}-\d{2}\b)"
    r"|(?P<time>\b\d{1,2}:\d{2}\b(?!:))"
    r"|(?P<number>(?<![\w.])\d+(?:[.,:]\d+)*)(?P<suffix>[^\W\d_]+\b)?(?![\w])"
    r"|(?P<cjk>[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])"
    r"|(?P<name>\w*[\d_]\w*(?:[.-]\w+)*|[^\W\d_]{2,}(?:\.[^\W\d_]{2,})+)"
    r"|(?P<word>[^\W\d_]+(?:['\u2019][^\W\d_]+)?)"
    r"|(?P<sign>[$€£¥%])|(?P<break>[,;:()\u2014\u2013|\n])"
)
_VOWEL = re.compile(r"[aeiouy]")
PRONOUNS = frozenset(
    ("it", "its", "he", "she", "they", "this", "that", "these", "those", "his", "her", "their")
)


class Term(NamedTuple):
    """A word that counts.

    Attributes:
        key: What is compared: a stem, or a number in its plain form.
        kind: `w` word, `n` number, `N` name (capitalised within the sentence), `c` code.
        unit: A number's unit, where it has one that is known.
        clause: Which clause it stands in.
    """

    key: str
    kind: str
    unit: str
    clause: int


class Statement(NamedTuple):
    """A sentence, read.

    Attributes:
        text: Its words.
        start: Where it stands in its passage.
        terms: What counts of it, in order.
        keys: Keys of the terms.
        denied: The clauses that have an odd number of denials.
        hedged: Whether it speaks of another time or a condition ("previously", "unless").
        refers: Whether it begins with a pronoun, so that its subject stands before it.
    """

    text: str
    start: int
    terms: tuple[Term, ...]
    keys: frozenset[str]
    denied: frozenset[int]
    hedged: bool
    refers: bool

    @property
    def end(self) -> int:
        """Where it ends in its passage."""
        return self.start + len(self.text)


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """Return what the forms of an English word have in common, roughly."""
    word = word.lower().replace("\u2019", "'")
    word = word.removesuffix("'s").removesuffix("'")
    word = IRREGULAR.get(word, word)
    if len(word) > 3:
        if word.endswith("ies") and len(word) > 4:
            word = word[:-3] + "y"
        elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
            word = word[:-1]
        for ending in ("ing", "ed", "ly"):
            rest = word.removesuffix(ending)
            if rest != word and len(rest) >= 3 and _VOWEL.search(rest):
                if len(rest) > 3 and rest[-1] == rest[-2] and rest[-1] not in "lsz":
                    rest = rest[:-1]
                word = rest
                break
        if len(word) > 3:
            word = word.removesuffix("e")
        if word.endswith("y") and len(word) > 3 and word[-2] not in "aeiou":
            word = word[:-1] + "i"
        if word.endswith("ll"):
            word = word[:-1]
    return SAME.get(word, word)


def number_key(digits: str, scale: float = 1.0) -> str:
    """Return a number's plain form: `1,500.0` is `1500`; versions and addresses stay."""
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", digits):
        digits = digits.replace(",", "")
    elif re.fullmatch(r"\d+,\d{1,2}", digits):
        digits = digits.replace(",", ".")
    try:
        return f"{float(digits) * scale:.10g}" if digits.count(".") < 2 else digits
    except ValueError:
        return digits


@lru_cache(maxsize=2048)
def read(text: str, start: int = 0) -> Statement:
    """Read one sentence."""
    terms: list[Term] = []
    denials: dict[int, int] = {}
    clause = 0
    hedged = refers = False
    seen_word = False
    sign = ""
    previous = ""
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or ""
        token = found.group(kind) if kind != "suffix" else found.group("number")
        if kind == "word":
            lower = token.lower().replace("\u2019", "'")
            if lower in BREAKS and terms and terms[-1].clause == clause:
                clause += 1
            if lower in DENY or lower.endswith("n't"):
                denials[clause] = denials.get(clause, 0) + 1
            elif (number := NUMBERS.get(lower)) is not None:
                terms.append(Term(str(number), "n", "", clause))
            elif (
                terms
                and terms[-1].kind == "n"
                and previous == "n"
                and (lower in SCALES or lower in UNITS or lower in ("am", "pm"))
            ):
                terms[-1] = _measured(terms[-1], lower)
                if lower in UNITS and UNITS[lower] in ("day", "week", "month", "year"):
                    terms.append(Term(stem(lower), "w", "", clause))
                previous = "n"
                seen_word = True
                continue
            elif token[0].isupper() and lower in MONTHS and (lower != "may" or seen_word):
                terms.append(Term(f"month:{MONTHS[lower]}", "n", "", clause))
            elif lower in OPPOSITES:
                denials[clause] = denials.get(clause, 0) + 1
                terms.append(Term(OPPOSITES[lower], "w", "", clause))
            elif lower in STOP:
                if not seen_word and lower in PRONOUNS:
                    refers = True
            else:
                named = token[0].isupper() and (seen_word or token[1:] != token[1:].lower())
                terms.append(Term(stem(token), "N" if named else "w", "", clause))
            hedged = hedged or lower in HEDGE
            if lower == "longer" and previous == "no":
                terms.pop()  # "no longer" is one denial, not a length
            seen_word = True
            previous = lower if lower not in NUMBERS else "n"
            continue
        if kind in ("number", "suffix"):
            terms.append(_number(token, found.group("suffix") or "", sign, clause))
            previous, sign = "n", ""
            continue
        if kind == "date":
            year, month, day = token.split("-")
            terms += [
                Term(str(int(day)), "n", "", clause),
                Term(f"month:{int(month)}", "n", "", clause),
                Term(year, "n", "", clause),
            ]
        elif kind == "time":
            hours, minutes = token.split(":")
            terms.append(Term(f"{int(hours)}:{minutes}", "n", "", clause))
            previous = "n"
            continue
        elif kind == "cjk":
            terms.append(Term(token, "w", "", clause))
        elif kind in ("code", "name"):
            terms.append(Term(token.lower().rstrip("."), "c", "", clause))
        elif kind == "sign":
            if found.group() == "%" and terms and terms[-1].kind == "n":
                terms[-1] = terms[-1]._replace(unit="pct")
            else:
                sign = token
            previous = "n" if previous == "n" else ""
            continue
        elif kind == "break" and terms and terms[-1].clause == clause:
            clause += 1
        previous = ""
    return Statement(
        text,
        start,
        tuple(terms),
        frozenset(term.key for term in terms),
        frozenset(place for place, count in denials.items() if count % 2),
        hedged,
        refers,
    )


@lru_cache(maxsize=512)
def statements_of(text: str) -> tuple[Statement, ...]:
    """Read the sentences of a passage."""
    return tuple(read(text[start:end], start) for start, end in sentences_of(text))


def _number(digits: str, suffix: str, sign: str, clause: int) -> Term:
    lower = suffix.lower()
    term = Term(number_key(digits), "n", UNITS.get(sign, ""), clause)
    if not suffix or lower in ("st", "nd", "rd", "th"):
        return term
    if lower in SCALES or lower in UNITS or lower in ("am", "pm"):
        return _measured(term, lower)
    return Term(f"{digits}{lower}", "c", "", clause)


def _measured(term: Term, word: str) -> Term:
    """Return a number with the unit, the scale or the half of the day that follows it."""
    if word in ("am", "pm"):
        hours, _, minutes = term.key.partition(":")
        if not hours.isdigit() or int(hours) > 12:
            return term
        hour = int(hours) % 12 + (12 if word == "pm" else 0)
        return term._replace(key=f"{hour}:{minutes or '00'}")
    if word in SCALES and not (word == "m" and not term.unit):
        return term._replace(key=number_key(term.key, SCALES[word]))
    return term._replace(unit=UNITS.get(word, term.unit))
