"""The echo engine's answers in vLLM's wire shapes, whole and as stream frames.

Each `…_frames` function yields `(frame, words)`: the bytes of one server-sent event and how many
words it carries, so that the server can take its time over them. Shapes: OpenAI's API reference,
and vLLM 0.32 where it differs (the fingerprint comes with the last chunk).
"""

import time
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.engines.echo_requests import (
    ChatRequest,
    CompletionRequest,
    ResponsesRequest,
    Words,
    chat_text,
    count_words,
    cut,
    forced_tool,
    last_user_text,
    prompts,
    structured,
)

FINGERPRINT = "echo"
_LOGPROB = -0.1
_DONE = b"data: [DONE]\n\n"

Frames = Iterator[tuple[bytes, int]]
Json = dict[str, Any]


def chat(request: ChatRequest, id: str, model: str) -> tuple[Json, int]:
    """Return a chat completion and its number of words."""
    tool, answer = forced_tool(request), _chat_words(request)
    message: Json = {"role": "assistant", "content": answer.text, "refusal": None}
    if tool is not None:
        message |= {"content": "", "tool_calls": [_tool_call(id, tool)]}
    choice = {
        "message": message,
        "logprobs": _chat_logprobs(request, answer.words),
        "finish_reason": answer.finish_reason if tool is None else "tool_calls",
        "stop_reason": answer.stop_reason,
    }
    copies = request.n or 1
    body = _head(id, "chat.completion", model) | {
        "choices": [{"index": index, **choice} for index in range(copies)],
        "system_fingerprint": FINGERPRINT,
        "usage": _usage(count_words(request.messages), len(answer.words) * copies),
    }
    return body, len(answer.words)


def chat_frames(request: ChatRequest, id: str, model: str) -> Frames:
    """Yield the frames of a streamed chat completion."""
    tool, answer = forced_tool(request), _chat_words(request)
    head = _head(id, "chat.completion.chunk", model)
    copies = range(request.n or 1)

    def chunk(index: int, delta: Json, **more: Any) -> Json:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None} | more
        return head | {"choices": [choice]}

    for index in copies:
        yield _frame(chunk(index, {"role": "assistant", "content": ""})), 0
    if tool is not None:
        for index in copies:
            yield _frame(chunk(index, {"tool_calls": [{"index": 0} | _tool_call(id, tool)]})), 0
    for word in answer.words if tool is None else ():
        for index in copies:
            logprobs = _chat_logprobs(request, (word,))
            yield _frame(chunk(index, {"content": word}, logprobs=logprobs)), int(index == 0)
    for index in copies:
        reason = answer.finish_reason if tool is None else "tool_calls"
        last = chunk(index, {}, finish_reason=reason, stop_reason=answer.stop_reason)
        if index == copies[-1] and not request.include_usage:
            last["system_fingerprint"] = FINGERPRINT
        yield _frame(last), 0
    if request.include_usage:
        usage = _usage(count_words(request.messages), len(answer.words) * len(copies))
        yield _frame(head | _last(usage)), 0
    yield _DONE, 0


def completion(request: CompletionRequest, id: str, model: str) -> tuple[Json, int]:
    """Return a text completion and its number of words."""
    answers = _completion_words(request)
    total = sum(len(answer.words) for answer in answers)
    choices = [
        {
            "index": index,
            "text": answer.text,
            "logprobs": _completion_logprobs(request, answer.words),
            "finish_reason": answer.finish_reason,
            "stop_reason": answer.stop_reason,
        }
        for index, answer in enumerate(answers)
    ]
    body = _head(id, "text_completion", model) | {
        "choices": choices,
        "system_fingerprint": FINGERPRINT,
        "usage": _usage(count_words(prompts(request)), total),
    }
    return body, total


def completion_frames(request: CompletionRequest, id: str, model: str) -> Frames:
    """Yield the frames of a streamed text completion."""
    head = _head(id, "text_completion", model)
    answers = _completion_words(request)

    def chunk(index: int, text: str, **more: Any) -> Json:
        choice = {"index": index, "text": text, "logprobs": None, "finish_reason": None} | more
        return head | {"choices": [choice]}

    for index, answer in enumerate(answers):
        for word in answer.words:
            logprobs = _completion_logprobs(request, (word,))
            yield _frame(chunk(index, word, logprobs=logprobs)), 1
        last = chunk(index, "", finish_reason=answer.finish_reason, stop_reason=answer.stop_reason)
        if index == len(answers) - 1 and not request.include_usage:
            last["system_fingerprint"] = FINGERPRINT
        yield _frame(last), 0
    if request.include_usage:
        total = sum(len(answer.words) for answer in answers)
        yield _frame(head | _last(_usage(count_words(prompts(request)), total))), 0
    yield _DONE, 0


