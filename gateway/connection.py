"""One connection to an engine: an asyncio protocol on httptools, and what can go wrong with it."""

import asyncio
import socket
from typing import Final, cast

import httptools

from gateway.flow import Flow

# Reading from the engine pauses while this much of an answer waits for the client.
_HIGH_WATER: Final = 256 * 1024
# What the kernel may hold of it beside that. By itself a TCP buffer grows with what comes, up to
# net.ipv4.tcp_rmem (32 MiB in new kernels), for each stream whose client does not read.
_RECEIVE_BUFFER: Final = 256 * 1024


class UpstreamError(Exception):
    """Base of what can go wrong between the gateway and an engine."""


class ConnectFailed(UpstreamError):
    """The engine does not accept connections."""


class ConnectionBroken(UpstreamError):
    """The engine closed the connection before its answer ended."""


class BadAnswer(ConnectionBroken):
    """The engine answered what is not HTTP, or more than is allowed."""


class UpstreamTimeout(UpstreamError):
    """The engine was silent for longer than allowed."""


class Connection:
    """One connection, an asyncio protocol; serves one request at a time.

    Not derived from `asyncio.Protocol`: what derives from an interpreted class is not compiled to a
    native one, whose attributes are fields.
    """

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.parser = httptools.HttpResponseParser(self)
        self.closed = False
        self.idle_since = 0.0
        self.flow: Flow | None = None
        self.start_request(None)

    def start_request(self, flow: Flow | None) -> None:
        self.flow = flow
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.head_done = False
        self.keep_alive = False
        self.complete = False
        self.started = False
        self.chunks: list[bytes] = []
        self.buffered = 0
        self.paused = False
        self.error: UpstreamError | None = None

    # the transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        kernel_socket = transport.get_extra_info("socket")
        if kernel_socket.family != socket.AF_UNIX:  # what that holds is its sender's, and bounded
            kernel_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)

    def data_received(self, data: bytes) -> None:
        self.started = True
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.fail(BadAnswer(f"the engine's answer is not HTTP: {error}"))
        if self.buffered > _HIGH_WATER and not self.paused and self.transport is not None:
            self.paused = True
            self.transport.pause_reading()
        if self.flow is not None:
            self.flow.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if not self.complete:
            if self.head_done and not self._is_framed():
                self.complete = True  # an answer without a length ends with its connection
            else:
                self.error = self.error or ConnectionBroken("the engine closed the connection")
        if self.flow is not None:
            self.flow.wake()

    def eof_received(self) -> None:
        """Let the transport close."""

    def pause_writing(self) -> None:
        """A request is sent at once, whatever the engine still has to read."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    # httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()
        # Asked now: after the last chunk the parser has forgotten that the body was chunked.
        self.keep_alive = self.parser.should_keep_alive()
        self.head_done = True

    def on_body(self, body: bytes) -> None:
        self.chunks.append(body)
        self.buffered += len(body)

    def on_message_complete(self) -> None:
        self.complete = True

    # used by Exchange

    def fail(self, error: UpstreamError) -> None:
        self.error = self.error or error
        self.closed = True
        if self.transport is not None:
            self.transport.abort()

    def write(self, flow: Flow, message: bytes) -> None:
        if self.transport is None or self.closed:
            raise ConnectionBroken("the connection is closed")
        flow.outbox.write(self.transport, message)

    def abort(self) -> None:
        self.closed = True
        self.flow = None
        if self.transport is not None:
            self.transport.abort()

    def _is_framed(self) -> bool:
        framing = (b"content-length", b"transfer-encoding")
        return any(name.lower() in framing for name, _ in self.headers)
