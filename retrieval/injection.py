"""Passages are data: what in them speaks to the model is made harmless, and counted.

Five things do: tokens of chat templates, which would end our turn and begin another; the lines that
play a role ("System:"); delimiters and markers that look like ours, with which a passage could end
itself or cite another; sentences that tell the model what to do, in base64 too; and images, which a
model that repeats them makes the reader's browser fetch, with what it was told in the address.
Characters that cannot be seen are dropped first, since they hide all of these. What is left reads
the same to a person.
"""

import base64
import itertools
import re
import unicodedata
from functools import lru_cache

import msgspec


class Neutralised(msgspec.Struct, frozen=True):
    """A passage's text as data, and how many attempts were found in it."""

    text: str
    attempts: int


_LONGEST = 600  # of a sentence that is left out, on each side of what gives it away
LEFT_OUT = "(an instruction in this document was left out)"

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

# Special tokens of the common templates: ChatML, Llama 2 and 3, Gemma, Mistral, Phi, DeepSeek.
_TOKEN = re.compile(
    r"<\s*[|\uff5c][^<>\n]{0,40}[|\uff5c]\s*>"
    r"|<</?\s*SYS\s*>>|\[/?\s*INST\s*\]|\[/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS)\]"
    r"|</?(?:s|bos|eos|pad|unk)>|<(?:start|end)_of_turn>|<(?:begin|end)_of_\w{1,20}>"
    r"|</?(?:tool_call|tool_response|think|tools)>",
    re.IGNORECASE,
)
_DELIMITER = re.compile(r"<\s*/?\s*passages?\b[^<>]{0,200}>", re.IGNORECASE)
_IMAGE = re.compile(
    r"!\[([^\]\n]{0,200})\]\(\s*<?([^)\s>]{0,2000})[^)\n]{0,200}\)"
    r"|<img\b[^>]{0,40}?\bsrc\s*=\s*[\"']?([^\"'\s>]{0,2000})[^>]{0,400}>",
    re.IGNORECASE,
)
_SENDS = re.compile(r"[?&#{}]|^data:", re.IGNORECASE)
_ENCODED = re.compile(r"(?<![\w+/=])[A-Za-z0-9+/]{24,4096}={0,2}(?![\w+/=])")
_MOST_ENCODED = 16  # pieces of a passage that are decoded
_MARKER = re.compile(r"[\[【](\d{1,3}(?:\s*[,;\u2013-]\s*\d{1,3})*)(?:†[^\]】]{0,40})?[\]】]")
_ROLE = re.compile(
    r"^(\s*(?:#{1,6}\s*|\*\*|>\s*)?)"
    r"(system|assistant|user|human|ai|developer|instruction|response|prompt)"
    r"(?:\*\*)?\s*:(?!\S*//)",
    re.IGNORECASE | re.MULTILINE,
)
# Of these, the lines that only a conversation has; "user:" alone is a field of many files.
_SPEAKER = re.compile(
    r"^\s*(?:#{1,6}\s*|\*\*|>\s*)?"
    r"(?:(?:assistant|human|developer)(?:\*\*)?\s*:(?!\S*//)"
    r"|(?:system|instruction|user)(?:\*\*)?\s*:\s*(?:you|please|always|never|do|say|tell|from)\b)",
    re.IGNORECASE | re.MULTILINE,
)
_COMMAND = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b(?:[^.!?\n]|\n(?!\s*\n)){0,40}"
    r"\b(?:instruction|prompt|rule|direction|guideline|context|passage|command|told|above|"
    r"previous|everything|system)\w*"
    r"|\b(?:new|updated|real|actual|important|system)\s+(?:instruction|prompt|directive)s?\s*[:\-]"
    r"|\byou\s+(?:are|act)\s+now\b|\bfrom\s+now\s+on\b(?:[^.!?\n]|\n(?!\s*\n)){0,20}\byou\b"
    r"|\bpretend\s+(?:to\s+be|(?:that\s+)?you(?:'re|\s+are))\b|\b(?:respond|answer|reply)\s+only\s+with\b"
    r"|(?:\A|[.!?\n]\s*)(?:act|behave|respond|answer|reply)\s+as\s+(?:if|though|an?)\b"
    r"|\byou\s+(?:must|should|will|shall)\s+(?:now\s+)?(?:act|behave|answer|respond)\s+as\b"
    r"|\b(?:reveal|print|repeat|show|output|leak)\b(?:[^.!?\n]|\n(?!\s*\n)){0,30}"
    r"\b(?:system\s+prompt|instructions|hidden|secret|api\s+key|password)\b"
    r"|\b(?:do|must|should)\s+not\s+(?:cite|mention|reveal|tell)\b(?:[^.!?\n]|\n(?!\s*\n)){0,30}"
    r"\b(?:passage|source|user|document|instruction)s?\b"
    r"|\b(?:always|instead)\s*,?\s+(?:answer|say|reply|respond|output)\s*"
    r"(?:[:\"\u201c]|\b(?:that|with|in|yes|no)\b)|\binstead\s*,?\s+tell\s+(?:them|the\s+user)\b"
    r"|\b(?:answer|say|reply|respond|tell\s+(?:them|the\s+user))\b(?:[^.!?\n]|\n(?!\s*\n)){0,30}\binstead\b"
    r"|\b(?:dear\s+)?(?:ai|assistant|chatbot|language\s+model|llm)s?\s*[,:]\s*"
    r"(?:please|you|ignore|say|answer)\b"
    r"|\bignor(?:iere|ez|a|e)\b(?:[^.!?\n]|\n(?!\s*\n)){0,40}\b(?:anweisung|instruc)\w*",
    re.IGNORECASE,
)
_BEFORE = re.compile(r"[.!?](?=\s)|\n")
_AFTER = re.compile(r"[.!?]+(?=\s|\Z)|\n|\Z")


