"""A scripted engine: it echoes a chat's last message as vLLM would, or misbehaves when told to.

In the scenario's own process it is told by `mode`; as a process of its own (`engine_process`) it
can be killed and stopped. The message's first word may set its pace: `pace=0.02` is 20 ms a word.
"""

import asyncio
import time
from enum import StrEnum
from typing import Any, cast

import httptools
import msgspec

from loadtests.bench.process import free_port

_SSE = b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
MODEL = "chaos-1"


class Mode(StrEnum):
    """How the engine answers completions."""

    GOOD = "good"
    GARBAGE = "garbage"
    HALF_FRAME = "half a frame"
    ERROR_500 = "500s"


class ScriptedEngine:
    """An engine on a TCP port of the loopback address.

    Attributes:
        mode: How it answers from now on; `/health` stays good but for garbage.
        running: Completions under way.
        served: Completions begun so far.
    """

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.mode = Mode.GOOD
        self.running = 0
        self.served = 0
        self._server: asyncio.Server | None = None
        self.connections: set[_Connection] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def listen(self) -> None:
        """Take connections."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", self.port, backlog=2048
        )

    async def refuse(self) -> None:
        """Close every connection and refuse new ones, until `listen`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self.connections):
            connection.abort()
        while self.connections:  # noqa: ASYNC110 - they leave in callbacks
            await asyncio.sleep(0.01)

    async def __aenter__(self) -> "ScriptedEngine":
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()


class _Connection(asyncio.Protocol):
    def __init__(self, engine: ScriptedEngine) -> None:
        self._engine = engine
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._reset()

    def _reset(self) -> None:
        self._url = self._body = b""
        self._id = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._engine.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._engine.connections.discard(self)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.abort()

    def on_message_begin(self) -> None:
        self._reset()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-request-id":
            self._id = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._parser.get_method() != b"POST":
            self._look(self._url)
            return
        self._task = asyncio.create_task(self._answer(self._body, self._id))

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _look(self, path: bytes) -> None:
        if self._engine.mode is Mode.GARBAGE:
            self._send(b"\x16\x03\x01 what?\r\n\r\n")
            self.abort()
        elif path == b"/metrics":
            gauge = f'vllm:num_requests_running{{engine="0"}} {float(self._engine.running)}\n'
            self._whole(200, gauge.encode(), b"text/plain")
        else:
            self._whole(200, b"{}")

    async def _answer(self, body: bytes, id: str) -> None:
        engine = self._engine
        engine.running += 1
        engine.served += 1
        try:
            request = msgspec.json.decode(body)
            words = request["messages"][-1]["content"].split(" ")
            pace = float(words[0][5:]) if words[0].startswith("pace=") else 0.0
        except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError, AttributeError):
            engine.running -= 1
            self._whole(400, b'{"error": {"message": "not a chat", "type": "BadRequestError"}}')
            return
        try:
            await self._act(request, words, pace, f"chatcmpl-{id or engine.served}")
        finally:
            engine.running -= 1

    async def _act(self, request: dict[str, Any], words: list[str], pace: float, id: str) -> None:
        mode, late = self._engine.mode, self._engine.served % 2 == 0
        if mode is Mode.ERROR_500:
            self._whole(500, b'{"error": {"message": "CUDA error", "type": "InternalServerError"}}')
        elif mode is Mode.GOOD and not request.get("stream"):
            await asyncio.sleep(pace * len(words))
            self._whole(200, _document(id, words))
        elif mode is Mode.GOOD:
            await self._stream(request, words, pace, id)
        elif mode is Mode.GARBAGE and not (late and request.get("stream")):
            self._send(b"\x16\x03\x01\x02 what?\r\n\r\n")
            self.abort_soon()
        elif request.get("stream"):
            self._send(b"HTTP/1.1 200 OK\r\n%b\r\n" % _SSE)
            if late:
                self._frame(_delta(id, words[0]))
                await asyncio.sleep(pace)
            broken = b"not a chunk" if mode is Mode.GARBAGE else _chunk(_delta(id, "x")[:30])
            self._send(broken)
            self.abort_soon()
        else:
            document = _document(id, words)
            self._send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(document))
            self._send(document[: len(document) // 2])
            self.abort_soon()

    async def _stream(
        self, request: dict[str, Any], words: list[str], pace: float, id: str
    ) -> None:
        self._send(b"HTTP/1.1 200 OK\r\n%b\r\n" % _SSE)
        self._frame(_event(id, [{"index": 0, "delta": {"role": "assistant", "content": ""}}]))
        for at, word in enumerate(words):
            if pace:
                await asyncio.sleep(pace)
            self._frame(_delta(id, f" {word}" if at else word))
        self._frame(_event(id, [{"index": 0, "delta": {}, "finish_reason": "stop"}]))
        if (request.get("stream_options") or {}).get("include_usage"):
            self._frame(_event(id, [], usage=_usage(words)))
        self._frame(b"data: [DONE]\n\n")
        self._send(b"0\r\n\r\n")

    def _frame(self, frame: bytes) -> None:
        self._send(_chunk(frame))

    def _whole(self, status: int, body: bytes, kind: bytes = b"application/json") -> None:
        head = b"HTTP/1.1 %d X\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
        self._send(head % (status, kind, len(body)) + body)

    def _send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def abort_soon(self) -> None:
        """Close once what was written has gone out."""
        if self._transport is not None:
            self._transport.close()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(id: str, choices: list[dict[str, Any]], **more: Any) -> bytes:
    head = {"id": id, "object": "chat.completion.chunk", "created": int(time.time())}
    document = msgspec.json.encode({**head, "model": MODEL, "choices": choices, **more})
    return b"data: %b\n\n" % document


def _delta(id: str, word: str) -> bytes:
    return _event(id, [{"index": 0, "delta": {"content": word}, "finish_reason": None}])


def _usage(words: list[str]) -> dict[str, int]:
    count = len(words)
    return {"prompt_tokens": count, "completion_tokens": count, "total_tokens": 2 * count}


def _document(id: str, words: list[str]) -> bytes:
    message = {"role": "assistant", "content": " ".join(words)}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    head = {"id": id, "object": "chat.completion", "created": int(time.time()), "model": MODEL}
    return msgspec.json.encode({**head, "choices": choices, "usage": _usage(words)})
