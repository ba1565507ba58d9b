"""A scripted engine and a scripted retrieval service, for tests of grounded requests."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec

from retrieval.protocol import frame, read_frame
from retrieval.records import Document, Found, Hit, Passage, Search
from retrieval.requests import Answer, Find, Request


def hit(
    document: str, text: str, *, collection: str = "vs_mine", updated_at: float = 0.0,
    score: float = 0.8, **metadata: Any,
) -> Hit:  # fmt: skip
    """A passage that is a whole document."""
    return Hit(
        collection=collection,
        document=Document(
            id=document, title=document, file_id=f"file-{document}", filename=f"{document}.md",
            updated_at=updated_at, metadata=metadata,
        ),
        passage=Passage(number=0, text=text),
        score=score,
        dense=score,
    )  # fmt: skip


@dataclass
class ScriptedService:
    """Answers every search with `found`, after `delay_s`."""

    path: Path
    found: Found = field(default_factory=lambda: Found(hits=()))
    delay_s: float = 0.0
    error: str = ""
    searches: list[Search] = field(default_factory=list)
    answering: set[asyncio.Task[None]] = field(default_factory=set)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator["ScriptedService"]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        ready = threading.Event()
        loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

        async def serve() -> None:
            stop = asyncio.Event()
            loops.append((asyncio.get_running_loop(), stop))
            server = await asyncio.start_unix_server(self._connection, self.path)
            ready.set()
            await stop.wait()
            server.close()
            for writer in self.writers:
                writer.close()
            await asyncio.sleep(0.01)

        thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
        thread.start()
        ready.wait(5)
        try:
            yield self
        finally:
            loop, stop = loops[0]
            loop.call_soon_threadsafe(stop.set)
            thread.join(5)
            self.path.unlink(missing_ok=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(EOFError, OSError):
            while True:
                request = msgspec.msgpack.decode(await read_frame(reader), type=Request)
                if not isinstance(request, Find):
                    continue
                self.searches.append(request.search)
                answering = asyncio.create_task(self._answer(request, writer, self.delay_s))
                self.answering.add(answering)
                answering.add_done_callback(self.answering.discard)
        writer.close()

    async def _answer(self, request: Find, writer: asyncio.StreamWriter, delay_s: float) -> None:
        answer = (
            Answer(request.id, error=self.error)
            if self.error
            else Answer(request.id, found=self.found)
        )
        await asyncio.sleep(delay_s)
        with contextlib.suppress(OSError):
            writer.write(frame(answer))


@dataclass
class ScriptedEngine:
    """Says `grounded` where the prompt has passages, else `plain`, one word a token."""

    plain: str = "I think so."
    grounded: str = "It is blue."
    logprob: float = -0.1
    refuses_grounded: bool = False
    word_s: float = 0.0
    breaks_after: int = 10**6
    bodies: list[dict[str, Any]] = field(default_factory=list)
    left: int = 0

    def forget(self) -> None:
        """Be as new."""
        fresh = ScriptedEngine()
        for name in ("plain", "grounded", "logprob", "refuses_grounded", "word_s", "breaks_after"):
            setattr(self, name, getattr(fresh, name))
        self.bodies.clear()
        self.left = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        engine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                self._send(200, b"{}")

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                engine.bodies.append(body)
                try:
                    self._answer(body)
                except OSError:
                    engine.left += 1
                    self.close_connection = True

            def _answer(self, body: dict[str, Any]) -> None:
                grounded = "<passages>" in json.dumps(body)
                if grounded and engine.refuses_grounded:
                    self._send(400, b'{"error": {"message": "too long"}}')
                    return
                words = (engine.grounded if grounded else engine.plain).split(" ")
                words = [words[0], *(" " + word for word in words[1:])]
                if "input" in body:
                    self._response(body, words)
                elif body.get("stream"):
                    self._stream(body, words)
                else:
                    self._whole(body, words)

            def _whole(self, body: dict[str, Any], words: list[str]) -> None:
                time.sleep(engine.word_s * len(words))
                message = {"role": "assistant", "content": "".join(words)}
                choice = {
                    "index": 0, "message": message, "finish_reason": "stop",
                    "logprobs": self._logprobs(body, words),
                }  # fmt: skip
                usage = {"prompt_tokens": 7, "completion_tokens": len(words), "total_tokens": 0}
                answer = {"id": self._id(), "choices": [choice], "usage": usage}
                self._send(200, json.dumps(answer).encode())

            def _stream(self, body: dict[str, Any], words: list[str]) -> None:
                self._head()

                def chunk(delta: Any, reason: str | None = None, said: Any = ()) -> None:
                    choice = {
                        "index": 0, "delta": delta, "finish_reason": reason,
                        "logprobs": self._logprobs(body, list(said)),
                    }  # fmt: skip
                    self._frame({"id": self._id(), "choices": [choice]})

                chunk({"role": "assistant", "content": ""})
                for number, word in enumerate(words):
                    if number == engine.breaks_after:
                        self.close_connection = True
                        return
                    time.sleep(engine.word_s)
                    chunk({"content": word}, said=[word])
                chunk({}, "stop")
                usage = {"prompt_tokens": 7, "completion_tokens": len(words)}
                if body.get("stream_options", {}).get("include_usage"):
                    self._frame({"id": self._id(), "choices": [], "usage": usage})
                self._chunk(b"data: [DONE]\n\n")
                self._chunk(b"")

            def _response(self, body: dict[str, Any], words: list[str]) -> None:
                from gateway.engines import echo_answers
                from gateway.engines.echo_requests import ResponsesRequest

                request = ResponsesRequest(input="".join(words), stream=body.get("stream"))
                if not body.get("stream"):
                    answer, _ = echo_answers.response(request, self._id("resp_"), "m")
                    self._send(200, msgspec.json.encode(answer))
                    return
                self._head()
                for each, _ in echo_answers.response_frames(request, self._id("resp_"), "m"):
                    self._chunk(each)
                self._chunk(b"")

            def _logprobs(self, body: dict[str, Any], words: list[str]) -> Any:
                if not body.get("logprobs") or not words:
                    return None
                return {"content": [{"token": w, "logprob": engine.logprob} for w in words]}

            def _id(self, prefix: str = "chatcmpl-") -> str:
                return prefix + (self.headers["x-request-id"] or "1")

            def _head(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()

            def _frame(self, document: Any) -> None:
                self._chunk(b"data: %b\n\n" % json.dumps(document, separators=(",", ":")).encode())

            def _chunk(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
                self.wfile.flush()

            def _send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()
