"""The traffic log's view of an answer, from a body and from frames."""

import json

import pytest

from gateway.answers import from_body, from_stream


def _frames(*events: dict[str, object]) -> bytes:
    return b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in events)


def _delta(index: int = 0, finish: str | None = None, **delta: object) -> dict[str, object]:
    return {
        "system_fingerprint": "fp",
        "choices": [{"index": index, "delta": delta, "finish_reason": finish}],
    }


def test_a_stream_adds_up_to_its_message() -> None:
    frames = _frames(
        _delta(role="assistant", content=""),
        _delta(content="Par"),
        _delta(1, content="Rome"),
        _delta(content="is"),
        _delta(finish="stop"),
    )
    answer = from_stream("chat", frames + b"data: [DONE]\n\n")
    assert answer.content == {
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Paris"},
                "finish_reason": "stop",
            },
            {"index": 1, "message": {"role": "assistant", "content": "Rome"}},
        ]
    }
    assert answer.system_fingerprint == "fp"


def test_tool_calls_add_up() -> None:
    call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a"'}}
    frames = _frames(
        _delta(tool_calls=[call]),
        _delta(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
    )
    answer = from_stream("chat", frames)
    assert answer.content is not None
    calls = answer.content["choices"][0]["message"]["tool_calls"]
    assert calls == [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    ]


def test_a_cut_stream_gives_what_arrived() -> None:
    answer = from_stream("chat", _frames(_delta(content="Hel")) + b'data: {"choices": [{"del')
    assert answer.content is not None
    assert answer.content["choices"][0]["message"]["content"] == "Hel"


def test_logprobs_give_mean_and_tail() -> None:
    tokens = [{"token": "a", "logprob": -0.1 * i} for i in range(20)]
    body = json.dumps({"choices": [{"index": 0, "logprobs": {"content": tokens}}]}).encode()
    answer = from_body("chat", body)
    assert answer.logprob_mean == pytest.approx(-0.95)
    assert answer.logprob_tail == pytest.approx(-1.85)  # the two worst of twenty


def test_completions_keep_their_text() -> None:
    frames = _frames(
        {"choices": [{"index": 0, "text": "a"}]}, {"choices": [{"index": 0, "text": "b"}]}
    )
    answer = from_stream("completion", frames)
    assert answer.content == {"choices": [{"index": 0, "text": "ab"}]}


def test_responses_keep_their_output() -> None:
    output = [{"type": "message"}]
    body = json.dumps({"id": "resp_1", "output": output}).encode()
    assert from_body("response", body).content == {"output": output}
    frames = b"event: response.completed\n" + _frames({"response": {"output": output}})
    assert from_stream("response", frames).content == {"output": output}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_answer_gives_none(body: bytes) -> None:
    assert from_body("chat", body).content is None
