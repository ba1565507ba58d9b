"""Passages into the body of a request, in the shape of each operation."""

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.wire import InferenceRequest
from retrieval.grounding import Grounded, ground
from retrieval.questions import question_of
from retrieval.records import Hit

Fields = dict[str, msgspec.Raw]


class Prompt:
    """The conversation of a chat or a response.

    Args:
        request: The request.
        context_tokens: The engine's longest context.
        answer_tokens: Kept free for the answer where the request sets no maximum.
    """

    def __init__(self, request: InferenceRequest, context_tokens: int, answer_tokens: int) -> None:
        self._request = request
        most = request.max_tokens
        answer = answer_tokens if most is None else most
        self._budget = context_tokens - request.prompt_estimate() - answer
        given = msgspec.json.decode(request.prompt())
        self._as_text = isinstance(given, str)
        if isinstance(given, str):
            given = [{"role": "user", "content": given}]
        turns = given if isinstance(given, list) else []
        self._messages: list[dict[str, Any]] = [turn for turn in turns if isinstance(turn, dict)]

    @property
    def question(self) -> str:
        """What to search for; empty where no user speaks."""
        return question_of(self._messages)

    def ground(self, hits: Sequence[Hit]) -> tuple[Grounded, Fields]:
        """Return the grounded conversation and the fields that carry it to the engine."""
        if self._request.operation == "chat":
            grounded = ground(self._messages, hits, token_budget=self._budget)
            return grounded, {"messages": _raw(grounded.messages)}
        fields = self._request.fields
        instructions = (
            msgspec.json.decode(fields["instructions"]) if "instructions" in fields else ""
        )
        system = {"role": "system", "content": instructions or ""}
        grounded = ground([system, *self._messages], hits, token_budget=self._budget)
        first, *turns = grounded.messages
        given: Any = turns
        if self._as_text:
            given = turns[0]["content"]
        else:
            for turn in turns:
                _as_input(turn)
        return grounded, {"instructions": _raw(first["content"]), "input": _raw(given)}

    def with_logprobs(self) -> Fields:
        """Return the fields that ask the engine for the logprobs of its tokens."""
        return {"logprobs": msgspec.Raw(b"true")}


def wants_logprobs(request: InferenceRequest) -> bool:
    """Return whether the client asked for logprobs itself."""
    return bytes(request.fields.get("logprobs", b"")) == b"true"


def is_text(request: InferenceRequest) -> bool:
    """Return whether the answer is prose, where markers may stand: not JSON for a program."""
    if request.operation == "chat":
        form = request.fields.get("response_format")
        return form is None or b"json" not in bytes(form)
    form = request.fields.get("text")
    return form is None or b"json" not in bytes(form)


def _as_input(turn: dict[str, Any]) -> None:
    content = turn.get("content")
    if isinstance(content, list):
        turn["content"] = [
            part | {"type": "input_text"} if part.get("type") == "text" else part
            for part in content
            if isinstance(part, dict)
        ]


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
