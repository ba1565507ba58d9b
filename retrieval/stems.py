"""What the forms of an English word, and words of the same meaning, are compared by."""

import re
from collections.abc import Iterable
from functools import lru_cache

from retrieval.words import IRREGULAR, SAME

_VOWEL = re.compile(r"[aeiouy]")


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """Return what the forms of an English word, and words of the same meaning, are compared by."""
    root = _root(word)
    return _SAME.get(root, root)


def stems(words: Iterable[str]) -> frozenset[str]:
    """Return the stems of a list of words."""
    return frozenset(stem(word) for word in words)


def _root(word: str) -> str:
    """Return what the forms of a word have in common, roughly."""
    word = word.lower().replace("\u2019", "'")
    word = word.removesuffix("'s").removesuffix("'")
    word = IRREGULAR.get(word, word)
    if len(word) > 3:
        if word.endswith("ies") and len(word) > 4:
            word = word[:-3] + "y"
        elif word.endswith(("sses", "xes", "ches", "shes")):
            word = word[:-2]
        elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
            word = word[:-1]
        if word.endswith("ation") and len(word) > 6:
            word = word[:-3]
        for ending in ("ing", "ed", "ly"):
            rest = word.removesuffix(ending)
            if rest != word and len(rest) >= 3 and _VOWEL.search(rest):
                doubled = len(rest) > 3 and rest[-1] == rest[-2] and rest[-1] not in "lsz"
                word = rest[:-1] if doubled else rest
                break
        if len(word) > 3:
            word = word.removesuffix("e")
        if word.endswith("y") and len(word) > 3 and word[-2] not in "aeiou":
            word = word[:-1] + "i"
        if word.endswith("ll"):
            word = word[:-1]
    return word


_SAME = {_root(word): _root(group[0]) for group in SAME for word in group}
