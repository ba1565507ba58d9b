"""Judges a plain answer by the logprobs of its first tokens before any of it is shown.

Only the first tokens are judged, so that a stream is held back for a moment and not to its end;
`driftgate grounding calibrate` measures the same.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from gateway.grounding.editor import AskAgain

JUDGED_TOKENS: Final = 64
_HAS: Final = b'"logprobs":'


class Probe:
    """An `Editor` of plain chat completions.

    Args:
        again: Takes the mean negative log-likelihood of the answer's first tokens (None where the
            engine gave no logprobs) and says whether another answer is to be asked for. What it
            decides must stand in the headers when it returns.
        strip: Whether the client did not ask for logprobs.

    Attributes:
        tokens: How many tokens were read.
    """

    def __init__(self, again: Callable[[float | None], bool], *, strip: bool) -> None:
        self._again = again
        self._strip = strip
        self.begin()

    def begin(self) -> None:
        self.tokens = 0
        self._sum = 0.0
        self._decided = False
        self._held: list[bytes] = []

    def whole(self, answer: bytes) -> bytes:
        document = msgspec.json.decode(answer)
        self._read(document)
        self._decide()
        if self._strip:
            _strip(document)
            return msgspec.json.encode(document)
        return answer

    def frames(self, data: bytes) -> bytes:
        for frame in data.split(b"\n\n"):
            if not frame:
                continue
            if frame.startswith(b"data: {") and _HAS in frame:
                document = msgspec.json.decode(frame[6:])
                self._read(document)
                if self._strip and _strip(document):
                    frame = b"data: " + msgspec.json.encode(document)
            self._held.append(frame)
            ends = b'"finish_reason":"' in frame or not frame.startswith(b"data: {")
            if not self._decided and (ends or self.tokens >= JUDGED_TOKENS):
                self._decide()
        if not self._decided:
            return b""
        ready, self._held = self._held, []
        return b"".join(frame + b"\n\n" for frame in ready)

    def _read(self, document: dict[str, Any]) -> None:
        if self._decided:
            return
        for choice in document.get("choices") or ():
            if choice.get("index", 0) == 0:
                values = values_of(choice)
                self._sum -= sum(values[: max(0, JUDGED_TOKENS - self.tokens)])
                self.tokens += len(values)

    def _decide(self) -> None:
        self._decided = True
        judged = min(self.tokens, JUDGED_TOKENS)
        if self._again(self._sum / judged if judged else None):
            raise AskAgain


def values_of(choice: dict[str, Any]) -> list[float]:
    """Return the logprobs of a choice's tokens."""
    logprobs = choice.get("logprobs") or {}
    return [entry["logprob"] for entry in logprobs.get("content") or ()]


def _strip(document: dict[str, Any]) -> bool:
    found = False
    for choice in document.get("choices") or ():
        found = found or choice.get("logprobs") is not None
        choice["logprobs"] = None
    return found
