"""Answers that the gateway gives itself, in the shapes of an engine's: whole, or as a stream."""

import time
from typing import Any

import msgspec

from gateway.wire import InferenceRequest

Json = dict[str, Any]
_DONE = b"data: [DONE]\n\n"


def whole(request: InferenceRequest, id: str, release: str, text: str) -> bytes:
    """Return the answer `text` as a chat completion or a response, with a usage of 0."""
    if request.operation == "response":
        return msgspec.json.encode(_response(request, id, release, text))
    message: Json = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return msgspec.json.encode(
        _head(id, "chat.completion", release) | {"choices": [choice], "usage": _usage()}
    )


def frames(request: InferenceRequest, id: str, release: str, text: str) -> bytes:
    """Return the same as the frames of a stream."""
    if request.operation == "response":
        return _events(_response(request, id, release, text))
    head = _head(id, "chat.completion.chunk", release)

    def chunk(delta: Json, finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _frame(head | {"choices": [choice]})

    out = chunk({"role": "assistant", "content": ""}) + chunk({"content": text})
    out += chunk({"annotations": []}, "stop")
    if request.include_usage:
        out += _frame(head | {"choices": [], "usage": _usage()})
    return out + _DONE


def _head(id: str, kind: str, release: str) -> Json:
    return {"id": id, "object": kind, "created": int(time.time()), "model": release}


def _usage() -> Json:
    return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def _response(request: InferenceRequest, id: str, release: str, text: str) -> Json:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    item = {
        "id": f"msg_{id.removeprefix('resp_')}", "type": "message", "role": "assistant",
        "status": "completed", "content": [part],
    }  # fmt: skip
    usage = {
        "input_tokens": 0, "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 0, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 0,
    }  # fmt: skip
    return {
        "id": id, "object": "response", "created_at": int(time.time()), "status": "completed",
        "model": release, "output": [item], "error": None, "incomplete_details": None,
        "instructions": None, "metadata": request.metadata, "parallel_tool_calls": True,
        "temperature": None, "tool_choice": "auto", "tools": [], "top_p": None, "usage": usage,
    }  # fmt: skip


def _events(response: Json) -> bytes:
    item = response["output"][0]
    part = item["content"][0]
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    begun = response | {"status": "in_progress", "output": [], "usage": None}
    blank = item | {"status": "in_progress", "content": []}
    text = "response.output_text."
    events: list[tuple[str, Json]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        ("response.output_item.added", {"output_index": 0, "item": blank}),
        ("response.content_part.added", place | {"part": part | {"text": ""}}),
        (text + "delta", place | {"delta": part["text"], "logprobs": []}),
        (text + "done", place | {"text": part["text"], "logprobs": []}),
        ("response.content_part.done", place | {"part": part}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": response}),
    ]
    return b"".join(
        event(kind, {"type": kind, "sequence_number": number} | fields)
        for number, (kind, fields) in enumerate(events)
    )


def event(kind: str, fields: Json) -> bytes:
    """Return an event of the Responses API as a frame."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(fields))


def _frame(document: Json) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(document)
