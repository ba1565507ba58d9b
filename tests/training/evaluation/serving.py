"""A small OpenAI-compatible server whose answers a test decides."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# From the body of a request to the answer, or to a status and an error's message.
Reply = Callable[[dict[str, Any]], str | tuple[int, str]]


@dataclass
class Served:
    """A running server: its spec, and what it was asked."""

    spec: str
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def asked(self) -> Counter[str]:
        """How often each last turn was asked."""
        return Counter(body["messages"][-1]["content"] for body in self.bodies)


@contextmanager
def serve(reply: Reply, *, whole: bool = False, cut: bool = False) -> Iterator[Served]:
    """Serve a model `m`; `whole` answers without a stream, `cut` ends streams too early."""
    served = Served("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            served.bodies.append(body)
            served.headers.append({k.lower(): v for k, v in self.headers.items()})
            found = reply(body)
            if isinstance(found, tuple):
                self._send(found[0], "application/json", _error(found[1]))
            elif whole:
                self._send(200, "application/json", json.dumps(_completion(found)).encode())
            else:
                self._send(200, "text/event-stream", _frames(found, cut))

        def _send(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            if status == 429:
                self.send_header("retry-after", "0")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.spec = f"http://127.0.0.1:{server.server_port}/v1#m"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def question(body: dict[str, Any]) -> str:
    """The last turn of a request."""
    return str(body["messages"][-1]["content"])


def _error(message: str) -> bytes:
    return json.dumps({"error": {"message": message}}).encode()


def _usage(text: str) -> dict[str, int]:
    return {"prompt_tokens": 7, "completion_tokens": len(text.split())}


def _completion(text: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": _usage(text)}


def _frames(text: str, cut: bool) -> bytes:
    words = text.split(" ")
    pieces = [word + (" " if n + 1 < len(words) else "") for n, word in enumerate(words)]
    frames: list[dict[str, Any]] = [{"choices": [{"delta": {"role": "assistant", "content": ""}}]}]
    frames += [{"choices": [{"delta": {"content": piece}}]} for piece in pieces]
    frames += [{"choices": [{"delta": {}, "finish_reason": "stop"}]}]
    frames += [{"choices": [], "usage": _usage(text)}]
    sent = "".join(f"data: {json.dumps(frame)}\n\n" for frame in frames)
    return (sent if cut else sent + "data: [DONE]\n\n").encode()
