"""What to search for: the last user turn, with what it refers to from earlier ones."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

MOST_CHARACTERS = 1000
"""An embedder reads a few hundred tokens; beyond them, more words only dilute."""

_REFERS_BACK = re.compile(
    r"^\s*(?:and|or|but|so|what about|how about|why|why not|which one|same)\b"
    r"|\b(?:it|its|they|them|their|theirs|this|that|these|those|he|him|his|she|her|hers|there|"
    r"one|ones|former|latter|same|else|instead|again|more)\b",
    re.IGNORECASE,
)
_SHORT = 3  # words; less than a question of its own


def question_of(messages: Iterable[Mapping[str, Any]]) -> str:
    """Return the words to search for; empty where no user spoke.

    Lines are turns, the question last. An earlier turn comes along only where the last one is too
    short or has words that point back ("and how much is it?"), since two topics in one query find
    neither.
    """
    turns = [text_of(message).strip() for message in messages if message.get("role") == "user"]
    turns = [turn for turn in turns if turn]
    if not turns:
        return ""
    chosen = [turns[-1]]
    for turn in reversed(turns[:-1]):
        if not refers_back(chosen[0]) or len(chosen) == 3:
            break
        chosen.insert(0, turn)
    return "\n".join(_shortened(turn, MOST_CHARACTERS // len(chosen)) for turn in chosen)


def refers_back(turn: str) -> bool:
    """Tell whether a turn cannot be understood without the one before."""
    return len(turn.split()) <= _SHORT or bool(_REFERS_BACK.search(turn[:200]))


def text_of(message: Mapping[str, Any]) -> str:
    """Return a message's text; parts that are no text (images) are left out."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _shortened(turn: str, limit: int) -> str:
    """Return at most `limit` characters: a pasted text's question is at an end, or has its mark."""
    turn = " ".join(turn.split())
    if len(turn) <= limit:
        return turn
    questions = " ".join(re.findall(r"[^.!?]{3,200}\?", turn))[: limit // 2]
    rest = (limit - len(questions)) // 2
    return " ".join(piece for piece in (turn[:rest], questions, turn[-rest:]) if piece)[: limit + 2]
