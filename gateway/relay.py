"""The hot path: authenticate → read → admit → route → forward → answer → record, in a line.

A call is one coroutine (`flow.Flow`), resumed from the sockets' callbacks. Answers pass as bytes.
Until the first byte has gone to the client another engine may be tried; a client that leaves aborts
the engine's work.
"""

import logging
import time
from typing import ClassVar, Final

from gateway import conversations, faults, sse, wire
from gateway.admission import Admission
from gateway.auth import KeyRing, Principal
from gateway.bodies import Operation
from gateway.call import Call, ClientLeft
from gateway.connection import (
    BadAnswer,
    ConnectFailed,
    ConnectionBroken,
    UpstreamError,
    UpstreamTimeout,
)
from gateway.errors import EngineTimeout, GatewayError
from gateway.flow import Deadlines
from gateway.gate import Gate
from gateway.grounding.editor import Grounding
from gateway.limits.quota import FREE, Grant
from gateway.metrics import Metrics
from gateway.mirror import Mirrors
from gateway.routing import EngineLink, Routes
from gateway.served import Served
from gateway.spool import Spool
from gateway.swaps import Swaps
from gateway.task import Limits, Task
from gateway.upstream import Exchange

_log = logging.getLogger(__name__)
# path on the wire → operation, path of the engine, prefix of the engine's completion ids
OPERATIONS: Final[dict[str, tuple[Operation, bytes, str]]] = {
    "/v1/chat/completions": ("chat", b"/v1/chat/completions", "chatcmpl-"),
    "/v1/completions": ("completion", b"/v1/completions", "cmpl-"),
    "/v1/responses": ("response", b"/v1/responses", "resp_"),
}
_MOST_ATTEMPTS: Final = 3


