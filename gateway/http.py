"""The server's side of HTTP/1.1: hot calls go straight to the relay, all others to FastAPI.

Built on uvicorn's protocol, which keeps serving every other route as ASGI. A hot call leaves out
what ASGI costs it: the scope, a task, an event, three messages and their checks (`ARCHITECTURE.md`
has the figures). Time limits are kept by one sweep over all connections instead of a timer each.
"""

import asyncio
from collections import deque
from typing import Any, cast
from urllib.parse import unquote_to_bytes

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.call import Call
from gateway.errors import (
    BodyTooLarge,
    GatewayError,
    HeadersTooLarge,
    InvalidRequest,
    RequestTimeout,
    Unavailable,
)
from gateway.flow import Flow
from gateway.front import Front

# A client that is still sending while it is refused must be read on, or the kernel resets the
# connection and the answer is lost with it (RFC 9112, section 9.6).
_LINGER_S = 2.0
_MAX_HEAD_BYTES = 64 * 1024
# The key is checked before a body larger than this is taken in.
_SMALL_BODY_BYTES = 64 * 1024
_IDLE, _HEAD, _BODY, _ANSWER, _LINGER = range(5)


class ClientConnection(HttpToolsProtocol):
    """One connection of a client."""

    def __init__(
        self,
        front: Front,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._front = front
        self._reading: Call | None = None
        self._answering: Call | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._head_bytes = 0
        self._phase = _IDLE
        self._since = 0.0
        self._waiting: deque[Call | tuple[Any, Any]] = deque()
        self.write_paused = False
        self._outbox = front.deadlines.outbox(self.loop)

    @property
    def draining(self) -> bool:
        """Whether the worker is about to stop."""
        return self._front.draining

    @property
    def date_line(self) -> bytes:
        """The line of the `Date` header."""
        return self._front.date_line

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        front = self._front
        front.connections.add(self)
        self._since = self.loop.time()
        if len(front.connections) > front.limits.connections:
            self._refuse(
                Unavailable(
                    f"More than {front.limits.connections} connections. Try again shortly.",
                    code="too_many_connections",
                    retry_after=1,
                )
            )

    def data_received(self, data: bytes) -> None:
        phase = self._phase
        if phase == _LINGER:
            return
        if phase <= _HEAD:
            if phase == _IDLE:
                self._enter(_HEAD)
                self._head_bytes = 0
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # an offer of another protocol may be ignored (RFC 9110, section 7.8)
        except httptools.HttpParserError as error:
            if self._phase != _LINGER:
                self._refuse(InvalidRequest(f"This is not HTTP: {error}.", code="invalid_http"))
        if self._phase == _HEAD and self._head_bytes > _MAX_HEAD_BYTES:
            self._refuse(
                HeadersTooLarge(
                    f"The headers are larger than {_MAX_HEAD_BYTES} bytes.", code="large_headers"
                )
            )

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.connections.discard(self)
        super().connection_lost(exc)
        self.write_paused = False
        self._waiting.clear()
        call, self._answering = self._answering, None
        if call is not None:
            call.leave()

    def pause_writing(self) -> None:
        self.write_paused = True
        super().pause_writing()

    def resume_writing(self) -> None:
        self.write_paused = False
        super().resume_writing()
        if self._answering is not None:
            self._answering.flow.wake()

    # httptools callbacks

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        if self._phase == _IDLE:
            self._enter(_HEAD)

    def on_header(self, name: bytes, value: bytes) -> None:
        # uvicorn's own, here to be compiled: it is called for each header of each request.
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._phase == _LINGER:
            return
        self._enter(_BODY)
        path = self._front.hot.urls.get(self.url) or self._spelt_otherwise()
        if path is None or self.parser.get_method() != b"POST":
            headers, url, expect = self.headers, self.url, self.expect_100_continue
            super().on_message_begin()
            self.url, self.headers, self.expect_100_continue = url, headers, expect
            self.scope["headers"] = headers
            super().on_headers_complete()
            while self.pipeline:
                self._waiting.append(self.pipeline.pop())
            return
        call = self._reading = Call(self, Flow(self._front.deadlines, self.loop), path)
        call.keep_alive = self.parser.should_keep_alive()
        if self.parser.get_http_version() == "1.0":
            call.speak_http_1_0()
        for name, value in self.headers:
            if name == b"authorization":
                call.authorization = value
            elif name == b"content-length":
                call.content_length = int(value)  # the parser has checked it
        self._parts = []
        self._size = 0
        self._check_head(call)

    def on_body(self, body: bytes) -> None:
        call = self._reading
        if call is None:
            if self._phase != _LINGER:
                super().on_body(body)
            return
        self._parts.append(body)
        self._size += len(body)
        if self._size > self._front.limits.body_bytes:
            self._refuse(self._too_large())

    def on_message_complete(self) -> None:
        if self._phase == _LINGER:
            return
        self._enter(_ANSWER)
        call = self._reading
        if call is None:
            super().on_message_complete()
            if self.cycle.response_complete:
                self._enter(_IDLE)  # it was answered before its body was complete
            return
        self._reading = None
        parts = self._parts
        call.body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts = []
        if self._busy():
            self.flow.pause_reading()
            self._waiting.append(call)
        else:
            self._begin(call)

    # used by Call

    def write(self, data: bytes) -> None:
        """Write to the client."""
        self._outbox.write(self.transport, data)

    def abort(self) -> None:
        """Close at once: the client must see that its answer is not whole."""
        self.transport.abort()

    def answered(self, call: Call) -> None:
        """Go on after a hot call's answer."""
        self._answering = None
        if not call.keep_alive:
            self._close()
        self.on_response_complete()

    # uvicorn's

    def on_response_complete(self) -> None:
        """Start what was pipelined behind the answer that has ended, in its order."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self._waiting:
            # Not at once: a long pipeline of failing calls would nest as deep as it is long.
            self.loop.call_soon(self._begin_next)
        elif self.draining:
            self._close()
        elif self._phase == _ANSWER:
            self._enter(_IDLE)

    def _begin_next(self) -> None:
        if not self._waiting or self._answering is not None or self.transport.is_closing():
            return
        waiting = self._waiting.popleft()
        if isinstance(waiting, Call):
            self._begin(waiting)
        else:
            super()._start_asgi_task(*waiting)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if self._answering is not None or self._waiting:
            self.flow.pause_reading()
            self._waiting.append((cycle, app))
        else:
            super()._start_asgi_task(cycle, app)

    def shutdown(self) -> None:
        """Close once the answers under way have ended; called by uvicorn when it stops."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        elif self._phase == _IDLE:
            self._close()

    # time limits

    def check(self, now: float) -> None:
        """End what takes too long."""
        limits = self._front.limits
        took = now - self._since
        if self._phase == _IDLE and took > limits.keep_alive_s:
            self.transport.close()
        elif self._phase == _HEAD and took > limits.header_timeout_s:
            self._refuse(_late("headers", limits.header_timeout_s))
        elif self._phase == _BODY and took > limits.body_timeout_s:
            self._refuse(_late("body", limits.body_timeout_s))
        elif self._phase == _LINGER and took > _LINGER_S:
            self.transport.abort()

    # parts

    def _spelt_otherwise(self) -> str | None:
        """Return the hot path behind a URL with a query, escapes or a host, if it is one."""
        try:
            path = unquote_to_bytes(httptools.parse_url(self.url).path or b"")
        except httptools.HttpParserInvalidURLError:
            return None
        return self._front.hot.urls.get(path)

    def _check_head(self, call: Call) -> None:
        length = call.content_length
        if length is not None and length > self._front.limits.body_bytes:
            self._refuse(self._too_large())
        elif length is None or length > _SMALL_BODY_BYTES:
            error = self._front.hot.refuses(call)
            if error is not None:
                self._refuse(error)
                return
        if self.expect_100_continue and self._phase == _BODY:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _begin(self, call: Call) -> None:
        self._answering = call
        self._front.hot.begin(call)

    def _busy(self) -> bool:
        return (
            self._answering is not None
            or bool(self._waiting)
            or (self.cycle is not None and not self.cycle.response_complete)
        )

    def _enter(self, phase: int) -> None:
        self._phase = phase
        self._since = self.loop.time()

    def _refuse(self, error: GatewayError) -> None:
        """Answer with an error what was not read to its end, and close."""
        call = self._reading or Call(self, Flow(self._front.deadlines, self.loop), "")
        self._reading = None
        self._parts = []
        if self._busy():
            self.transport.abort()  # an answer to an earlier request is under way
            return
        self._enter(_LINGER)
        call.keep_alive = False
        call.fail(error)

    def _close(self) -> None:
        self._outbox.flush()
        if self._phase == _LINGER:
            self.transport.write_eof()
        else:
            self.transport.close()

    def _too_large(self) -> BodyTooLarge:
        limit = self._front.limits.body_bytes
        return BodyTooLarge(f"The body is larger than {limit} bytes.", code="body_too_large")


def _late(what: str, limit_s: float) -> RequestTimeout:
    return RequestTimeout(
        f"The {what} did not arrive within {limit_s:g} s.", code=f"{what}_timeout"
    )


def client_connection(front: Front) -> type[asyncio.Protocol]:
    """Return what uvicorn takes as its `http` protocol class."""

    def build(**arguments: Any) -> ClientConnection:
        return ClientConnection(front, **arguments)

    return cast(type[asyncio.Protocol], build)
