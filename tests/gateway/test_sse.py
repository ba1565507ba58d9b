"""The frame scanner: whole frames, the usage frame hidden, errors translated, ends noticed."""

import json

import pytest

from gateway.sse import FrameScanner, Usage, engine_message, scan_finish, scan_id, scan_usage


def _frame(**fields: object) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def _choice(content: str, finish: str | None = None) -> bytes:
    return _frame(
        id="chatcmpl-1",
        choices=[{"index": 0, "delta": {"content": content}, "finish_reason": finish}],
    )


_USAGE_FRAME = _frame(
    id="chatcmpl-1", choices=[], usage={"prompt_tokens": 7, "completion_tokens": 2}
)
_STREAM = _choice("") + _choice("Hi") + _choice("!", "stop") + _USAGE_FRAME + b"data: [DONE]\n\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
def test_any_split_gives_the_same_bytes_and_findings(size: int) -> None:
    scanner = FrameScanner()
    out = b"".join(scanner.feed(_STREAM[i : i + size]) for i in range(0, len(_STREAM), size))
    assert out == _STREAM
    assert scanner.done
    assert scanner.saw_token
    assert scanner.completion_id == "chatcmpl-1"
    assert scanner.finish_reason == "stop"
    assert scanner.usage() == Usage(7, 2)
    assert scanner.error is None


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_usage_that_only_the_gateway_asked_for_is_hidden_but_known(size: int) -> None:
    scanner = FrameScanner(hide_usage=True)
    out = b"".join(scanner.feed(_STREAM[i : i + size]) for i in range(0, len(_STREAM), size))
    assert out == _STREAM.replace(_USAGE_FRAME, b"")
    assert scanner.usage() == Usage(7, 2)


def test_usage_inside_an_answer_is_text_not_usage() -> None:
    scanner = FrameScanner(hide_usage=True)
    frame = _choice('"choices":[], "usage":{"prompt_tokens":1} data: [DONE]')
    assert scanner.feed(frame) == frame
    assert scanner.usage() is None
    assert not scanner.done


def test_half_a_frame_is_held_back() -> None:
    scanner = FrameScanner()
    assert scanner.feed(b'data: {"choices"') == b""
    assert scanner.pending_bytes == 16
    assert not scanner.done


def test_the_role_frame_is_no_token() -> None:
    scanner = FrameScanner()
    scanner.feed(_frame(choices=[{"delta": {"role": "assistant", "content": ""}}]))
    assert not scanner.saw_token
    scanner.feed(_choice("x"))
    assert scanner.saw_token


def test_an_engine_error_becomes_openais_error_object() -> None:
    scanner = FrameScanner()
    out = scanner.feed(b'data: {"error": {"message": "out of memory", "code": 500}}\n\n')
    assert scanner.error == "out of memory"
    body = json.loads(out.removeprefix(b"data: "))
    assert body == {
        "error": {
            "message": "out of memory", "type": "engine_error", "param": None,
            "code": "engine_error",
        }
    }  # fmt: skip


@pytest.mark.parametrize(
    ("event", "error"), [("completed", False), ("incomplete", False), ("failed", True)]
)
def test_a_responses_stream_ends_with_its_last_event(event: str, error: bool) -> None:
    scanner = FrameScanner()
    scanner.feed(b'event: response.created\ndata: {"response": {"id": "resp_9"}}\n\n')
    assert not scanner.done
    scanner.feed(
        f"event: response.{event}\n".encode()
        + _frame(response={"usage": {"input_tokens": 3, "output_tokens": 4}})
    )
    assert scanner.done
    assert (scanner.error is not None) is error
    assert scanner.completion_id == "resp_9"
    assert scanner.usage() == Usage(3, 4)


def test_whole_answers_are_scanned_without_decoding() -> None:
    body = json.dumps(
        {
            "id": "cmpl-3",
            "choices": [{"text": '"usage": {"prompt_tokens": 99}', "finish_reason": "length"}],
            "usage": {"prompt_tokens": 5, "total_tokens": 11, "completion_tokens": 6},
        }
    ).encode()
    assert scan_usage(body) == Usage(5, 6)
    assert scan_id(body) == "cmpl-3"
    assert scan_finish(body) == "length"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b'{"error": {"message": "bad"}}', "bad"),
        (b'{"message": "bad"}', "bad"),
        (b'{"error": "bad"}', "bad"),
        (b"<html>", "the engine answered with an error"),
        (b"[" * 100_000, "the engine answered with an error"),
    ],
)
def test_engine_messages_in_any_shape(document: bytes, message: str) -> None:
    assert engine_message(document) == message
