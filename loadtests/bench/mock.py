"""An OpenAI-compatible engine that answers at once, so that a gateway's own cost is what is left.

python -m loadtests.bench.mock --port 9000 [--uds PATH] [--frames 35]

Three answers to `POST /v1/chat/completions`, chosen by what the body contains:

- a whole completion;
- with `"stream": true`, SSE frames as vLLM sends them, one write and one turn of the event loop
  each, so that they leave as segments of their own;
- with `paced:MS:N` in a message too, N frames MS milliseconds apart. The content of each is
  `t:` and the time at which it was written (`time.monotonic_ns`, 20 digits, one clock for all
  processes of a machine). In a message, since some gateways drop fields such as `user`.

Requests are read by hand and answers are made ahead: a framework would be the bottleneck.
"""

import argparse
import asyncio
import gc
import itertools
import json
import re
import time
from pathlib import Path
from typing import Any, cast

import uvloop

MODEL = "bench-model"
FRAMES = 35
TEXT = "The capital of France is Paris, and it has been so for most of the last thousand years."

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_STREAM = re.compile(rb'"stream": ?true')
_USAGE = re.compile(rb'"include_usage": ?true')
_PACED = re.compile(rb"paced:(\d+):(\d+)")

_CHAT = b"POST /v1/chat/completions "
_SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_ID_LENGTH = len("chatcmpl-") + 32
_ID_MARK = b"?" * _ID_LENGTH
_STAMP_MARK = b"t:" + b"?" * 20
# Ids differ between runs of the mock, as a store may outlive it.
_numbers = itertools.count(time.time_ns() << 32)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _response(status: str, body: bytes, kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nserver: uvicorn\r\ncontent-type: {kind}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def _chunk(event: bytes) -> bytes:
    data = b"data: %b\n\n" % event
    return b"%x\r\n%b\r\n" % (len(data), data)


def _usage(completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": 24,
        "total_tokens": 24 + completion_tokens,
        "completion_tokens": completion_tokens,
    }


def _event(choices: list[dict[str, Any]], **fields: object) -> bytes:
    """Return one frame as vLLM's chat stream has it, as an HTTP chunk."""
    return _chunk(
        _json(
            {
                "id": _ID_MARK.decode(),
                "object": "chat.completion.chunk",
                "created": 1764000000,
                "model": MODEL,
                "choices": choices,
                **fields,
            }
        )
    )


def _content(text: str, finish: str | None = None) -> bytes:
    delta = {"content": text}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _event([choice])


def _whole() -> bytes:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": TEXT,
        "refusal": None,
        "tool_calls": [],
    }
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": "stop",
        "stop_reason": None,
    }
    return _response(
        "200 OK",
        _json(
            {
                "id": _ID_MARK.decode(),
                "object": "chat.completion",
                "created": 1764000000,
                "model": MODEL,
                "choices": [choice],
                "usage": {**_usage(20), "prompt_tokens_details": None},
            }
        ),
    )


class Answers:
    """The bytes of all answers; the fixed-width id is all that is filled in.

    Args:
        frames: Content frames of a stream that is not paced.
    """

    def __init__(self, frames: int) -> None:
        words = [word + " " for word in TEXT.split()]
        texts = list(itertools.islice(itertools.cycle(words), frames - 1))
        self._whole = _whole().split(_ID_MARK)
        self._frames = [_content(text).split(_ID_MARK) for text in texts]
        self._frames.append(_content(".", "stop").split(_ID_MARK))
        self._usage = _event([], usage=_usage(frames)).split(_ID_MARK)
        self._paced = re.split(
            rb"(?:%b|%b)" % (re.escape(_ID_MARK), re.escape(_STAMP_MARK)),
            _content(_STAMP_MARK.decode()),
        )
        self.end = _chunk(b"[DONE]") + b"0\r\n\r\n"

    def new_id(self) -> bytes:
        """Return an id that no other answer has."""
        return b"chatcmpl-%032x" % (next(_numbers) & (1 << 128) - 1)

    def whole(self) -> bytes:
        """Return a whole completion, with its head."""
        return self.new_id().join(self._whole)

    def stream(self, with_usage: bool) -> list[bytes]:
        """Return the writes of a streamed completion, without its head."""
        new = self.new_id()
        writes = [new.join(parts) for parts in self._frames]
        if with_usage:
            writes.append(new.join(self._usage))
        writes.append(self.end)
        return writes

    def paced(self, new: bytes) -> bytes:
        """Return one frame that holds the present time."""
        before, between, after = self._paced
        return b"%b%b%bt:%020d%b" % (before, new, between, time.monotonic_ns(), after)


