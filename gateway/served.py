"""The record of a request as the relay leaves it for the recorder.

It stands apart from `spool`, which is compiled: mypyc drops the options of msgspec's Structs.
"""

import msgspec

from gateway.bodies import Operation
from gateway.tracing.context import Trace


class Served(msgspec.Struct, array_like=True):
    """One request as the relay leaves it: raw bytes, to be read by the recorder."""

    operation: Operation
    body: bytes
    stream: bool
    completion_id: str
    key_prefix: str | None
    alias: str
    release: str
    created_at: float
    conversation: str | None = None
    outcome: str = "error"
    status: int = 500
    duration_s: float = 0.0
    ttft_s: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str | None = None
    answer: bytes = b""
    # What became of retrieval, as JSON; see `gateway.grounding.notes`.
    retrieval: bytes = b""
    # The completion that a copy for a shadow repeats; see `gateway.mirror`.
    shadow_of: str | None = None
    # The trace that it belongs to, where requests are traced.
    trace: Trace | None = None


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Served).decode
