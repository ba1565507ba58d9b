"""One call of a client: the request as it was read, and the answer as it is written.

`ClientConnection` fills it in and starts its flow; the relay answers through it. The answer goes to
the transport as bytes, one write for what is known at once.
"""

import os
from http import HTTPStatus
from typing import Final, Protocol

from gateway.errors import BodyTooLarge, GatewayError, RequestTimeout
from gateway.flow import Flow
from gateway.tracing.context import Trace

_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}
_STREAM: Final = (
    b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"x-accel-buffering: no\r\n"  # nginx would hold frames back
)


class Worker(Protocol):
    """What a call needs of the worker process."""

    draining: bool
    date_line: bytes


class Connection(Protocol):
    """What a call needs of the connection that it came on."""

    write_paused: bool

    @property
    def front(self) -> Worker: ...

    def write(self, data: bytes) -> None: ...
    def abort(self) -> None: ...
    def answered(self, call: "Call") -> None: ...


class ClientLeft(BaseException):
    """Raised inside the relay where it waits, once the client has closed its connection."""


class Call:
    """A request and its answer.

    Attributes:
        path: The path on the wire, without its query.
        body: The whole body, once the call begins.
        started: Loop time at which the body was complete, in seconds.
        release: Named in the answer's `x-driftgate-release`, once it is known.
        overhead_s: Time that the gateway itself took so far.
        limits: The `x-ratelimit-*` header lines, and what retrieval adds to them.
        begun: Whether a byte of the answer was written.
        trace: The trace that it belongs to, where requests are traced.
    """

    __slots__ = (
        "_chunked", "_connection", "authorization", "begun", "body", "content_length", "flow",
        "keep_alive", "left", "limits", "overhead_s", "path", "release", "request_id", "started",
        "trace",
    )  # fmt: skip

    def __init__(self, connection: Connection, flow: Flow, path: str) -> None:
        self._connection = connection
        self._chunked = True
        self.flow = flow
        self.path = path
        self.authorization: bytes | None = None
        self.content_length: int | None = None
        self.body = b""
        self.started = 0.0
        self.request_id = _request_id()
        self.release = b""
        self.overhead_s = 0.0
        self.limits = b""
        self.keep_alive = True
        self.begun = False
        self.left = False
        self.trace: Trace | None = None

    def engine_lines(self) -> bytes:
        """Return the header lines with which an engine is asked."""
        lines = b"content-type: application/json\r\nx-request-id: %b\r\n" % self.request_id
        return lines if self.trace is None else lines + self.trace.asks()

    def leave(self) -> None:
        """The client has gone: end the flow where it waits."""
        self.left = True
        self.flow.throw(ClientLeft())

    def whole(self, status: int, content_type: bytes, body: bytes) -> None:
        """Write the whole answer and end the call."""
        head = b"content-type: %b\r\ncontent-length: %d\r\n" % (content_type, len(body))
        self._write(self._head(status, head) + body)
        self._end()

    async def frames(self, data: bytes, timeout_s: float) -> None:
        """Write frames of a stream, the head before the first of them.

        Raises:
            ClientLeft: The client took nothing for `timeout_s` seconds.
        """
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if not self.begun:
            framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
            data = self._head(200, _STREAM + framing) + data
        self._write(data)
        try:
            while self._connection.write_paused:
                await self.flow.wait(timeout_s)
        except TimeoutError:
            self._connection.abort()
            raise ClientLeft from None

    def end(self) -> None:
        """End a stream."""
        if self._chunked:
            self._write(b"0\r\n\r\n")
        self._end()

    def fail(self, error: GatewayError) -> None:
        """Write an error as the answer; after a begun answer there is only closing."""
        if self.begun:
            self._connection.abort()
            return
        if isinstance(error, BodyTooLarge | RequestTimeout):
            self.keep_alive = False  # the rest of the body is not read
        lines = _lines(error.headers())
        body = error.body()
        head = b"content-type: application/json\r\ncontent-length: %d\r\n%b" % (len(body), lines)
        self._write(self._head(error.status, head) + body)
        self._end()

    def speak_http_1_0(self) -> None:
        """Answer a client that knows no chunks: the end of the connection ends a stream."""
        self._chunked = False
        self.keep_alive = False

    def _head(self, status: int, lines: bytes) -> bytes:
        self.begun = True
        if self._connection.front.draining:
            self.keep_alive = False
        head = b"%b%b%b%bx-request-id: %b\r\n" % (
            _STATUS_LINES[status], self._connection.front.date_line, lines, self.limits,
            self.request_id,
        )  # fmt: skip
        if self.release:
            head += b"x-driftgate-release: %b\r\nx-driftgate-overhead-ms: %.3f\r\n" % (
                self.release,
                self.overhead_s * 1000,
            )
        return head + (b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")

    def _write(self, data: bytes) -> None:
        if not self.left:
            self._connection.write(data)

    def _end(self) -> None:
        self._connection.answered(self)


def _lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % (name, value) for name, value in headers])


class _RandomIds:
    """Random 128-bit ids in hex; asks the kernel once for many of them."""

    def __init__(self) -> None:
        self._ids: list[bytes] = []

    def __call__(self) -> bytes:
        if not self._ids:
            digits = os.urandom(16 * 256).hex().encode()
            self._ids = [digits[i : i + 32] for i in range(0, len(digits), 32)]
        return self._ids.pop()


_request_id = _RandomIds()
