"""Cites the answers of a chat, whole or while they stream.

A streamed sentence is held until it is checked. The annotations come with the chunk that has the
finish reason, in `delta.annotations`.
"""

from typing import Any

import msgspec

from gateway.grounding.citing import Citing, chat_annotations
from retrieval.citations import StreamCiter

Json = dict[str, Any]


class ChatEditor:
    """An `Editor` of chat completions.

    Args:
        citing: How they are cited.
    """

    def __init__(self, citing: Citing) -> None:
        self._citing = citing
        self.begin()

    def begin(self) -> None:
        self._citing.begin()
        self._choices: dict[int, _Choice] = {}
        self._held: list[bytes] = []
        self._shown = False

    def whole(self, answer: bytes) -> bytes:
        document = msgspec.json.decode(answer)
        for choice in document.get("choices") or ():
            message = choice.get("message") or {}
            if isinstance(message.get("content"), str) and not message.get("tool_calls"):
                cited = self._citing.text(message["content"])
                message["content"] = cited.text
                message["annotations"] = chat_annotations(cited)
        return msgspec.json.encode(document)

    def frames(self, data: bytes) -> bytes:
        out: list[bytes] = []
        for frame in data.split(b"\n\n"):
            if frame.startswith(b'data: {"error"'):
                out.append(frame)
            elif frame.startswith(b"data: {"):
                out += self._chunk(frame)
            elif frame:
                out.append(frame)
        if not out:
            return b""
        if not self._shown:
            # Nothing went out until now, so that another engine could still take over.
            self._shown = True
            out = self._held + out
        return b"".join(part + b"\n\n" for part in out)

    def _chunk(self, frame: bytes) -> list[bytes]:
        document = msgspec.json.decode(frame[6:])
        choices = document.get("choices")
        if not choices:
            return [frame]
        kept = [part for choice in choices for part in self._choice(choice)]
        if not kept:
            if not self._shown and not self._held:
                self._held.append(_frame(document | {"choices": [_opening(c) for c in choices]}))
            return []
        return [_frame(document | {"choices": kept})]

    def _choice(self, choice: Json) -> list[Json]:
        """Return what is shown now of a choice's piece."""
        state = self._choices.setdefault(choice.get("index", 0), _Choice(self._citing.stream()))
        delta = choice.get("delta") or {}
        text = delta.get("content")
        ends = choice.get("finish_reason") is not None
        others = {n: v for n, v in delta.items() if n not in ("content", "role") and v}
        state.note(choice)
        shown = state.citer.feed(text) if isinstance(text, str) and text else ""
        if ends and not state.calls:
            cited, rest = self._citing.end(state.citer)
            others |= {"annotations": chat_annotations(cited)}
            shown += rest
        if not (shown or others or ends):
            return []
        if shown:
            others = {"content": shown} | others
        return [choice | {"delta": others, "logprobs": state.logprobs()}]


class _Choice:
    """One of the answers that stream."""

    def __init__(self, citer: StreamCiter) -> None:
        self.citer = citer
        self.calls = False
        self._logprobs: list[Any] = []

    def note(self, choice: Json) -> None:
        self.calls = self.calls or bool((choice.get("delta") or {}).get("tool_calls"))
        logprobs = choice.get("logprobs")
        if isinstance(logprobs, dict):
            self._logprobs += logprobs.get("content") or []

    def logprobs(self) -> Json | None:
        """Return the logprobs of what was held and is shown now."""
        taken, self._logprobs = self._logprobs, []
        return {"content": taken} if taken else None


def _opening(choice: Json) -> Json:
    return choice | {"delta": {"role": "assistant", "content": ""}, "logprobs": None}


def _frame(document: Json) -> bytes:
    return b"data: " + msgspec.json.encode(document)
