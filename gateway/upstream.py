"""The HTTP/1.1 client to engines: one asyncio protocol on httptools with a keep-alive pool.

A general client pays for redirects, cookies, proxies and URL parsing on each request; an engine
needs none of them. Body chunks are handed on as the kernel gave them, the flow that waits for them
goes on within the socket's callback, and reading pauses while the client is slower than the engine.
"""

import asyncio
import time
from types import TracebackType
from typing import Any, Final, Self

import httptools

from gateway.connection import (
    BadAnswer,
    ConnectFailed,
    Connection,
    ConnectionBroken,
    UpstreamTimeout,
)
from gateway.flow import Flow

# vLLM's uvicorn closes an idle connection after 5 s; one that is nearly that old is not reused.
_IDLE_LIMIT_S: Final = 4.0
_MAX_IDLE: Final = 256


class Exchange:
    """One request and its answer; leaving the `with` block early aborts the engine's work."""

    __slots__ = ("_connection", "_flow", "_pool", "headers", "status")

    def __init__(self, pool: "Upstream", connection: Connection, flow: Flow) -> None:
        self._pool = pool
        self._connection = connection
        self._flow = flow
        self.status = connection.status
        self.headers = connection.headers

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.release(self._connection)

    def header(self, name: bytes) -> bytes:
        """Return the value of a header (lower-case name), or an empty string."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return b""

    async def read(self, timeout_s: float) -> bytes:
        """Return what has arrived of the body, waiting for more; an empty string is the end.

        Raises:
            ConnectionBroken: The connection ended before the answer did.
            UpstreamTimeout: Nothing arrived for `timeout_s` seconds.
        """
        connection = self._connection
        while not connection.chunks:
            if connection.complete:
                return b""
            if connection.error is not None:
                raise connection.error
            try:
                await self._flow.wait(timeout_s)
            except TimeoutError:
                raise _silent(timeout_s) from None
        chunks = connection.chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        connection.buffered = 0
        if connection.paused and connection.transport is not None and not connection.closed:
            connection.paused = False
            connection.transport.resume_reading()
        return data

    async def read_all(self, timeout_s: float, limit: int) -> bytes:
        """Return the whole body of at most `limit` bytes; BadAnswer above it."""
        connection = self._connection
        if connection.complete and len(connection.chunks) == 1 and connection.buffered <= limit:
            return connection.chunks.pop()  # it came in one read, as short answers do
        parts: list[bytes] = []
        size = 0
        while part := await self.read(timeout_s):
            size += len(part)
            if size > limit:
                raise BadAnswer(f"the engine's answer is larger than {limit} bytes")
            parts.append(part)
        return b"".join(parts)


class Upstream:
    """A pool of connections to one engine.

    Args:
        address: `unix:/path/to.sock` or `http://host:port`.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._idle: list[Connection] = []
        self._path = ""
        self._host, self._port = "", 0
        if address.startswith("unix:"):
            self._path = address.removeprefix("unix:")
            self._host_header = b"engine"
        else:
            url = httptools.parse_url(address.encode())
            self._host = url.host.decode()
            self._port = url.port or 80
            self._host_header = f"{self._host}:{self._port}".encode()

    async def request(
        self,
        flow: Flow,
        method: bytes,
        path: bytes,
        headers: bytes,
        body: bytes,
        *,
        connect_timeout_s: float,
        head_timeout_s: float,
    ) -> Exchange:
        """Send a request and return once the head of the answer is there.

        Args:
            flow: Who waits.
            method: The HTTP method.
            path: The path with its query.
            headers: Further header lines, each ended by CRLF.
            body: The whole body.
            connect_timeout_s: Time to connect, in seconds.
            head_timeout_s: Time until the head of the answer, in seconds.

        Raises:
            ConnectFailed: No connection within `connect_timeout_s`.
            ConnectionBroken: The engine closed the connection before the head of its answer.
            UpstreamTimeout: No head within `head_timeout_s`.
        """
        message = b"%b %b HTTP/1.1\r\nhost: %b\r\ncontent-length: %d\r\n%b\r\n%b" % (
            method, path, self._host_header, len(body), headers, body,
        )  # fmt: skip
        while True:
            connection = self._reuse()
            reused = connection is not None
            if connection is None:
                connection = await self._connect(flow, connect_timeout_s)
            connection.start_request(flow)
            try:
                connection.write(flow, message)
                while not connection.head_done:
                    if connection.error is not None:
                        raise connection.error
                    try:
                        await flow.wait(head_timeout_s)
                    except TimeoutError:
                        raise _silent(head_timeout_s) from None
            except ConnectionBroken:
                connection.abort()
                if reused and not connection.started:
                    continue  # it had been closed while idle, before it saw the request
                raise
            except BaseException:
                connection.abort()
                raise
            return Exchange(self, connection, flow)

    def release(self, connection: Connection) -> None:
        """Take a connection back; one whose answer has not ended is closed."""
        reusable = (
            connection.complete
            and not connection.closed
            and not connection.chunks
            and connection.keep_alive
        )
        if not reusable or len(self._idle) >= _MAX_IDLE:
            connection.abort()
            return
        connection.flow = None
        connection.started = False
        connection.idle_since = time.monotonic()
        self._idle.append(connection)

    def close(self) -> None:
        """Close the idle connections."""
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    def _reuse(self) -> Connection | None:
        oldest = time.monotonic() - _IDLE_LIMIT_S
        while self._idle:
            connection = self._idle.pop()  # the most recently used is the least likely to be closed
            if not connection.closed and not connection.started and connection.idle_since > oldest:
                return connection
            connection.abort()
        return None

    async def _connect(self, flow: Flow, timeout_s: float) -> Connection:
        protocol: Any = Connection
        if self._path:
            connecting = flow.loop.create_unix_connection(protocol, self._path)
        else:
            connecting = flow.loop.create_connection(protocol, self._host, self._port)
        task = asyncio.ensure_future(connecting)
        try:
            made = await flow.result_of(task, timeout_s)
        except (OSError, TimeoutError) as error:
            task.add_done_callback(_discard)
            reason = error or f"no connection within {timeout_s:g} s"
            raise ConnectFailed(f"cannot connect to {self.address}: {reason}") from error
        except BaseException:
            task.add_done_callback(_discard)
            raise
        connection: Connection = made[1]
        return connection


def _discard(task: "asyncio.Task[tuple[asyncio.BaseTransport, Connection]]") -> None:
    """Close a connection that was made in the very turn in which nobody wanted it any more."""
    if not task.cancelled() and task.exception() is None:
        task.result()[1].abort()


def _silent(timeout_s: float) -> UpstreamTimeout:
    return UpstreamTimeout(f"the engine was silent for {timeout_s:g} s")
