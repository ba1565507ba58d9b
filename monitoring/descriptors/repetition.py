"""How much an answer repeats itself, as models that are stuck in a loop do."""

import math

_WORDS = 4
_LAST_WORDS = 500


def repetition(text: str) -> float:
    """Return the share of an answer's word 4-grams that stood in it before, 0 to 1.

    It is 1 minus distinct 4-grams by all of them (as "rep-4" in Welleck et al., "Neural Text
    Generation with Unlikelihood Training", arXiv:1908.04319), in lower case, over the last 500
    words: a model that is stuck stays so to the end. NaN for fewer than four words.
    """
    words = text.lower().split()[-_LAST_WORDS:]
    count = len(words) - _WORDS + 1
    if count < 1:
        return math.nan
    distinct = set(zip(words, words[1:], words[2:], words[3:], strict=False))
    return 1.0 - len(distinct) / count
