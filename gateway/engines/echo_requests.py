"""What the echo engine reads of a request, and the words with which it answers.

Unknown fields are ignored, wrong types raise `msgspec.ValidationError`.
"""

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from gateway.engines.echo_json import minimal_instance

_Count = Annotated[int, Meta(ge=1)]
_Copies = Annotated[int, Meta(ge=1, le=128)]
_WORD = re.compile(r"\s*\S+|\s+$")
_COMPLETION_TOKENS = 16  # vLLM's default for /v1/completions


class StreamOptions(Struct):
    """What a stream carries besides the answer."""

    include_usage: bool | None = False


class Request(Struct):
    """Fields that all operations share."""

    model: str | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: _Copies | None = 1
    stop: str | list[str] | None = None
    metadata: dict[str, str] | None = None

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a frame that counts the words."""
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatRequest(Request, kw_only=True):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None
    logprobs: bool | None = False
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None


class CompletionRequest(Request, kw_only=True):
    """`POST /v1/completions`."""

    prompt: str | list[str | int | list[int]]
    max_tokens: _Count | None = _COMPLETION_TOKENS
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


class ResponsesRequest(Request, kw_only=True):
    """`POST /v1/responses`."""

    input: str | list[dict[str, Any]]
    instructions: str | None = None
    max_output_tokens: _Count | None = None
    text: dict[str, Any] | None = None
    previous_response_id: str | None = None


class Words(Struct, frozen=True):
    """An answer's text word by word (each with the space before it) and why it ended."""

    words: tuple[str, ...]
    finish_reason: str
    stop_reason: str | None = None

    @property
    def text(self) -> str:
        """The words as one text."""
        return "".join(self.words)


def split(text: str) -> tuple[str, ...]:
    """Split a text into its words without losing a character."""
    return tuple(_WORD.findall(text))


def cut(text: str, limit: int | None, stop: str | list[str] | None) -> Words:
    """Cut a text at its first stop string, then after `limit` words, as an engine would end it."""
    words = split(text)
    within = "".join(words[:limit])
    stops = [stop] if isinstance(stop, str) else stop or []
    found = [(within.find(each), each) for each in stops if each and each in within]
    if found:
        position, each = min(found)
        return Words(split(within[:position]), "stop", each)
    return Words(words[:limit], "stop" if limit is None or len(words) <= limit else "length")


def count_words(value: Any) -> int:
    """Count the words of texts anywhere inside a request's messages."""
    if isinstance(value, str):
        return len(value.split())
    if isinstance(value, list):
        return sum(count_words(each) for each in value)
    if isinstance(value, dict):
        return sum(count_words(value.get(name)) for name in ("content", "text"))
    return 0


def last_user_text(messages: list[dict[str, Any]]) -> str:
    """Return the text of the last user message, or of the last one where there is none."""
    users = [message for message in messages if message.get("role") == "user"]
    return _content_text((users or messages or [{}])[-1].get("content"))


def chat_text(request: ChatRequest) -> str:
    """Return the whole answer to a chat: the echo, or JSON where the request asks for it."""
    return structured(request.response_format) or last_user_text(request.messages)


def structured(response_format: dict[str, Any] | None) -> str | None:
    """Return a minimal JSON document for a `response_format`; None where it asks for none."""
    kind = (response_format or {}).get("type")
    if response_format is None or kind not in ("json_object", "json_schema"):
        return None
    holder = response_format.get("json_schema", response_format)
    schema = holder.get("schema", {}) if isinstance(holder, dict) else {}
    instance = minimal_instance(schema) if kind == "json_schema" else {}
    return msgspec.json.encode(instance).decode()


def forced_tool(request: ChatRequest) -> str | None:
    """Return the name of the function that the request insists on."""
    choice = request.tool_choice
    if isinstance(choice, dict):
        return _function_name(choice)
    if choice == "required" and request.tools:
        return _function_name(request.tools[0])
    return None


def prompts(request: CompletionRequest) -> list[str]:
    """Return the prompts of a completion; token ids are echoed as numbers."""
    prompt = request.prompt
    if isinstance(prompt, str):
        return [prompt]
    if all(isinstance(each, int) for each in prompt):
        return [" ".join(map(str, prompt))]
    return [" ".join(map(str, each)) if isinstance(each, list) else str(each) for each in prompt]


def _content_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return " ".join(part for part in parts if isinstance(part, str))
    return ""


def _function_name(value: dict[str, Any]) -> str | None:
    function = value.get("function", value)
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None