def response(request: ResponsesRequest, id: str, model: str) -> tuple[Json, int]:
    """Return a response object and its number of words."""
    answer = _response_words(request)
    part: Json = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": None}
    item = _message(id, "completed", [part])
    cut_short = answer.finish_reason == "length"
    body = _response_head(request, id, model) | {
        "status": "incomplete" if cut_short else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut_short else None,
        "output": [item],
        "usage": {
            "input_tokens": count_words(request.input),
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": len(answer.words),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": count_words(request.input) + len(answer.words),
        },
    }
    return body, len(answer.words)


def response_frames(request: ResponsesRequest, id: str, model: str) -> Frames:
    """Yield the events of a streamed response."""
    answer = _response_words(request)
    whole, _ = response(request, id, model)
    item = whole["output"][0]
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    begun = _response_head(request, id, model)
    blank = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    text = "response.output_text."
    events: list[tuple[str, Json]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        (
            "response.output_item.added",
            {"output_index": 0, "item": _message(id, "in_progress", [])},
        ),
        ("response.content_part.added", place | {"part": blank}),
        *[(text + "delta", place | {"delta": word, "logprobs": []}) for word in answer.words],
        (text + "done", place | {"text": answer.text, "logprobs": []}),
        ("response.content_part.done", place | {"part": item["content"][0]}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        (f"response.{whole['status']}", {"response": whole}),
    ]
    for number, (kind, fields) in enumerate(events):
        data = msgspec.json.encode({"type": kind, "sequence_number": number} | fields)
        frame = b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
        yield frame, int(kind == text + "delta")


def _chat_words(request: ChatRequest) -> Words:
    limit = request.max_completion_tokens or request.max_tokens
    return cut(chat_text(request), limit, request.stop)


def _completion_words(request: CompletionRequest) -> list[Words]:
    copies = request.n or 1
    return [
        cut(prompt, request.max_tokens, request.stop)
        for prompt in prompts(request)
        for _ in range(copies)
    ]


def _response_words(request: ResponsesRequest) -> Words:
    text = structured((request.text or {}).get("format") if request.text else None)
    if text is None:
        text = request.input if isinstance(request.input, str) else last_user_text(request.input)
    return cut(text, request.max_output_tokens, None)


def _head(id: str, kind: str, model: str) -> Json:
    return {"id": id, "object": kind, "created": int(time.time()), "model": model}


def _last(usage: Json) -> Json:
    return {"choices": [], "usage": usage, "system_fingerprint": FINGERPRINT}


def _usage(prompt: int, completion: int) -> Json:
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
        "prompt_tokens_details": None,
    }


def _tool_call(id: str, name: str) -> Json:
    return {
        "id": f"chatcmpl-tool-{id[-16:]}",
        "type": "function",
        "function": {"name": name, "arguments": "{}"},
    }


def _chat_logprobs(request: ChatRequest, words: tuple[str, ...]) -> Json | None:
    if not request.logprobs:
        return None
    entries = [{"token": word, "logprob": _LOGPROB, "bytes": list(word.encode())} for word in words]
    # An echo has no second choice: one alternative at most, whatever was asked for.
    top = 1 if request.top_logprobs else 0
    return {"content": [entry | {"top_logprobs": [entry][:top]} for entry in entries]}


def _completion_logprobs(request: CompletionRequest, words: tuple[str, ...]) -> Json | None:
    if request.logprobs is None:
        return None
    offsets = [sum(len(word) for word in words[:index]) for index in range(len(words))]
    return {
        "text_offset": offsets,
        "token_logprobs": [_LOGPROB] * len(words),
        "tokens": list(words),
        "top_logprobs": [{word: _LOGPROB} if request.logprobs else None for word in words],
    }


def _response_head(request: ResponsesRequest, id: str, model: str) -> Json:
    return {
        "id": id,
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "model": model,
        "output": [],
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "metadata": request.metadata,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None,
    }


def _message(id: str, status: str, content: list[Json]) -> Json:
    return {
        "id": f"msg_{id.removeprefix('resp_')}",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": content,
    }


def _frame(value: Json) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(value)
