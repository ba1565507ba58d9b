"""Raw HTTP/1.1 over sockets, for tests of what the gateway makes of it byte by byte."""

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import psutil

from tests.gateway.running import RunningGateway

CHAT = "/v1/chat/completions"
_TIMEOUT_S = 3


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The error's code; the answer is in the one shape of errors."""
        error = json.loads(self.body)["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert self.headers["content-type"] == "application/json"
        return str(error["code"])

    @property
    def text(self) -> str:
        """The text of a chat completion, streamed or not."""
        if self.headers["content-type"].startswith("text/event-stream"):
            frames = self.body.decode().split("\n\n")
            assert frames[-2:] == ["data: [DONE]", ""]
            choices = [json.loads(f.removeprefix("data: "))["choices"] for f in frames[:-2]]
            return "".join(c[0]["delta"].get("content") or "" for c in choices if c)
        return str(json.loads(self.body)["choices"][0]["message"]["content"])


class Client:
    """A connection that sends what it is told and reads answers one by one."""

    def __init__(self, gateway: RunningGateway, receive_buffer: int = 0) -> None:
        parts = urlsplit(gateway.url)
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(_TIMEOUT_S)
        self.socket.connect((parts.hostname, parts.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self.socket.close()

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)

    def head(self) -> tuple[int, dict[str, str]]:
        """Read the head of an answer."""
        first = self._file.readline()
        assert first.startswith(b"HTTP/1.1 "), first
        headers = {}
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").strip().partition(": ")
            headers[name] = value
        return int(first.split()[1]), headers

    def answer(self, method: str = "POST") -> Answer:
        """Read a whole answer."""
        status, headers = self.head()
        if method == "HEAD":
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body = b"".join(self._chunks())
        elif "content-length" in headers:
            body = self._exactly(int(headers["content-length"]))
        else:
            assert headers["connection"] == "close"
            body = self._file.read()
        return Answer(status, headers, body)

    def is_closed(self) -> bool:
        """Return whether the gateway closes the connection and sends nothing more before that."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def _chunks(self) -> Iterator[bytes]:
        while True:
            size = int(self._file.readline(), 16)
            yield self._exactly(size)
            assert self._file.readline() == b"\r\n"
            if size == 0:
                return

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        assert len(data) == size, f"{len(data)} of {size} bytes"
        return data


def head_of(
    gateway: RunningGateway,
    method: str = "POST",
    path: str = CHAT,
    version: str = "1.1",
    key: str | None = None,
    **headers: str,
) -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: x"]
    lines.append(f"Authorization: Bearer {gateway.key if key is None else key}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def chat_body(text: str = "one two three", **fields: Any) -> bytes:
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": "production", "messages": messages, **fields}).encode()


def request_of(gateway: RunningGateway, body: bytes | None = None, **head: Any) -> bytes:
    body = chat_body() if body is None else body
    return head_of(gateway, content_length=str(len(body)), **head) + body


def get_of(gateway: RunningGateway, path: str, **headers: str) -> bytes:
    return head_of(gateway, "GET", path, **headers)


def slow_body(text: str, seconds: float = 0.15, **fields: Any) -> bytes:
    return chat_body(text, metadata={"echo_first_delay_s": str(seconds)}, **fields)


def still_serves(client: Client, gateway: RunningGateway) -> None:
    client.send(request_of(gateway, chat_body("still here")))
    assert client.answer().text == "still here"


def workers(gateway: RunningGateway) -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            ours = process.environ().get("DRIFTGATE_HOME") == str(gateway.home)
            if ours and "gateway.worker" in process.cmdline():
                found.append(process)
    return found
