"""The shapes that request bodies are decoded into.

They stand apart from `wire`, which is compiled: mypyc drops the options of msgspec's Structs.
"""

from typing import Annotated, Literal

import msgspec

Operation = Literal["chat", "completion", "response"]
Metadata = Annotated[
    dict[Annotated[str, msgspec.Meta(max_length=64)], Annotated[str, msgspec.Meta(max_length=512)]],
    msgspec.Meta(max_length=16),
]


class StreamOptions(msgspec.Struct):
    """`stream_options`."""

    include_usage: bool | None = None


class Head(msgspec.Struct):
    """What is read of every body."""

    model: str
    max_tokens: float | None = None
    max_completion_tokens: float | None = None
    max_output_tokens: float | None = None
    n: float | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    metadata: Metadata | None = None
    store: bool | None = None


class ChatHead(Head, kw_only=True):
    """The body of `/v1/chat/completions`."""

    messages: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)]


class CompletionHead(Head, kw_only=True):
    """The body of `/v1/completions`."""

    prompt: msgspec.Raw


class ResponseHead(Head, kw_only=True):
    """The body of `/v1/responses`."""

    input: msgspec.Raw


DECODERS: dict[str, msgspec.json.Decoder[Head]] = {
    "chat": msgspec.json.Decoder(ChatHead),
    "completion": msgspec.json.Decoder(CompletionHead),
    "response": msgspec.json.Decoder(ResponseHead),
}
PROMPT_FIELD: dict[Operation, str] = {
    "chat": "messages",
    "completion": "prompt",
    "response": "input",
}
