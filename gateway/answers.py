"""Puts an engine's answer together for the traffic log, from a JSON body or from stream frames.

This runs in the recorder's thread, never on the request path.
"""

import math
from dataclasses import dataclass
from typing import Any

import msgspec

# The tail of the token logprobs says how bad the worst part of an answer is.
_TAIL_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """What the traffic record keeps of an answer."""

    content: dict[str, Any] | None
    logprob_mean: float | None = None
    logprob_tail: float | None = None
    system_fingerprint: str | None = None


def from_body(operation: str, body: bytes) -> Answer:
    """Read a whole answer."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Answer(None)
    if not isinstance(document, dict):
        return Answer(None)
    if operation == "response":
        return Answer({"output": document.get("output", [])})
    choices = document.get("choices") or []
    return _with_logprobs(choices, document.get("system_fingerprint"))


def from_stream(operation: str, frames: bytes) -> Answer:
    """Put the frames of a stream together to the answer that they amount to.

    A stream that broke off gives what had arrived.
    """
    choices: dict[int, dict[str, Any]] = {}
    fingerprint: str | None = None
    output: list[Any] | None = None
    for event in _events(frames):
        if operation == "response":
            response = event.get("response")
            if isinstance(response, dict) and response.get("output"):
                output = response["output"]
            continue
        fingerprint = event.get("system_fingerprint") or fingerprint
        for piece in event.get("choices") or []:
            choice = choices.setdefault(piece.get("index", 0), {"index": piece.get("index", 0)})
            _merge(choice, piece)
    if operation == "response":
        return Answer(None if output is None else {"output": output})
    if not choices:
        return Answer(None)
    return _with_logprobs([choices[i] for i in sorted(choices)], fingerprint)


def _events(frames: bytes) -> list[dict[str, Any]]:
    events = []
    for frame in frames.split(b"\n\n"):
        start = frame.find(b"data: {")
        if start < 0:
            continue
        try:
            event = msgspec.json.decode(frame[start + 6 :])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue  # a frame that was cut off
        if isinstance(event, dict):
            events.append(event)
    return events


def _merge(choice: dict[str, Any], piece: dict[str, Any]) -> None:
    if piece.get("finish_reason"):
        choice["finish_reason"] = piece["finish_reason"]
    if isinstance(piece.get("text"), str):
        choice["text"] = choice.get("text", "") + piece["text"]
    logprobs = piece.get("logprobs")
    if isinstance(logprobs, dict):
        kept = choice.setdefault("logprobs", {})
        for name, values in logprobs.items():
            if isinstance(values, list):
                kept.setdefault(name, []).extend(values)
    delta = piece.get("delta")
    if not isinstance(delta, dict):
        return
    message = choice.setdefault("message", {"role": "assistant", "content": None})
    for name, value in delta.items():
        if name == "tool_calls":
            _merge_tool_calls(message.setdefault("tool_calls", []), value or [])
        elif name == "role" and value:
            message["role"] = value
        elif isinstance(value, str):
            message[name] = (message.get(name) or "") + value


def _merge_tool_calls(calls: list[dict[str, Any]], pieces: list[dict[str, Any]]) -> None:
    for piece in pieces:
        index = piece.get("index", 0)
        while len(calls) <= index < 128:
            calls.append({"type": "function", "function": {"name": "", "arguments": ""}})
        call = calls[min(index, len(calls) - 1)]
        if piece.get("id"):
            call["id"] = piece["id"]
        function = piece.get("function") or {}
        for name in ("name", "arguments"):
            call["function"][name] += function.get(name) or ""


def _with_logprobs(choices: list[dict[str, Any]], fingerprint: str | None) -> Answer:
    values: list[float] = []
    for choice in choices:
        logprobs = choice.get("logprobs") or {}
        values += [entry["logprob"] for entry in logprobs.get("content") or []]
        values += [v for v in logprobs.get("token_logprobs") or [] if v is not None]
    mean = tail = None
    if values:
        mean = sum(values) / len(values)
        worst = sorted(values)[: max(1, math.ceil(len(values) * _TAIL_SHARE))]
        tail = sum(worst) / len(worst)
    return Answer({"choices": choices}, mean, tail, fingerprint)
