"""The hot path: authenticate → read → route → forward → answer → record, in a straight line.

A raw ASGI application in front of FastAPI: its request path alone costs more than this whole hop
(see `ARCHITECTURE.md`). Answers pass as bytes. A client that leaves aborts the engine's work.
"""

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass

from gateway import sse, wire
from gateway.asgi import Client, Receive, Reply, Scope, Send
from gateway.auth import KeyRing
from gateway.errors import (
    BodyTooLarge,
    EngineFailed,
    EngineTimeout,
    GatewayError,
    InvalidRequest,
    NotFound,
    RequestTimeout,
    Unavailable,
)
from gateway.metrics import Metrics
from gateway.recorder import Recorder, Served
from gateway.routing import EngineLink, Route, Routes
from gateway.upstream import (
    BadAnswer,
    ConnectFailed,
    ConnectionBroken,
    Exchange,
    UpstreamError,
    UpstreamTimeout,
)

_log = logging.getLogger(__name__)
# path on the wire → operation, path of the engine, prefix of the engine's completion ids
OPERATIONS: dict[str, tuple[wire.Operation, bytes, str]] = {
    "/v1/chat/completions": ("chat", b"/v1/chat/completions", "chatcmpl-"),
    "/v1/completions": ("completion", b"/v1/completions", "cmpl-"),
    "/v1/responses": ("response", b"/v1/responses", "resp_"),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes and times in seconds; see the settings of the same names."""

    body_bytes: int
    response_bytes: int
    record_bytes: int
    body_timeout_s: float
    connect_timeout_s: float
    first_token_timeout_s: float
    idle_timeout_s: float


class Relay:
    """The ASGI application of `POST /v1/{chat/completions,completions,responses}`."""

    def __init__(
        self,
        keys: KeyRing,
        routes: Routes,
        recorder: Recorder,
        metrics: Metrics,
        limits: Limits,
    ) -> None:
        self._keys = keys
        self._routes = routes
        self._recorder = recorder
        self._metrics = metrics
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request_id = secrets.token_hex(16)
        reply = Reply(send, request_id)
        self._metrics.in_flight.inc()
        try:
            await self._serve(scope, receive, reply, request_id)
        except GatewayError as error:
            await reply.fail(error)
        except Exception:
            _log.exception("request %s", request_id)
            await reply.fail(GatewayError("The gateway failed; see its log.", code="internal"))
        finally:
            self._metrics.in_flight.dec()

    async def _serve(self, scope: Scope, receive: Receive, reply: Reply, request_id: str) -> None:
        operation, path, id_prefix = OPERATIONS[scope["path"]]
        authorization, content_length = _read_headers(scope)
        principal = self._keys.authenticate(authorization)
        self._keys.require(principal, "inference")
        body = await self._read_body(receive, content_length)

        started = time.perf_counter()
        request = wire.parse(operation, body)
        route = self._routes.resolve(request.model)
        served = Served(
            request=request,
            completion_id=id_prefix + request_id,
            key_prefix=principal.key_prefix,
            alias=route.alias,
            release=route.release,
            created_at=time.time(),
        )
        reply.release = route.release.encode()
        client = Client(receive)
        route.link.in_flight += 1
        try:
            await self._forward(request, route, path, request_id, served, reply, started)
        except asyncio.CancelledError:
            if not client.left:
                raise
            served.outcome, served.status = "cancelled", 499
        except GatewayError as error:
            served.status = error.status
            raise
        finally:
            client.forget()
            route.link.in_flight -= 1
            served.duration_s = time.perf_counter() - started
            self._record(served)

    async def _forward(
        self,
        request: wire.InferenceRequest,
        route: Route,
        path: bytes,
        request_id: str,
        served: Served,
        reply: Reply,
        started: float,
    ) -> None:
        limits = self._limits
        body = request.for_engine(route.release)
        headers = b"content-type: application/json\r\nx-request-id: %b\r\n" % request_id.encode()
        sent = time.perf_counter()
        try:
            exchange = await route.link.upstream.request(
                b"POST",
                path,
                headers,
                body,
                connect_timeout_s=limits.connect_timeout_s,
                head_timeout_s=limits.first_token_timeout_s,
            )
        except UpstreamError as error:
            raise _translate(error, route.link) from error
        with exchange:
            answered = time.perf_counter()
            reply.overhead_s = sent - started
            if exchange.status != 200:
                raise await self._refusal(exchange, route.link)
            if request.stream:
                await self._stream(exchange, route, served, reply, started)
            else:
                await self._whole(exchange, route, served, reply, answered)
        self._metrics.overhead.observe(reply.overhead_s)

    async def _whole(
        self, exchange: Exchange, route: Route, served: Served, reply: Reply, answered: float
    ) -> None:
        try:
            answer = await exchange.read_all(
                self._limits.idle_timeout_s, self._limits.response_bytes
            )
        except UpstreamError as error:
            raise _translate(error, route.link) from error
        served.usage = sse.scan_usage(answer)
        served.finish_reason = sse.scan_finish(answer)
        served.completion_id = sse.scan_id(answer) or served.completion_id
        self._keep(served, answer)
        reply.overhead_s += time.perf_counter() - answered
        await reply.whole(200, exchange.header(b"content-type"), answer)
        served.outcome, served.status = "done", 200

    async def _stream(
        self, exchange: Exchange, route: Route, served: Served, reply: Reply, started: float
    ) -> None:
        request = served.request
        scanner = sse.FrameScanner(
            hide_usage=request.operation != "response" and not request.include_usage
        )
        served.status = 200
        passed = 0
        try:
            await reply.start_stream()
            while data := await exchange.read(
                self._limits.idle_timeout_s if passed else self._limits.first_token_timeout_s
            ):
                frames = scanner.feed(data)
                passed += len(data)
                if passed > self._limits.response_bytes:
                    raise BadAnswer(f"the answer is over {self._limits.response_bytes} bytes")
                if served.ttft_s is None and scanner.saw_token:
                    served.ttft_s = time.perf_counter() - started
                if frames:
                    self._keep(served, frames)
                    await reply.frames(frames)
            if not scanner.done and scanner.error is None:
                raise ConnectionBroken("the engine ended its answer too early")
            await reply.end()
            served.outcome = "error" if scanner.error is not None else "done"
        except UpstreamError as error:
            failure = _translate(error, route.link)
            served.outcome = "truncated"
            await reply.frames(sse.error_frame(failure) + b"\n\n")
            await reply.end()
        finally:
            served.usage = scanner.usage()
            served.finish_reason = scanner.finish_reason
            served.completion_id = scanner.completion_id or served.completion_id

    def _keep(self, served: Served, data: bytes) -> None:
        if served.answer_bytes < self._limits.record_bytes:
            served.answer.append(data)
            served.answer_bytes += len(data)

    def _record(self, served: Served) -> None:
        error = "" if served.outcome == "done" else served.outcome
        if served.outcome == "error" and served.status != 200:
            error = str(served.status)
        self._metrics.observe(
            operation=served.request.operation,
            alias=served.alias,
            release=served.release,
            error=error,
            duration_s=served.duration_s,
            ttft_s=served.ttft_s,
            prompt_tokens=served.usage.prompt_tokens if served.usage else None,
            completion_tokens=served.usage.completion_tokens if served.usage else None,
        )
        self._recorder.put(served)

    async def _read_body(self, receive: Receive, content_length: int) -> bytes:
        limit = self._limits.body_bytes
        if content_length > limit:
            raise _too_large(limit)
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise InvalidRequest("The client left before its body was complete.")
                    part = message.get("body", b"")
                    size += len(part)
                    if size > limit:
                        raise _too_large(limit)
                    parts.append(part)
                    if not message.get("more_body"):
                        return parts[0] if len(parts) == 1 else b"".join(parts)
        except TimeoutError:
            raise RequestTimeout(
                f"The body did not arrive within {self._limits.body_timeout_s:g} s.",
                code="body_timeout",
            ) from None

    async def _refusal(self, exchange: Exchange, link: EngineLink) -> GatewayError:
        """Translate an engine's own error answer into the gateway's shape."""
        try:
            document = await exchange.read_all(self._limits.idle_timeout_s, 2**20)
        except UpstreamError as error:
            return _translate(error, link)
        message = sse.engine_message(document)
        if exchange.status == 404:
            return NotFound(message, code="engine_not_found")
        if exchange.status in (429, 503):
            return Unavailable(message, code="engine_overloaded", retry_after=1)
        if 400 <= exchange.status < 500:
            return InvalidRequest(message, code="engine_rejected")
        return EngineFailed(message, code="engine_error")


def _read_headers(scope: Scope) -> tuple[bytes | None, int]:
    authorization, content_length = None, 0
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = value
        elif name == b"content-length" and value.isdigit():
            content_length = int(value[:20])
    return authorization, content_length


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {limit} bytes.", code="body_too_large")


def _translate(
    error: UpstreamError, link: EngineLink
) -> EngineFailed | Unavailable | EngineTimeout:
    if isinstance(error, UpstreamTimeout):
        return EngineTimeout(f"No answer in time: {error}.", code="engine_timeout")
    if isinstance(error, BadAnswer):
        return EngineFailed(f"Bad answer: {error}.", code="engine_error")
    if isinstance(error, ConnectFailed | ConnectionBroken):
        link.rest()
    return Unavailable(
        "The engine went away. Try again shortly.", code="engine_unavailable", retry_after=2
    )
