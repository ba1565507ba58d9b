"""Passages are data: what in them speaks to the model is made harmless, and counted.

Four things do: tokens of chat templates, which would end our turn and begin another; the lines that
play a role ("System:"); delimiters and markers that look like ours, with which a passage could end
itself or cite another; and sentences that tell the model what to do. Characters that cannot be
seen are dropped first, since they hide all of these. What is left reads the same to a person.
"""

import re
from functools import lru_cache

import msgspec


class Neutralised(msgspec.Struct, frozen=True):
    """A passage's text as data, and how many attempts were found in it."""

    text: str
    attempts: int


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
_DELIMITER = re.compile(r"<\s*/?\s*(?:passages?|documents?|context|sources?)\b[^<>]{0,200}>", re.I)
_MARKER = re.compile(r"[\[【](\d{1,3}(?:\s*[,;\u2013-]\s*\d{1,3})*)(?:†[^\]】]{0,40})?[\]】]")
_ROLE = re.compile(
    r"^(\s*(?:#{1,6}\s*|\*\*|>\s*)?)"
    r"(system|assistant|user|human|ai|developer|instruction|response|prompt)"
    r"(?:\*\*)?\s*:(?!\S*//)",
    re.IGNORECASE | re.MULTILINE,
)
_COMMAND = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass|skip)\b[^.!?\n]{0,40}"
    r"\b(?:instruction|prompt|rule|direction|guideline|context|passage|command|told|above|"
    r"previous|everything|system)\w*"
    r"|\b(?:new|updated|real|actual|important|system)\s+(?:instruction|prompt|directive)s?\s*[:\-]"
    r"|\byou\s+(?:are|act)\s+now\b|\bfrom\s+now\s+on\b[^.!?\n]{0,20}\byou\b"
    r"|\b(?:pretend|act|behave|respond|answer|reply)\s+(?:as\s+(?:if|though|an?)\b|only\s+with\b)"
    r"|\b(?:reveal|print|repeat|show|output|leak)\b[^.!?\n]{0,30}"
    r"\b(?:system\s+prompt|instructions|hidden|secret|api\s+key|password)\b"
    r"|\b(?:do|must|should)\s+not\s+(?:cite|mention|tell|reveal|use)\b[^.!?\n]{0,30}"
    r"\b(?:passage|source|user|document|instruction|this)s?\b"
    r"|\b(?:always|instead)\s*,?\s+(?:answer|say|reply|respond|output|tell\s+the\s+user)\b"
    r"|\b(?:answer|say|reply|respond|tell\s+(?:them|the\s+user))\b[^.!?\n]{0,30}\binstead\b"
    r"|\b(?:dear\s+)?(?:ai|assistant|chatbot|language\s+model|llm)s?\s*[,:]\s*"
    r"(?:please|you|ignore|say|answer)\b"
    r"|\bignor(?:iere|ez|a|e)\b[^.!?\n]{0,40}\b(?:anweisung|instruc)\w*",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*|[.!?]+|\n")


@lru_cache(maxsize=512)
def neutralise(text: str) -> Neutralised:
    """Return `text` with everything that could speak to the model made harmless."""
    text, hidden = _INVISIBLE.subn("", text)
    text = _CONTROL.sub(" ", text)
    text, tokens = _TOKEN.subn(lambda found: _plain(found.group()), text)
    text, delimiters = _DELIMITER.subn(lambda found: _plain(found.group()), text)
    text, roles = _ROLE.subn(lambda found: f"{found.group(1)}{found.group(2)} -", text)
    text = _MARKER.sub(
        lambda found: f"({found.group(1)})", text
    )  # footnotes: usual, so not counted
    commands = 0
    if _COMMAND.search(text):
        pieces = []
        for piece in _SENTENCE.findall(text):
            if _COMMAND.search(piece):
                commands += 1
                piece = f" {LEFT_OUT}"
            pieces.append(piece)
        text = "".join(pieces)
    hidden = 1 if hidden > 3 else 0  # a soft hyphen or a byte order mark is no attempt
    return Neutralised(text, hidden + tokens + delimiters + roles + commands)


@lru_cache(maxsize=4096)
def suspicious(sentence: str) -> bool:
    """Tell whether a sentence speaks to the model, so that it is evidence for nothing."""
    seen = _CONTROL.sub(" ", _INVISIBLE.sub("", sentence))
    return bool(
        _COMMAND.search(seen)
        or _TOKEN.search(seen)
        or _DELIMITER.search(seen)
        or _ROLE.search(seen)
    )


def _plain(token: str) -> str:
    """Return the words of a special token: no tokenizer reads them as one."""
    words = re.sub(r"[^\w =/.-]+", "", token).strip()
    return f"({words})"
