"""Names of topics: their most characteristic terms, and examples.

Terms are ranked by c-TF-IDF (Grootendorst, "BERTopic: Neural topic modeling with a class-based
TF-IDF procedure", arXiv:2203.05794): how many of the topic's texts hold a term, times
log(1 + A / f), where f is how many texts hold it anywhere and A the mean number of terms of a
topic. Terms are words and pairs of words, without scikit-learn's English stop words.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

_MOST_CHARACTERS = 2000
_EXAMPLE_CHARACTERS = 200
_TERMS = 3
_EXAMPLES = 3
_LEAST_TEXTS = 2
_WORD = re.compile(r"[^\W\d_]\w+")
_CONTRACTION = re.compile(r"n't\b|'(?:m|s|d|ve|ll|re)\b")
# Words of requests that say nothing of what they are about, and what contractions leave.
_ALSO_STOP = frozenset([
    "did", "does", "doing", "don", "doesn", "didn", "isn", "wasn", "ca", "wo", "want", "wants",
    "wanted", "need", "needs", "know", "help", "tell", "ok", "okay", "just", "like", "thanks",
    "thank", "hi", "hello", "hey", "let", "im", "ive", "id", "tried", "trying", "use", "used",
    "using", "way", "got", "getting", "able", "possible", "say", "says", "make", "sure",
])  # fmt: skip
# In the stop list of scikit-learn, and yet what a request may be about.
_NO_STOP = frozenset(["bill", "computer", "cry", "fill", "fire", "interest", "mill", "system"])


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as people see it.

    Attributes:
        id: Names it as long as the reference is the same.
        label: Its most characteristic terms.
        share: Of the prompts, 0 to 1.
        reference_share: Of the reference's prompts.
        loss: Mean loss of its requests, where one is known.
        examples: Prompts nearest to its middle, each in one line of 200 characters at most.
    """

    id: str
    label: str
    share: float
    reference_share: float
    loss: float | None
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How many texts hold each term, and the mean number of terms of a topic."""

    counts: dict[str, int]
    mean: float

    @classmethod
    def of(cls, groups: Sequence[Sequence[str]]) -> "Vocabulary":
        """Count the terms of groups of texts."""
        counts: Counter[str] = Counter()
        for texts in groups:
            counts.update(_counted(texts))
        return cls(dict(counts), counts.total() / max(len(groups), 1))

    def label(self, texts: Sequence[str]) -> str:
        """Return the most characteristic terms of texts, such as `apple pay, watch, top`.

        Terms of one text alone are left out where there are more texts, and so is what the others
        say already. Without any term the label is `(no words)`.
        """
        found = _counted(texts)
        scores = {
            term: count * float(np.log1p(self.mean / max(self.counts.get(term, 0), count)))
            for term, count in found.items()
            if count >= _LEAST_TEXTS or len(texts) < 2 * _LEAST_TEXTS
        }
        chosen: list[str] = []
        for term in sorted(scores, key=lambda term: (-scores[term], term)):
            name = term if " " in term else _pair(term, found)
            stems = _stems(name)
            if not stems <= frozenset().union(*map(_stems, chosen)):
                chosen = [other for other in chosen if not _stems(other) < stems] + [name]
            if len(chosen) == _TERMS:
                break
        return ", ".join(chosen) or "(no words)"


def examples(texts: Sequence[str], nearness: npt.ArrayLike) -> tuple[str, ...]:
    """Return the nearest texts that differ, each in one line."""
    chosen: dict[str, str] = {}
    for row in np.argsort(-np.asarray(nearness), kind="stable"):
        line = one_line(texts[row])
        if line:
            chosen.setdefault(line.lower().rstrip(" .!?"), line)
        if len(chosen) == _EXAMPLES:
            break
    return tuple(chosen.values())


def one_line(text: str) -> str:
    """Return a text as one line of 200 characters at most, without control characters."""
    start = text[: 10 * _EXAMPLE_CHARACTERS]
    line = " ".join("".join(c if c.isprintable() else " " for c in start).split())
    if len(line) <= _EXAMPLE_CHARACTERS and len(text) == len(start):
        return line
    return line[: _EXAMPLE_CHARACTERS - 1].rstrip() + "…"


def _pair(word: str, found: Counter[str]) -> str:
    """Return the pair that a word nearly always stands in, or the word."""
    pairs = [term for term in found if " " in term and word in term.split()]
    best = max(pairs, key=lambda term: (found[term], term), default=word)
    return best if found[best] >= 0.6 * found[word] and found[best] >= _LEAST_TEXTS else word


def _stems(term: str) -> frozenset[str]:
    """Return a term's words, the plural as the singular."""
    return frozenset(
        word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word
        for word in term.split()
    )


def _counted(texts: Iterable[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(_terms(text))
    return counts


def _terms(text: str) -> set[str]:
    plain = _CONTRACTION.sub("", text[:_MOST_CHARACTERS].lower().replace("\u2019", "'"))
    stop = _stop_words()
    words = [word for word in _WORD.findall(plain) if word not in stop]
    return set(words) | {" ".join(pair) for pair in pairwise(words)}


@cache
def _stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return (frozenset(ENGLISH_STOP_WORDS) - _NO_STOP) | _ALSO_STOP
