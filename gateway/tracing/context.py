"""The trace that a request belongs to: what its client says of it, and what its engine is told.

W3C Trace Context (https://www.w3.org/TR/trace-context/). A worker only reads the header and notes
two times; spans are made of that later, by the recorder (`spans`).
"""

import os
import random
import re
import time
from collections.abc import Sequence

import msgspec

_LONGEST_STATE = 512
_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NONE, _NO_SPAN = b"0" * 32, b"0" * 16


class Trace(msgspec.Struct, array_like=True):
    """Where a request stands in a trace; times in Unix seconds.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: Of the gateway's span, 16 of them.
        parent_id: Of the client's span; empty where it has none.
        state: The client's `tracestate`, passed on as it is.
        sampled: Whether spans are made.
        started_at: When the whole request was there.
        asked: Each engine that was asked: when, and the id of that span.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    state: str = ""
    sampled: bool = True
    started_at: float = 0.0
    asked: list[tuple[float, str]] = []

    def asks(self) -> bytes:
        """Return the header lines for an engine that is asked now."""
        span_id = random_id(8)
        self.asked.append((time.time(), span_id))
        flags = b"01" if self.sampled else b"00"
        head = b"traceparent: 00-%b-%b-%b\r\n" % (self.trace_id.encode(), span_id.encode(), flags)
        return head + (b"tracestate: %b\r\n" % self.state.encode() if self.state else b"")


class Sampler:
    """Begins the trace of a request, or goes on with its client's.

    Args:
        share: Share of the requests that are traced where the client does not say.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._chance = random.Random()  # noqa: S311 - no secret

    def begin(self, headers: Sequence[tuple[bytes, bytes]]) -> Trace:
        """Return the trace of a request, by its headers (names in lower case)."""
        parents = [value for name, value in headers if name == b"traceparent"]
        found = _PARENT.fullmatch(parents[0].strip()) if len(parents) == 1 else None
        if found is None or not _is_valid(found):
            sampled = self._chance.random() < self._share
            return Trace(random_id(16), random_id(8), sampled=sampled)
        _, trace_id, parent_id, flags, _ = found.groups()
        state = b",".join(value for name, value in headers if name == b"tracestate")
        kept = state if len(state) <= _LONGEST_STATE and state.isascii() else b""
        return Trace(
            trace_id.decode(), random_id(8), parent_id.decode(), kept.decode(),
            bool(int(flags, 16) & 1),
        )  # fmt: skip


def _is_valid(found: re.Match[bytes]) -> bool:
    version, trace_id, parent_id, _, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return False
    return trace_id != _NONE and parent_id != _NO_SPAN


def random_id(size: int) -> str:
    """Return so many random bytes in hexadecimal digits."""
    return os.urandom(size).hex()
