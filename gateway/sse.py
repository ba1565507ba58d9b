"""Reads server-sent event streams of an engine without decoding their JSON.

Frames pass as bytes. Each is scanned for the few things that the gateway must know: the first
token, the usage, the finish reason, an error and the end. A string inside JSON cannot fake them,
since its quotes are escaped. Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import re
from typing import Final

import msgspec

from gateway.errors import EngineFailed, GatewayError

_TOKEN: Final = re.compile(
    rb'"(?:content|text|reasoning|reasoning_content|refusal|arguments|delta)":\s*"[^"]'
    rb'|"tool_calls":\s*\[\s*\{'
)
_FINISH: Final = re.compile(rb'"finish_reason":\s*"([a-z_]+)"')
_PROMPT_TOKENS: Final = re.compile(rb'"(?:prompt_tokens|input_tokens)":\s*(\d+)')
_COMPLETION_TOKENS: Final = re.compile(rb'"(?:completion_tokens|output_tokens)":\s*(\d+)')
_USAGE: Final = re.compile(rb'"usage":\s*\{')
_NO_CHOICES: Final = re.compile(rb'"choices":\s*\[\s*\]')
_ERROR: Final = re.compile(rb'^(?:event: error\s*\n)?data:\s*\{\s*"error"')
_ID: Final = re.compile(rb'"id":\s*"([^"\\]{1,200})"')
# A frame that is larger is none.
MOST_FRAME_BYTES: Final = 8 * 2**20
# The Responses API has no [DONE]; these events end it.
_LAST_EVENT: Final = re.compile(rb"^event: response\.(completed|incomplete|failed)\b")


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one answer."""

    prompt_tokens: int
    completion_tokens: int


class FrameScanner:
    """Splits a stream into whole frames and notes what passes.

    Args:
        hide_usage: Drop the closing usage frame, which the gateway asked for but the client did
            not.

    Attributes:
        frames: Content frames that passed so far.
        saw_token: Whether a frame carried the beginning of an answer.
        done: Whether the stream came to its proper end.
        error: The engine's error message, where it sent one.
    """

    def __init__(self, hide_usage: bool = False) -> None:
        self._hide_usage = hide_usage
        self._tail = b""
        self._usage_frame = b""
        self.completion_id: str | None = None
        self.finish_reason: str | None = None
        self.frames = 0
        self.saw_token = False
        self.done = False
        self.error: str | None = None

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the engine, return the whole frames that go to the client."""
        data = self._tail + data if self._tail else data
        end = data.rfind(b"\n\n")
        if end < 0:
            self._tail = data
            return b""
        end += 2
        if end == len(data):
            self._tail, whole = b"", data
        else:
            self._tail, whole = data[end:], data[:end]
        if self._only_text(whole):
            self.frames += whole.count(b"\n\n")
            return whole
        kept: list[bytes] = []
        changed = False
        for frame in whole.split(b"\n\n"):
            if not frame:
                continue
            passed = self._scan(frame)
            changed = changed or passed is not frame
            if passed:
                kept.append(passed)
        if not changed:
            return whole
        return b"".join(frame + b"\n\n" for frame in kept)

    def _only_text(self, frames: bytes) -> bool:
        """Return whether the frames carry nothing but more of the answer, as most reads do."""
        if (
            not self.saw_token
            or self.completion_id is None
            or b"[DONE]" in frames
            or b'"error"' in frames
            or b"event: " in frames
        ):
            return False
        reasons = frames.count(b'"finish_reason"')
        if reasons and reasons != frames.count(b'"finish_reason":null'):
            return False
        usages = frames.count(b'"usage"')
        return not usages or usages == frames.count(b'"usage":null')

    @property
    def pending_bytes(self) -> int:
        """Bytes of the frame that has not ended yet."""
        return len(self._tail)

    def usage(self) -> Usage | None:
        """Return the usage that the stream reported last, if any."""
        return scan_usage(self._usage_frame)

    def _scan(self, frame: bytes) -> bytes:
        if frame == b"data: [DONE]":
            self.done = True
            return frame
        if _ERROR.match(frame):
            return self._translate_error(frame)
        self.frames += 1
        if self.completion_id is None:
            self.completion_id = scan_id(frame)
        if not self.saw_token and _TOKEN.search(frame):
            self.saw_token = True
        if b'"finish_reason"' in frame and (match := _FINISH.search(frame)):
            self.finish_reason = match[1].decode()
        if b'"usage"' in frame and _USAGE.search(frame):
            self._usage_frame = frame
            if self._hide_usage and _NO_CHOICES.search(frame):
                return b""
        if frame.startswith(b"event: response.") and (match := _LAST_EVENT.match(frame)):
            self.done = True
            self.finish_reason = match[1].decode()
            if self.finish_reason == "failed":
                self.error = "the engine failed to answer"
        return frame

    def _translate_error(self, frame: bytes) -> bytes:
        self.error = engine_message(frame[frame.index(b"{") :])
        return error_frame(EngineFailed(self.error, code="engine_error"))


def error_frame(error: GatewayError) -> bytes:
    """Return the frame (without its blank line) that tells an OpenAI client of an error."""
    return b"data: " + error.body()


def engine_message(document: bytes) -> str:
    """Return the message of an engine's error document, in vLLM's or OpenAI's shape."""
    try:
        found = msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "the engine answered with an error"
    error = found.get("error", found) if isinstance(found, dict) else found
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or "the engine answered with an error")[:2000]


def scan_usage(document: bytes) -> Usage | None:
    """Return the usage inside a JSON answer or frame, without decoding the whole."""
    start = document.rfind(b'"usage"')
    if start < 0:
        return None
    prompt = _PROMPT_TOKENS.search(document, start)
    completion = _COMPLETION_TOKENS.search(document, start)
    if prompt is None:
        return None
    return Usage(int(prompt[1]), int(completion[1]) if completion else 0)


def scan_id(document: bytes) -> str | None:
    """Return the first `id` within the first kilobyte of an answer or frame."""
    match = _ID.search(document, 0, 1024)
    return match[1].decode("ascii", "replace") if match else None


def scan_finish(document: bytes) -> str | None:
    """Return the last finish reason in an answer."""
    start = document.rfind(b'"finish_reason"')
    match = _FINISH.match(document, start) if start >= 0 else None
    return match[1].decode() if match else None
