"""A request as the monitor sees it: what was asked last, what was answered, and how it went."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.store.traffic import TrafficRecord
from retrieval.questions import text_of

PROBE = "driftgate_probe"
"""The metadata of requests that the monitor sends itself; they are in no window."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; texts are None where the traffic log holds none.

    Attributes:
        id: Of the completion.
        at: Unix seconds.
        alias: What the client named as `model`.
        release: What answered.
        prompt: The text of the last user message.
        answer: The text of the answer.
        finish_reason: As the engine gave it.
        outcome: done, error, truncated or cancelled.
        status: The HTTP status.
        wants_json: The request asked for JSON.
        prompt_tokens: As the engine counted them.
        completion_tokens: As the engine counted them.
        ttft_s: Time to the first token, seconds.
        duration_s: Time to the end, seconds.
        logprob_mean: Mean log-probability of the answer's tokens, where it was asked for.
        logprob_tail: Mean of the worst tenth of them.
        retrieval: What became of retrieval (`gateway.grounding.notes`).
        score: Mean of the feedback so far, 0 to 1.
        conversation: Key of the conversation, where there is one.
    """

    id: str
    at: float
    alias: str
    release: str
    prompt: str | None = None
    answer: str | None = None
    finish_reason: str | None = None
    outcome: str = "done"
    status: int = 200
    wants_json: bool = False
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    ttft_s: float | None = None
    duration_s: float = 0.0
    logprob_mean: float | None = None
    logprob_tail: float | None = None
    retrieval: Mapping[str, Any] | None = None
    score: float | None = None
    conversation: str | None = None


def of_record(record: TrafficRecord, score: float | None = None) -> Request:
    """Return what the monitor sees of a record of the traffic log."""
    return Request(
        id=record.completion_id,
        at=record.created_at,
        alias=record.alias,
        release=record.release,
        prompt=_prompt(record.messages),
        answer=_answer(record.answer),
        finish_reason=record.finish_reason,
        outcome=record.outcome,
        status=record.status,
        wants_json=_wants_json(record.parameters),
        prompt_tokens=record.prompt_tokens,
        completion_tokens=record.completion_tokens,
        ttft_s=record.ttft_s,
        duration_s=record.duration_s,
        logprob_mean=record.logprob_mean,
        logprob_tail=record.logprob_tail,
        retrieval=record.retrieval,
        score=score,
        conversation=record.conversation,
    )


def _prompt(messages: object) -> str | None:
    if isinstance(messages, str):
        return messages or None
    if not isinstance(messages, list) or not messages:
        return None
    if all(isinstance(each, str) for each in messages):  # a completion of several prompts
        return messages[0] or None
    users = [each for each in _mappings(messages) if each.get("role") == "user"]
    return text_of(users[-1]).strip() or None if users else None


def _answer(answer: Mapping[str, Any] | None) -> str | None:
    """Return the text of the first choice, or of a response's output."""
    if answer is None:
        return None
    if "output" in answer:
        return _joined(answer["output"]) or None
    choices = answer.get("choices") or []
    first = choices[0] if choices and isinstance(choices[0], Mapping) else {}
    message = first.get("message")
    content = message.get("content") if isinstance(message, Mapping) else first.get("text")
    return content if isinstance(content, str) else None


def _joined(output: object) -> str:
    found: list[str] = []
    for item in _mappings(output):
        for part in _mappings(item.get("content")):
            text = part.get("text")
            if part.get("type") == "output_text" and isinstance(text, str):
                found.append(text)
    return "".join(found)


def _mappings(items: object) -> Iterable[Mapping[str, Any]]:
    return [each for each in items if isinstance(each, Mapping)] if isinstance(items, list) else []


def _wants_json(parameters: Mapping[str, Any] | None) -> bool:
    """Return whether `response_format` (chat) or `text.format` (responses) asks for JSON."""
    asked = (parameters or {}).get("response_format")
    if asked is None:
        text = (parameters or {}).get("text")
        asked = text.get("format") if isinstance(text, Mapping) else None
    return isinstance(asked, Mapping) and asked.get("type") in ("json_object", "json_schema")