@lru_cache(maxsize=512)
def neutralise(text: str) -> Neutralised:
    """Return `text` with everything that could speak to the model made harmless."""
    text, hidden = _INVISIBLE.subn("", text)
    text = _CONTROL.sub(" ", text)
    text, tokens = _TOKEN.subn(lambda found: _plain(found.group()), text)
    text, delimiters = _DELIMITER.subn(lambda found: _plain(found.group()), text)
    roles = 0
    if _SPEAKER.search(text):
        text, roles = _ROLE.subn(lambda found: f"{found.group(1)}{found.group(2)} -", text)
    text, images = _without_images(text)
    text = _MARKER.sub(r"(\1)", text)  # footnotes: usual, so not counted
    text, encoded = _without_encoded(text)
    text, commands = _without_commands(text)
    hidden = 1 if hidden > 3 else 0  # a soft hyphen or a byte order mark is no attempt
    return Neutralised(text, hidden + tokens + delimiters + roles + images + encoded + commands)


@lru_cache(maxsize=4096)
def suspicious(sentence: str) -> bool:
    """Tell whether a sentence speaks to the model, so that it is evidence for nothing."""
    seen = _CONTROL.sub(" ", _INVISIBLE.sub("", sentence))
    seen = seen if seen.isascii() else _as_read(seen)
    return bool(
        _COMMAND.search(seen)
        or _TOKEN.search(seen)
        or _DELIMITER.search(seen)
        or _SPEAKER.search(seen)
    )


def _without_images(text: str) -> tuple[str, int]:
    """Leave an image's words; one counts whose address could carry something away."""
    sent = 0

    def plain(found: re.Match[str]) -> str:
        nonlocal sent
        sent += bool(_SENDS.search(found.group(2) or found.group(3) or ""))
        return f"(image: {found.group(1)})" if found.group(1) else "(image)"

    return _IMAGE.sub(plain, text), sent


def _without_encoded(text: str) -> tuple[str, int]:
    """Leave out base64 that says what a sentence must not."""
    found = []
    for piece in itertools.islice(_ENCODED.finditer(text), _MOST_ENCODED):
        raw = piece.group()
        try:
            words = base64.b64decode(raw + "=" * (-len(raw) % 4), validate=True).decode()
        except (ValueError, UnicodeDecodeError):
            continue
        if _COMMAND.search(words):
            found.append(piece.span())
    return _left_out(text, found), len(found)


def _without_commands(text: str) -> tuple[str, int]:
    """Leave out the sentences that tell the model what to do."""
    seen = text if text.isascii() else _as_read(text)
    spans: list[tuple[int, int]] = []
    for found in _COMMAND.finditer(seen):
        if spans and found.start() < spans[-1][1]:
            continue
        begin = max(spans[-1][1] if spans else 0, found.start() - _LONGEST)
        for end_before in _BEFORE.finditer(seen, begin, found.start()):
            begin = end_before.end()
        after = _AFTER.search(seen, found.end(), found.end() + _LONGEST)
        spans.append((begin, after.end() if after else found.end()))
    return _left_out(text, spans), len(spans)


def _as_read(text: str) -> str:
    """Return a text with letters in the forms that readers take them for, place by place."""
    plain = (unicodedata.normalize("NFKC", letter) for letter in text)
    return "".join(
        _LOOKALIKES.get(letter, folded if len(folded) == 1 else letter)
        for letter, folded in zip(text, plain, strict=True)
    )


def _left_out(text: str, spans: list[tuple[int, int]]) -> str:
    pieces = []
    done = 0
    for begin, end in spans:
        pieces += [
            text[done:begin].rstrip(" "),
            f" {LEFT_OUT}",
            "\n" * text[begin:end].endswith("\n"),
        ]
        done = end
    return "".join([*pieces, text[done:]])


# Cyrillic and Greek letters that look like Latin ones.
_LOOKALIKES = dict(
    zip(
        "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0458\u03bf\u03b1",
        "aeopcyxisjoa",
        strict=True,
    )
)


def _plain(token: str) -> str:
    """Return the words of a special token: no tokenizer reads them as one."""
    words = re.sub(r"[^\w =/.-]+", "", token).strip()
    return f"({words})"
