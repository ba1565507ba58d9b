"""The server's side of HTTP/1.1: hot calls go straight to the relay, all others to FastAPI.

Built on uvicorn's protocol, which keeps serving every other route as ASGI. A hot call leaves out
what ASGI costs it (`ARCHITECTURE.md`). Time limits are kept by one sweep over all connections.
"""

import asyncio
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway import heads
from gateway.call import Call
from gateway.errors import GatewayError, InvalidRequest
from gateway.flow import Flow
from gateway.front import Front
from gateway.pipeline import HeldFlow, Pipeline, Waiting

# A client that is still sending while it is refused must be read on, or the kernel resets the
# connection and the answer is lost with it (RFC 9112, section 9.6).
_LINGER_S = 2.0
# httpx, and so the openai client, itself gives a connection up that was idle for 5 s.
_LEAVE_S = 5.5
# A large body gets a second more for so many bytes as have come: a slow line is not an attack.
_SLOWEST_BODY: Final = 16 * 1024
_MAX_HEAD_BYTES: Final = 64 * 1024
# The key is checked before a body larger than this is taken in.
_SMALL_BODY_BYTES: Final = 64 * 1024
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
        self.front = front
        self._outbox = front.deadlines.outbox(self.loop)
        self._reading: Call | None = None
        self._answering: Call | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._phase = _IDLE
        self._since = 0.0
        self._in_head = self._declining = False
        self._head_size = 0
        self._unparsed = 0  # bytes since the parser last reported something whole
        self._unsent = 0
        self.write_paused = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = HeldFlow(transport)
        self._pipeline = Pipeline(self.flow)
        front = self.front
        front.connections.add(self)
        self._since = self.loop.time()
        if len(front.connections) > front.limits.connections:
            self._refuse(heads.too_many(front.limits.connections))

    def data_received(self, data: bytes) -> None:
        if self._phase == _LINGER:
            return
        if self._phase == _IDLE:
            self._enter(_HEAD)
        self._unparsed += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])
        except httptools.HttpParserError as error:
            if self._phase != _LINGER:
                self._refuse(InvalidRequest(f"This is not HTTP: {error}.", code="invalid_http"))
        if self._unparsed > _MAX_HEAD_BYTES and self._phase != _LINGER:
            self._refuse(heads.too_long(_MAX_HEAD_BYTES))

    def connection_lost(self, exc: Exception | None) -> None:
        self.front.connections.discard(self)
        super().connection_lost(exc)
        self.write_paused = False
        self._pipeline.clear()
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
        self._in_head = True
        self._head_size = 0
        if self._phase == _IDLE:
            self._enter(_HEAD)

    def on_header(self, name: bytes, value: bytes) -> None:
        # uvicorn's own, here to be compiled: it is called for each header of each request.
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))
        self._head_size += len(name) + len(value)  # trailers, which come last, included
        if self._head_size > _MAX_HEAD_BYTES and self._phase != _LINGER:
            self._refuse(heads.too_long(_MAX_HEAD_BYTES))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unparsed = self._size = 0
        if self._phase == _LINGER:
            return
        if self.parser.should_upgrade():
            self._declining = True
            return
        self._enter(_BODY)
        path = self.front.hot.urls.get(self.url) or heads.spelt_otherwise(
            self.url, self.front.hot.urls
        )
        if path is None or self.parser.get_method() != b"POST":
            headers, url, expect = self.headers, self.url, self.expect_100_continue
            super().on_message_begin()
            self.url, self.headers, self.expect_100_continue = url, headers, expect
            self.scope["headers"] = headers
            super().on_headers_complete()
            while self.pipeline:
                self._wait(self.pipeline.pop())
            return
        call = self._reading = Call(self, Flow(self.front.deadlines, self.loop), path)
        call.keep_alive = self.parser.should_keep_alive()
        if self.parser.get_http_version() == "1.0":
            call.speak_http_1_0()
        self._parts = []
        self._check_head(call)

    def on_chunk_header(self) -> None:
        self._unparsed = 0

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        self._size += len(body)
        call = self._reading
        if call is None:
            if self._phase != _LINGER:
                super().on_body(body)
            return
        self._parts.append(body)
        if self._size > self.front.limits.body_bytes:
            self._refuse(heads.too_large(self.front.limits.body_bytes))

    def on_message_complete(self) -> None:
        self._unparsed = 0
        if self._phase == _LINGER or self._declining:
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
            self._wait(call)
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
        if self._pipeline:
            # Not at once: a long pipeline of failing calls would nest as deep as it is long.
            self.loop.call_soon(self._begin_next)
        elif self._phase == _ANSWER:
            self._enter(_HEAD if self._in_head else _IDLE)
        elif self._phase == _BODY:
            self._continue()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if self._answering is not None or self._pipeline:
            self._wait((cycle, app))
        else:
            self._begin_asgi(cycle, app)

    def shutdown(self) -> None:
        """Close after the answer under way.

        The next request of another may be on its way already: `check` closes those later.
        """
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    # time limits

    def check(self, now: float) -> None:
        """End what takes too long."""
        limits = self.front.limits
        phase, took = self._phase, now - self._since
        if phase == _IDLE:
            unsent = self.transport.get_write_buffer_size()
            if unsent and unsent < self._unsent:
                self._since = now  # it reads its last answer, slowly
            elif took > (_LEAVE_S if self.front.draining else limits.keep_alive_s):
                # One that does not read its answer would be waited for in vain.
                self.transport.abort() if unsent else self.transport.close()
            self._unsent = unsent
        elif phase == _HEAD and took > limits.header_timeout_s:
            self._refuse(heads.late("headers", limits.header_timeout_s))
        elif phase == _BODY and self.flow.read_paused:
            self._since = now  # it cannot send
        elif phase == _BODY and took > limits.body_timeout_s + self._size / _SLOWEST_BODY:
            self._refuse(heads.late("body", limits.body_timeout_s))
        elif phase == _LINGER and took > _LINGER_S:
            self.transport.abort()

    # parts

    def _decline(self, rest: bytes) -> None:
        """Go on in HTTP/1.1 where another protocol was offered."""
        self._declining = False
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(InvalidRequest("This is not a proxy.", code="invalid_http"))
            return
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(heads.without_offer(method, self.url, self.headers) + rest)

    def _check_head(self, call: Call) -> None:
        limit = self.front.limits.body_bytes
        error: GatewayError | None = heads.read_into(call, self.headers, limit, self.front.sampler)
        length = call.content_length
        if error is None and (length is None or length > _SMALL_BODY_BYTES):
            error = self.front.hot.refuses(call)
        if error is not None:
            self._refuse(error)
        else:
            self._continue()

    def _continue(self) -> None:
        """Ask for the body that a client holds back, once no other answer is under way."""
        if self.expect_100_continue and self._reading is not None and not self._busy():
            self.expect_100_continue = False
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _begin(self, call: Call) -> None:
        self._answering = call
        self.front.hot.begin(call)

    def _begin_asgi(self, cycle: Any, app: Any) -> None:
        if self.front.draining:
            cycle.keep_alive = False
        super()._start_asgi_task(cycle, app)

    def _begin_next(self) -> None:
        if not self._pipeline or self._answering is not None or self.transport.is_closing():
            return
        waiting = self._pipeline.next()
        if isinstance(waiting, Call):
            self._begin(waiting)
        else:
            self._begin_asgi(waiting[0], waiting[1])

    def _wait(self, waiting: Waiting) -> None:
        if not self._pipeline.add(waiting):
            self.abort()

    def _busy(self) -> bool:
        return (
            self._answering is not None
            or bool(self._pipeline)
            or (self.cycle is not None and not self.cycle.response_complete)
        )

    def _enter(self, phase: int) -> None:
        self._phase = phase
        self._since = self.loop.time()

    def _refuse(self, error: GatewayError) -> None:
        """Answer with an error what was not read to its end, and close."""
        call = self._reading or Call(self, Flow(self.front.deadlines, self.loop), "")
        self._drop_own_cycle()
        self._reading = None
        self._parts = []
        if self._busy():
            self.transport.abort()  # an answer to an earlier request is under way
            return
        self._enter(_LINGER)
        call.keep_alive = False
        call.fail(error)

    def _drop_own_cycle(self) -> None:
        """Take an answer away from an application that still waits for its request's body."""
        cycle = self.cycle
        own = self._reading is None and self._phase == _BODY and cycle is not None
        if own and not (cycle.response_started or self._pipeline or self._answering):
            cycle.disconnected = cycle.response_complete = True
            cycle.message_event.set()

    def _close(self) -> None:
        self._outbox.flush()
        if self._phase == _LINGER:
            self.transport.write_eof()
        else:
            self.transport.close()
