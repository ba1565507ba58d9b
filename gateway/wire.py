"""OpenAI's requests on the wire: what the gateway reads of them, and how it re-writes them.

Only the fields that decide something here are decoded. Everything else stays the bytes that the
client sent, so that whatever the engine understands passes, known to us or not.
"""

from typing import Final

import msgspec

from gateway import file_search
from gateway.bodies import DECODERS, PROMPT_FIELD, ChatHead, Head, Operation, Retrieval
from gateway.errors import InvalidRequest

# `priority` is set by the gateway alone: a client's own value would let it jump the engine's queue.
# `retrieval` is done here.
_RESERVED: Final = ("priority", "retrieval")
_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TRUE: Final = msgspec.Raw(b"true")


class InferenceRequest:
    """A parsed request: what the gateway needs, and the fields as the client sent them."""

    __slots__ = (
        "fields", "include_usage", "max_tokens", "messages", "metadata", "model", "operation",
        "other_tools", "retrieval", "store", "stream",
    )  # fmt: skip

    def __init__(self, operation: Operation, head: Head, fields: dict[str, msgspec.Raw]) -> None:
        options = head.stream_options
        self.operation: Operation = operation
        self.model = head.model
        self.stream = bool(head.stream)
        self.include_usage = bool(options and options.include_usage)
        self.metadata: dict[str, str] = head.metadata or {}
        self.store = head.store is not False
        self.fields = fields
        self.messages: list[msgspec.Raw] = head.messages if isinstance(head, ChatHead) else []
        self.max_tokens = _most_tokens(head)
        self.retrieval: Retrieval | None = head.retrieval
        # The tools that are left for the engine, where one of them was ours.
        self.other_tools: list[msgspec.Raw] | None = None

    def prompt_estimate(self) -> int:
        """Return about how many tokens the prompt has: four bytes each, as English text has."""
        return len(self.fields[PROMPT_FIELD[self.operation]]) // 4 + 1

    def prompt(self) -> bytes:
        """Return the JSON of the messages, prompt or input."""
        return bytes(self.fields[PROMPT_FIELD[self.operation]])

    def parameters(self) -> dict[str, bytes]:
        """Return the JSON of every field but the prompt, by name."""
        left_out = (PROMPT_FIELD[self.operation], "model", "metadata")
        return {name: bytes(raw) for name, raw in self.fields.items() if name not in left_out}

    def for_engine(self, release: str, instead: dict[str, msgspec.Raw] | None = None) -> bytes:
        """Return the body for the engine: the release as model, and usage asked of a stream.

        Args:
            release: The release.
            instead: Fields that take the place of the client's.
        """
        fields = dict(self.fields)
        if instead is not None:
            fields.update(instead)
        if self.other_tools is not None:
            file_search.leave_out(fields, self.other_tools)
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
        head = DECODERS[operation].decode(body)
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
    request = InferenceRequest(operation, head, fields)
    tools = fields.get("tools")
    if tools is not None and b"file_search" in bytes(tools):
        asked, others = file_search.read(bytes(tools))
        if asked is not None:
            request.other_tools = others
            request.retrieval = request.retrieval or asked
    if request.retrieval is not None and operation == "completion":
        raise InvalidRequest(
            "`/v1/completions` does not retrieve; ask `/v1/chat/completions` or `/v1/responses`.",
            param="retrieval" if head.retrieval is not None else "tools",
            code="unsupported_field",
        )
    return request


def readdressed(body: bytes, release: str) -> bytes:
    """Return a body that was made for one release's engine, for that of another release."""
    fields = _FIELDS.decode(body)
    fields["model"] = msgspec.Raw(msgspec.json.encode(release))
    return msgspec.json.encode(fields)


def _most_tokens(head: Head) -> int | None:
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
