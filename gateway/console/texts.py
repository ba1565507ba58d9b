"""The texts of a record of traffic, whichever of the shapes they have."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from gateway.store.traffic import TrafficRecord


class Turn(NamedTuple):
    """One turn of a conversation: who speaks, and what is said."""

    role: str
    text: str


def turns_of(record: TrafficRecord) -> list[Turn]:
    """Return what was asked, turn by turn; nothing where texts are not kept."""
    messages = record.messages
    if isinstance(messages, str):
        return [Turn("prompt", messages)]
    return [
        Turn(str(turn.get("role", "?")), text_of(turn.get("content")))
        for turn in messages or ()
        if isinstance(turn, dict)
    ]


def question_of(record: TrafficRecord) -> str:
    """Return the last turn of the user."""
    turns = turns_of(record)
    return next((t.text for t in reversed(turns) if t.role in ("user", "prompt")), "")


def answer_of(record: TrafficRecord) -> str:
    """Return the answer's text, or nothing."""
    return "\n".join(_said(record.answer or {}))


def _said(answer: dict[str, Any]) -> Iterator[str]:
    for choice in _dicts(answer.get("choices")):
        message = choice.get("message")
        if isinstance(message, dict):
            yield text_of(message.get("content"))
            for call in _dicts(message.get("tool_calls")):
                function = call.get("function") or {}
                yield f"{function.get('name')}({function.get('arguments')})"
        elif isinstance(choice.get("text"), str):
            yield choice["text"]
    for item in _dicts(answer.get("output")):  # of `/v1/responses`
        for part in _dicts(item.get("content")):
            yield text_of(part.get("text"))


def text_of(content: Any) -> str:
    """Return the text of a turn's content, whether it is one or has parts."""
    if isinstance(content, str):
        return content
    parts = (part.get("text") or f"[{part.get('type')}]" for part in _dicts(content))
    return "".join(str(part) for part in parts)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
