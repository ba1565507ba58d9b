"""OpenAI's requests on the wire: what the gateway reads of them, and how it re-writes them.

Only the fields that decide something here are decoded. Everything else stays the bytes that the
client sent, so that whatever the engine understands passes, known to us or not.
"""

from typing import Annotated, Literal

import msgspec

from gateway.errors import InvalidRequest

Operation = Literal["chat", "completion", "response"]
Metadata = Annotated[
    dict[Annotated[str, msgspec.Meta(max_length=64)], Annotated[str, msgspec.Meta(max_length=512)]],
    msgspec.Meta(max_length=16),
]
# Set by the gateway alone; a client's own value would let it jump the engine's queue.
_RESERVED = ("priority",)


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Head(msgspec.Struct):
    model: str
    max_tokens: float | None = None
    max_completion_tokens: float | None = None
    max_output_tokens: float | None = None
    n: float | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    metadata: Metadata | None = None
    store: bool | None = None


class _ChatHead(_Head, kw_only=True):
    messages: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)]


class _CompletionHead(_Head, kw_only=True):
    prompt: msgspec.Raw


class _ResponseHead(_Head, kw_only=True):
    input: msgspec.Raw


_DECODERS: dict[str, msgspec.json.Decoder[_Head]] = {
    "chat": msgspec.json.Decoder(_ChatHead),
    "completion": msgspec.json.Decoder(_CompletionHead),
    "response": msgspec.json.Decoder(_ResponseHead),
}
_PROMPT_FIELD = {"chat": "messages", "completion": "prompt", "response": "input"}
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TRUE = msgspec.Raw(b"true")


class InferenceRequest(msgspec.Struct):
    """A parsed request: what the gateway needs, and the fields as the client sent them."""

    operation: Operation
    model: str
    stream: bool
    include_usage: bool
    metadata: dict[str, str]
    store: bool
    fields: dict[str, msgspec.Raw]
    messages: list[msgspec.Raw]
    max_tokens: int | None

    def prompt_estimate(self) -> int:
        """Return about how many tokens the prompt has: four bytes each, as English text has."""
        return len(self.fields[_PROMPT_FIELD[self.operation]]) // 4 + 1

    def prompt(self) -> bytes:
        """Return the JSON of the messages, prompt or input."""
        return bytes(self.fields[_PROMPT_FIELD[self.operation]])

    def parameters(self) -> dict[str, bytes]:
        """Return the JSON of every field but the prompt, by name."""
        left_out = (_PROMPT_FIELD[self.operation], "model", "metadata")
        return {name: bytes(raw) for name, raw in self.fields.items() if name not in left_out}

    def for_engine(self, release: str) -> bytes:
        """Return the body for the engine: the release as model, and usage asked of a stream."""
        fields = dict(self.fields)
        fields["model"] = msgspec.Raw(msgspec.json.encode(release))
        for name in _RESERVED:
            fields.pop(name, None)
        if self.stream and self.operation != "response" and not self.include_usage:
            given = fields.get("stream_options")
            options = _FIELDS.decode(given) if given and bytes(given) != b"null" else {}
            options["include_usage"] = _TRUE
            fields["stream_options"] = msgspec.Raw(msgspec.json.encode(options))
        return msgspec.json.encode(fields)


def parse(operation: Operation, body: bytes) -> InferenceRequest:
    """Parse a request's body.

    Raises:
        InvalidRequest: The body is not JSON, not an object, or a field has the wrong type; the
            error names the field.
    """
    try:
        # A raw field is passed on undecoded, so its text is checked here, once and in C.
        str(body, "utf-8")
        head = _DECODERS[operation].decode(body)
        fields = _FIELDS.decode(body)
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"The body is not UTF-8: {error.reason}.", code="invalid_json"
        ) from None
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from None
    except (msgspec.DecodeError, RecursionError) as error:
        detail = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidRequest(
            f"The body is not valid JSON: {detail.rstrip('.')}.", code="invalid_json"
        ) from None
    options = head.stream_options
    return InferenceRequest(
        operation=operation,
        model=head.model,
        stream=bool(head.stream),
        include_usage=bool(options and options.include_usage),
        metadata=head.metadata or {},
        store=head.store is not False,
        fields=fields,
        messages=head.messages if isinstance(head, _ChatHead) else [],
        max_tokens=_most_tokens(head),
    )


def _most_tokens(head: _Head) -> int | None:
    """Return the most tokens that the request lets an answer have, over all its choices."""
    limit = head.max_completion_tokens
    if limit is None:
        limit = head.max_tokens
        if limit is None:
            limit = head.max_output_tokens
            if limit is None:
                return None
    return max(0, int(limit * (head.n or 1)))


def _explain(message: str) -> InvalidRequest:
    """Turn msgspec's "Expected `str`, got `int` - at `$.model`" into an error with a param."""
    what, _, path = message.partition(" - at `$")
    if "missing required field" in what:
        missing = what.split("`")[-2]
        return InvalidRequest(
            f"Missing required field `{missing}`.", param=missing, code="missing_field"
        )
    param = path.rstrip("`").lstrip(".") or None
    where = f" in `{param}`" if param else " as the body"
    return InvalidRequest(f"{what}{where}.", param=param, code="invalid_type")