# What vllm-router and sglang-router ask a worker before they use it.
_PAGES: dict[bytes, bytes] = {
    b"/v1/models": _json(
        {
            "object": "list",
            "data": [
                {
                    "id": MODEL,
                    "object": "model",
                    "created": 1764000000,
                    "owned_by": "vllm",
                    "root": MODEL,
                    "max_model_len": 2048,
                }
            ],
        }
    ),
    b"/health": b"{}",
    b"/health_generate": b"{}",
    b"/ping": b"{}",
    b"/version": _json({"version": "0.32.0"}),
}
_INFO = _json({"model_path": MODEL, "served_model_name": MODEL, "is_generation": True})
for _name in (b"/get_model_info", b"/model_info", b"/get_server_info", b"/server_info"):
    _PAGES[_name] = _INFO
_METRICS = b"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 0\n"


def _page(path: bytes) -> bytes:
    if path == b"/metrics":
        return _response("200 OK", _METRICS, "text/plain; version=0.0.4")
    body = _PAGES.get(path)
    return _response("200 OK", body) if body else _response("404 Not Found", b"{}")


class MockEngine(asyncio.Protocol):
    """One connection; a request that comes during a stream waits for its end."""

    def __init__(self, answers: Answers, loop: asyncio.AbstractEventLoop) -> None:
        self._answers = answers
        self._loop = loop
        self._buffer = b""
        self._busy = False
        self._closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        self._serve()

    def _serve(self) -> None:
        while self._buffer and not self._busy:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end]
            match = _LENGTH.search(head)
            stop = end + 4 + (int(match[1]) if match else 0)
            if len(self._buffer) < stop:
                return
            body, self._buffer = self._buffer[end + 4 : stop], self._buffer[stop:]
            self._closing = _CLOSE.search(head) is not None
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if not head.startswith(_CHAT):
            path = head.split(b" ", 2)[1].partition(b"?")[0]
            self._transport.write(_page(path))
        elif not body and _CHUNKED.search(head):
            self._closing = True  # where the body ends is not known here
            self._transport.write(_response("411 Length Required", b"{}"))
        elif not _STREAM.search(body):
            self._transport.write(self._answers.whole())
        else:
            self._busy = True
            self._transport.write(_SSE_HEAD)
            if paced := _PACED.search(body):
                interval_s, frames = int(paced[1]) / 1000, int(paced[2])
                self._pace(self._answers.new_id(), frames, interval_s, self._loop.time())
            else:
                writes = self._answers.stream(_USAGE.search(body) is not None)
                self._loop.call_soon(self._stream, writes, 0)
            return
        self._end()

    def _stream(self, writes: list[bytes], index: int) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(writes[index])
        if index + 1 < len(writes):
            self._loop.call_soon(self._stream, writes, index + 1)
        else:
            self._end()

    def _pace(self, new: bytes, left: int, interval_s: float, due: float) -> None:
        if self._transport.is_closing():
            return
        if left:
            self._transport.write(self._answers.paced(new))
            due += interval_s
            self._loop.call_at(due, self._pace, new, left - 1, interval_s, due)
        else:
            self._transport.write(self._answers.end)
            self._end()

    def _end(self) -> None:
        if self._closing:
            self._transport.close()
        elif self._busy:
            self._busy = False
            self._serve()


async def serve(port: int | None, uds: Path | None, frames: int = FRAMES) -> None:
    """Answer on 127.0.0.1:`port` and on the Unix socket `uds`, whichever is given, for good."""
    loop = asyncio.get_running_loop()
    answers = Answers(frames)

    def connection() -> MockEngine:
        return MockEngine(answers, loop)

    servers: list[asyncio.Server] = []
    if port is not None:
        servers.append(await loop.create_server(connection, "127.0.0.1", port, backlog=2048))
    if uds is not None:
        servers.append(await loop.create_unix_server(connection, str(uds), backlog=2048))
    await asyncio.gather(*(server.serve_forever() for server in servers))


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="A mock OpenAI engine that answers at once.")
    parser.add_argument("--port", type=int)
    parser.add_argument("--uds", type=Path)
    parser.add_argument("--frames", type=int, default=FRAMES, help="content frames of a stream")
    arguments = parser.parse_args()
    if arguments.port is None and arguments.uds is None:
        parser.error("give --port, --uds or both")
    gc.disable()  # a pause here would look like one of the gateway
    uvloop.run(serve(arguments.port, arguments.uds, arguments.frames))


if __name__ == "__main__":
    main()