class Relay:
    """Answers `POST /v1/{chat/completions,completions,responses}`."""

    urls: ClassVar = {path.encode(): path for path in OPERATIONS}

    def __init__(
        self,
        keys: KeyRing,
        admission: Admission,
        gate: Gate,
        routes: Routes,
        spool: Spool,
        metrics: Metrics,
        limits: Limits,
        mirrors: Mirrors,
        grounding: Grounding | None = None,
        swaps: Swaps | None = None,
    ) -> None:
        self._swaps = swaps
        self._mirrors = mirrors
        self._grounding = grounding
        self._keys = keys
        self._admission = admission
        self._gate = gate
        self._routes = routes
        self._spool = spool
        self._metrics = metrics
        self._limits = limits
        self.in_flight = 0

    @property
    def waiting(self) -> int:
        """How many requests wait, for their turn or for an engine."""
        return self._gate.waiting + (0 if self._swaps is None else self._swaps.waiting)

    def begin(self, call: Call) -> None:
        """Answer a call."""
        call.started = time.perf_counter()
        call.flow.start(self._answer(call))

    def refuses(self, call: Call) -> GatewayError | None:
        """Return why the caller is refused, known from the head alone."""
        try:
            self._keys.require(self._keys.authenticate(call.authorization), "inference")
        except GatewayError as error:
            return error
        return None

    def cut(self, deadlines: Deadlines) -> None:
        """End what is still under way, at the end of the drain limit: an error, not a silence."""
        for flow in list(deadlines.flows):
            flow.throw(UpstreamTimeout("the gateway stops"))

    async def _answer(self, call: Call) -> None:
        self.in_flight += 1
        try:
            await self._serve(call)
        except GatewayError as error:
            if not call.release:
                self._metrics.refused.labels(str(error.status)).inc()
            call.fail(error)
        except ClientLeft:
            pass
        except UpstreamError as stopping:  # `cut`, while it waited for its turn
            call.fail(faults.translate(stopping))
        except Exception:
            _log.exception("request %s", call.request_id.decode())
            call.fail(GatewayError("The gateway failed; see its log.", code="internal"))
        finally:
            self.in_flight -= 1

    async def _serve(self, call: Call) -> None:
        """Who calls, what is asked, may they, is there room."""
        operation, path, id_prefix = OPERATIONS[call.path]
        principal = self._keys.authenticate(call.authorization)
        self._keys.require(principal, "inference")
        request = wire.parse(operation, call.body)
        grant = await self._admit(principal, request)
        call.limits = grant.lines
        try:
            if not self._gate.enter():
                await self._gate.wait(call.flow)
            try:
                await self._relay(call, request, principal, grant, path, id_prefix)
            finally:
                self._gate.leave()
        finally:
            grant.settle(None)  # for what did not come so far; a second time does nothing

    async def _relay(
        self,
        call: Call,
        request: wire.InferenceRequest,
        principal: Principal,
        grant: Grant,
        path: bytes,
        id_prefix: str,
    ) -> None:
        """Which release, an answer from one of its engines, and the record of it."""
        conversation, later = conversations.key_of(request, principal.key_prefix)
        route = self._routes.resolve(request.model, conversation, later)
        call.release = route.release.encode()
        served = Served(
            operation=request.operation,
            body=call.body,
            stream=request.stream,
            completion_id=id_prefix + call.request_id.decode(),
            key_prefix=principal.key_prefix,
            alias=route.alias,
            release=route.release,
            created_at=time.time(),
            conversation=conversation.hex() if conversation else None,
        )
        task = Task(call, request, route, path, served)
        grounding = self._grounding
        try:
            if grounding is None or (request.retrieval is None and not grounding.everywhere):
                await self._forward(task)
            else:
                await grounding.answer(task, principal, self._forward)
        except ClientLeft:
            served.outcome, served.status = "cancelled", 499
            raise
        except GatewayError as error:
            served.status = error.status
            raise
        finally:
            grant.settle(task.charge())
            self._record(task)
            if self._routes.shadows:
                self._mirrors.offer(task)

    async def _admit(self, principal: Principal, request: wire.InferenceRequest) -> Grant:
        """Reserve what the request may use at most, within the limits of its key."""
        if principal.limits is None:
            return FREE
        most = request.max_tokens
        tokens = request.prompt_estimate() + (self._limits.reserve_tokens if most is None else most)
        grant = self._admission.admit(principal, tokens, most is None)
        return grant or await self._admission.ask(principal, tokens, most is None)

    async def _forward(self, task: Task) -> None:
        """Try engines of the release until one answers or a byte has gone to the client."""
        call, route = task.call, task.route
        prefix = task.request.prompt() if self._limits.prefix_affinity else None
        tried: list[EngineLink] = []
        failure: GatewayError | None = None
        waited = self._swaps is None
        while len(tried) < _MOST_ATTEMPTS:
            link = self._routes.pick(route.release, tried, prefix)
            if link is None:
                if waited or call.begun or not await self._awaited(call, route.release):
                    break
                waited, failure, tried = True, None, []
                continue
            tried.append(link)
            link.in_flight += 1
            probe = link.breaker.sent()
            try:
                await self._ask(task, link)
            except UpstreamError as error:
                if isinstance(error, ConnectFailed):
                    link.breaker.failed(time.monotonic(), probe=probe, refused=True)
                elif self._routes.pick(route.release, tried) is not None:
                    link.breaker.failed(time.monotonic(), probe=probe)
                else:
                    # Requests may be at fault as well: the only engine is not closed for them.
                    link.breaker.let_go(probe=probe)
                failure = faults.translate(error)
            except faults.Overloaded as overloaded:
                link.breaker.let_go(probe=probe)
                failure = overloaded.answer
            except BaseException:
                link.breaker.let_go(probe=probe)
                raise
            else:
                link.breaker.succeeded()
                return
            finally:
                link.in_flight -= 1
            if call.begun or (isinstance(failure, EngineTimeout) and not link.breaker.is_ill()):
                break  # a healthy engine that takes too long: another would as well
        failure = failure or self._routes.unavailable(route.alias)
        if not call.begun:
            raise failure
        task.served.outcome = "truncated"
        await call.frames(sse.error_frame(failure) + b"\n\n", self._limits.idle_timeout_s)
        call.end()

    async def _awaited(self, call: Call, release: str) -> bool:
        """Wait for the engine that takes another's place; returns whether it serves."""
        return self._swaps is not None and await self._swaps.wait(call.flow, release)

    async def _ask(self, task: Task, link: EngineLink) -> None:
        """Let one engine answer."""
        call, limits = task.call, self._limits
        headers = call.engine_lines()
        sent = time.perf_counter()
        with await link.upstream.request(
            call.flow,
            b"POST",
            task.path,
            headers,
            task.body,
            connect_timeout_s=limits.connect_timeout_s,
            head_timeout_s=limits.first_token_timeout_s,
        ) as exchange:
            answered = time.perf_counter()
            call.overhead_s = call.overhead_s or sent - call.started
            if exchange.status != 200:
                document = await exchange.read_all(limits.idle_timeout_s, 2**20)
                raise faults.refusal(exchange.status, document)
            link.breaker.answered()
            if task.request.stream:
                await self._stream(task, exchange)
            else:
                await self._whole(task, exchange, answered)

    async def _whole(self, task: Task, exchange: Exchange, answered: float) -> None:
        call, served = task.call, task.served
        answer = await exchange.read_all(self._limits.idle_timeout_s, self._limits.response_bytes)
        _take_usage(served, sse.scan_usage(answer))
        served.finish_reason = sse.scan_finish(answer)
        served.completion_id = sse.scan_id(answer) or served.completion_id
        if task.editor is not None:
            answer = task.editor.whole(answer)
        served.answer = answer[: self._limits.record_bytes]
        call.overhead_s += time.perf_counter() - answered
        call.whole(200, exchange.header(b"content-type"), answer)
        served.outcome, served.status = "done", 200

    async def _stream(self, task: Task, exchange: Exchange) -> None:
        call, request, served, limits = task.call, task.request, task.served, self._limits
        scanner = sse.FrameScanner(
            hide_usage=request.operation != "response" and not request.include_usage
        )
        editor = task.editor
        if editor is not None:
            editor.begin()
        kept: list[bytes] = []
        kept_bytes = passed = 0
        told = False
        try:
            while data := await exchange.read(
                limits.idle_timeout_s if passed else limits.first_token_timeout_s
            ):
                passed += len(data)
                if passed > limits.response_bytes or scanner.pending_bytes > sse.MOST_FRAME_BYTES:
                    raise BadAnswer("the answer, or one frame of it, is too large")
                frames = scanner.feed(data)
                if editor is not None and frames:
                    frames = editor.frames(frames)
                if frames:
                    if served.ttft_s is None and scanner.saw_token:
                        served.ttft_s = time.perf_counter() - call.started
                    if kept_bytes < limits.record_bytes:
                        kept.append(frames)
                        kept_bytes += len(frames)
                    served.status = 200
                    await call.frames(frames, limits.idle_timeout_s)
                    told = scanner.done
            if not scanner.done and scanner.error is None:
                raise ConnectionBroken("the engine ended its answer too early")
            call.end()
            served.outcome = "error" if scanner.error is not None else "done"
        except ClientLeft:
            if not told:
                raise
            # The official client closes as soon as it has read `[DONE]`.
            served.outcome = "error" if scanner.error is not None else "done"
        finally:
            task.frames = scanner.frames
            _take_usage(served, scanner.usage())
            served.finish_reason = scanner.finish_reason
            served.completion_id = scanner.completion_id or served.completion_id
            served.answer = b"".join(kept)

    def _record(self, task: Task) -> None:
        call, served = task.call, task.served
        served.duration_s = time.perf_counter() - call.started
        error = "" if served.outcome == "done" else served.outcome
        if served.outcome == "error" and served.status != 200:
            error = str(served.status)
        self._metrics.observe(
            operation=served.operation,
            alias=served.alias,
            release=served.release,
            error=error,
            duration_s=served.duration_s,
            ttft_s=served.ttft_s,
            overhead_s=call.overhead_s if served.status == 200 else None,
            prompt_tokens=served.prompt_tokens,
            completion_tokens=served.completion_tokens,
        )
        self._spool.put(served)


def _take_usage(served: Served, usage: sse.Usage | None) -> None:
    if usage is not None:
        served.prompt_tokens = usage.prompt_tokens
        served.completion_tokens = usage.completion_tokens
