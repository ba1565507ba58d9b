"""Where sentences end: in a text that is there, and in one that is still being written.

A sentence is decided by what stands before and shortly after its end alone, so that an answer that
comes in pieces splits exactly as the whole answer would.
"""

import re

LONGEST = 800
"""Characters after which a sentence ends where a word does: nothing is held back for ever."""
_AHEAD = 48  # what may have to be seen after an end: white space, a marker

_END = re.compile(r"[.!?…]+[\"'\u201d\u2019)\]*_]*|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d]*|\n")
_MARKERS = re.compile(r"(?:[ \t]*[\[【]\s*\d[^\]】\n]{0,24}[\]】])+")
_MARKER_BEGUN = re.compile(r"[ \t]*[\[【][^\]】\n]{0,26}\Z")
_ABBREVIATION = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|prof|st|vs|etc|e\.g|i\.e|cf|no|nr|fig|sec|inc|ltd|corp|co|approx|ca|al|"
    r"jr|sr|gen|dept|est|z\.b|bzw|d\.h|vol|pp?|art|max|min)|(?<![°\d])(?<!\d )\b[A-Z])\.\Z",
    re.IGNORECASE,
)
_ITEM = re.compile(r"\s*(?:[-*•]\s+)?\(?(?:\d{1,3}|[a-zA-Z])[.)]\Z")
_SOFT = re.compile(
    r"(?<![.!?:\n|])\n(?=[^\W\d_A-Z]|[(\"$€£\d])(?![-*•|#>\d]+[.)\s])(?![\w -]{1,30}: )"
)


def sentence_end(text: str, begin: int, *, final: bool) -> int:
    """Return where the sentence that starts at `begin` ends, markers behind it included.

    White space after it begins the next one. -1: that depends on what is still to come.

    Args:
        text: What is there.
        begin: Where the sentence starts.
        final: Whether nothing is to come.
    """
    for found in _END.finditer(text, begin):
        end = found.end()
        if end - begin > LONGEST:
            break
        if found.group() == "\n":
            return end
        if not final and len(text) - end < _AHEAD and _undecided(text, end):
            return -1
        if _ends(text, begin, found.start(), end):
            marked = _MARKERS.match(text, end)
            return marked.end() if marked else end
    if len(text) - begin > LONGEST + _AHEAD:
        space = text.rfind(" ", begin + 1, begin + LONGEST)
        return space if space > begin else begin + LONGEST
    return len(text) if final else -1


def sentences_of(text: str) -> list[tuple[int, int]]:
    """Return where the sentences of a document's passage start and end, without white space.

    A line break within running text is a space here: many files are wrapped.
    """
    text = _SOFT.sub(" ", text)
    spans = []
    begin = 0
    while begin < len(text):
        end = sentence_end(text, begin, final=True)
        piece = text[begin:end]
        words = piece.strip()
        if words:
            start = begin + piece.index(words[0])
            spans.append((start, start + len(words)))
        begin = end
    return spans


def _undecided(text: str, end: int) -> bool:
    """Tell whether what follows `end` is not enough to know whether a sentence ends there."""
    rest = text[end:]
    return not rest.strip(" \t") or bool(_MARKER_BEGUN.match(rest)) or _only_markers(text, end)


def _only_markers(text: str, end: int) -> bool:
    marked = _MARKERS.match(text, end)
    return marked is not None and not text[marked.end() :].strip(" \t")


def _ends(text: str, begin: int, mark: int, end: int) -> bool:
    if text[mark] in "\u3002\uff01\uff1f":
        return True
    marked = _MARKERS.match(text, end)
    after = marked.end() if marked else end
    if after < len(text):
        if not text[after].isspace():
            return False
        following = text[after:].lstrip(" \t")[:1]
        if following.islower():
            return False
    before = text[begin : mark + 1]
    return not (_ABBREVIATION.search(before[-8:]) or _ITEM.fullmatch(before))
