"""What differs between two texts, word by word, for the eyes."""

import difflib
import re
from typing import Literal

Kind = Literal["same", "added", "missing"]

_PIECE = re.compile(r"\s+|\w+|[^\w\s]")
_MOST = 1500  # pieces; the comparison is quadratic


def pieces(reference: str, text: str) -> list[tuple[Kind, str]]:
    """Return a text in pieces: what it shares with the reference, adds, and lacks."""
    old, new = _PIECE.findall(reference), _PIECE.findall(text)
    if len(old) + len(new) > _MOST:
        return [("same", text)]
    found: list[tuple[Kind, str]] = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            found.append(("same", "".join(new[c:d])))
            continue
        if b > a:
            found.append(("missing", "".join(old[a:b])))
        if d > c:
            found.append(("added", "".join(new[c:d])))
    return found
