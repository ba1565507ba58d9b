"""The shapes that request bodies are decoded into.

They stand apart from `wire`, which is compiled: mypyc drops the options of msgspec's Structs.
"""

from typing import Annotated, Literal

import msgspec

from retrieval.gate import Mode
from retrieval.records import Filter

Operation = Literal["chat", "completion", "response"]
Metadata = Annotated[
    dict[Annotated[str, msgspec.Meta(max_length=64)], Annotated[str, msgspec.Meta(max_length=512)]],
    msgspec.Meta(max_length=16),
]


_Stores = Annotated[
    tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=80)], ...],
    msgspec.Meta(max_length=20),
]
_Most = Annotated[int, msgspec.Meta(ge=1, le=50)]
_Score = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Retrieval(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The field `retrieval`; what is None or absent is as the key's or the alias's policy says."""

    mode: Mode | None = None
    vector_store_ids: _Stores | None = None
    top_k: _Most | None = None
    filters: Filter | None = None
    insufficient: Literal["say_so", "plain"] | None = None
    unsupported: Literal["quote", "drop"] | None = None
    score_threshold: _Score | None = None
    sufficient: _Score | None = None


class RankingOptions(msgspec.Struct, frozen=True):
    """How a `file_search` tool ranks; `ranker` is taken and means nothing here."""

    score_threshold: _Score | None = None


class FileSearch(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's tool `file_search` as the Responses API has it; a chat may give it, too.

    Source: https://platform.openai.com/docs/guides/tools-file-search
    """

    vector_store_ids: _Stores
    max_num_results: _Most | None = None
    filters: Filter | None = None
    ranking_options: RankingOptions | None = None

    def asked(self) -> Retrieval:
        """Return the same as the field `retrieval`."""
        ranking = self.ranking_options
        return Retrieval(
            mode="always",
            vector_store_ids=self.vector_store_ids,
            top_k=self.max_num_results,
            filters=self.filters,
            score_threshold=None if ranking is None else ranking.score_threshold,
        )


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
    retrieval: Retrieval | None = None


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
