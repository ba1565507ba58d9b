"""How texts are compared: what two rows must share to be the same question or the same answer."""

import json
import re
import unicodedata

from gateway.store.examples import Example, Message

_PUNCTUATION = re.compile(r"[^\w\s%€$£+\-]+")


def collapsed(text: str) -> str:
    """Return the text in Unicode's composed form with single spaces; case and signs stay."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def normalised(text: str) -> str:
    """Return the text without case, punctuation and further spaces, for people's wording.

    A text that is nothing but signs stays as it is, so that `?` and `!` are not the same.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_PUNCTUATION.sub(" ", folded).split()) or collapsed(text)


def context(example: Example) -> str:
    """Return what the answer is an answer to: every turn before it, normalised."""
    return "\n".join(f"{m.role}: {normalised(m.content)}" for m in example.prompt)


def conversation(example: Example) -> str:
    """Return the whole row as one text, for finding the very same row again."""
    return "\n".join(_turn(message) for message in example.messages)


def canonical_json(text: str) -> str | None:
    """Return a JSON object or array with sorted keys, or None where the text is neither."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.dumps(json.loads(text), sort_keys=True, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def _turn(message: Message) -> str:
    further = f" {dict(message.extra)}" if message.extra else ""
    return f"{message.role}: {collapsed(message.content)}{further}"
