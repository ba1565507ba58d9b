"""Shadow traffic: a share of an alias's requests is asked again of a release in shadow mode.

The relay leaves a copy of a request here once its answer has ended, so nothing that happens to the
copy can touch the client. Few are asked at once and few wait; what does not fit is dropped and
counted, and while requests of clients wait for a place no copy is asked. The answer goes into the
traffic log alone: nobody sees it, no key pays for it, no conversation is tied to it.
"""

import asyncio
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway import faults, sse, wire
from gateway.connection import BadAnswer, ConnectFailed, ConnectionBroken, UpstreamError
from gateway.flow import Deadlines, Flow
from gateway.gate import Gate
from gateway.metrics import ShadowMetrics
from gateway.routing import EngineLink, Routes
from gateway.served import Served
from gateway.spool import Spool
from gateway.task import Limits, Task
from gateway.upstream import Exchange

_log = logging.getLogger(__name__)
_AT_ONCE: Final = 2
_MOST_WAITING: Final = 64
_MOST_WAITING_BYTES: Final = 8 * 2**20
# State that another engine does not have: a copy would fail, whatever the release is worth.
_OF_ONE_ENGINE: Final = ("previous_response_id", "conversation")


@dataclass(frozen=True, slots=True)
class _Copy:
    """A request to be asked again: the body that the first engine was given, and the new record.

    Before an engine was asked, `waited_s` went by: for a place, for passages. The record counts it
    as well, so that two records of a request differ by what their engines took.
    """

    served: Served
    path: bytes
    body: bytes
    waited_s: float

    @property
    def size(self) -> int:
        return len(self.body) + len(self.served.body)


class Mirrors:
    """Copies of one worker's requests, waiting and under way.

    Args:
        routes: Which aliases have shadows, and the engines.
        gate: Where requests of clients wait.
        spool: Takes the records.
        metrics: Where copies are counted.
        limits: As for requests of clients.
        deadlines: Whose ticks begin what waits.
        draw: Returns a random number from 0 to 1.
    """

    def __init__(
        self,
        routes: Routes,
        gate: Gate,
        spool: Spool,
        metrics: ShadowMetrics,
        limits: Limits,
        deadlines: Deadlines,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._routes = routes
        self._gate = gate
        self._spool = spool
        self._metrics = metrics
        self._limits = limits
        self._deadlines = deadlines
        self._draw = draw
        self._waiting: deque[_Copy] = deque()
        self._waiting_bytes = 0
        self._under_way = 0
        self._closed = False

    def offer(self, task: Task) -> None:
        """Keep a request whose answer has ended, for each shadow of its alias that draws it.

        Only what was answered well is asked again: a request that is at fault, or came while the
        engines were overloaded, says nothing of the shadow. So does one that asks not to be stored.
        """
        served, request = task.served, task.request
        if served.outcome != "done" or not request.store:
            return
        # No engine was asked where passages did not hold the answer: a shadow is, plainly, or a
        # release that is not trusted to guess would leave it without a request.
        body = task.body or request.for_engine(task.route.release)
        for target in self._routes.shadows.get(served.alias, ()):
            if self._draw() >= target.weight or any(
                name in request.fields for name in _OF_ONE_ENGINE
            ):
                continue
            copy = _Copy(_record_of(served, target.release), task.path, body, task.call.overhead_s)
            full = len(self._waiting) >= _MOST_WAITING
            if self._closed or full or self._waiting_bytes + copy.size > _MOST_WAITING_BYTES:
                self._count(copy, "dropped")
                continue
            self._waiting.append(copy)
            self._waiting_bytes += copy.size

    def tick(self, _now: float) -> None:
        """Begin what waits, where there is room; called by `Deadlines` every 50 ms."""
        while self._may_begin() and self._under_way < _AT_ONCE:
            flow = Flow(self._deadlines, asyncio.get_running_loop())
            self._under_way += 1
            flow.start(self._work(flow))

    def close(self) -> None:
        """Take and begin nothing more; what is cut off from now on counts as dropped."""
        self._closed = True
        for copy in self._waiting:
            self._count(copy, "dropped")
        self._waiting.clear()

    def _may_begin(self) -> bool:
        return bool(self._waiting) and not self._gate.waiting and not self._closed

    async def _work(self, flow: Flow) -> None:
        try:
            while self._may_begin():
                copy = self._waiting.popleft()
                self._waiting_bytes -= copy.size
                await self._ask(flow, copy)
        except Exception:
            _log.exception("a copy for a shadow failed")
        finally:
            self._under_way -= 1

    async def _ask(self, flow: Flow, copy: _Copy) -> None:
        """Ask one engine once, and record what it says."""
        served = copy.served
        link = self._routes.pick(served.release)
        if link is None:
            self._count(copy, "unavailable")
            return
        link.in_flight += 1
        probe = link.breaker.sent()
        served.created_at = time.time()
        started = time.perf_counter()
        try:
            await self._answer(flow, link, copy, started)
            link.breaker.succeeded()
        except UpstreamError as error:
            # One that refuses connections is closed for all; other faults may be the request's.
            if isinstance(error, ConnectFailed):
                link.breaker.failed(time.monotonic(), probe=probe, refused=True)
            else:
                link.breaker.let_go(probe=probe)
            if self._closed:
                self._count(copy, "dropped")
                return
            begun = served.status == 200
            served.outcome = "truncated" if begun else "error"
            served.status = 200 if begun else faults.translate(error).status
        except BaseException:
            link.breaker.let_go(probe=probe)
            raise
        finally:
            link.in_flight -= 1
        took_s = time.perf_counter() - started
        self._count(copy, served.outcome)
        if served.outcome == "done":
            self._metrics.observe(served.alias, served.release, took_s, served.ttft_s)
        served.duration_s = copy.waited_s + took_s
        if served.ttft_s is not None:
            served.ttft_s += copy.waited_s
        self._spool.put(served)

    async def _answer(self, flow: Flow, link: EngineLink, copy: _Copy, started: float) -> None:
        served, limits = copy.served, self._limits
        request_id = served.completion_id.encode()
        with await link.upstream.request(
            flow,
            b"POST",
            copy.path,
            b"content-type: application/json\r\nx-request-id: %b\r\n" % request_id,
            wire.readdressed(copy.body, served.release),
            connect_timeout_s=limits.connect_timeout_s,
            head_timeout_s=limits.first_token_timeout_s,
        ) as exchange:
            if exchange.status != 200:
                await exchange.read_all(limits.idle_timeout_s, 2**20)
                served.outcome, served.status = "error", exchange.status
            elif served.stream:
                await self._stream(served, exchange, started)
            else:
                answer = await exchange.read_all(limits.idle_timeout_s, limits.response_bytes)
                _take_usage(served, sse.scan_usage(answer))
                served.finish_reason = sse.scan_finish(answer)
                served.answer = answer[: limits.record_bytes]
                served.outcome, served.status = "done", 200

    async def _stream(self, served: Served, exchange: Exchange, started: float) -> None:
        limits = self._limits
        scanner = sse.FrameScanner()
        kept: list[bytes] = []
        passed = kept_bytes = 0
        try:
            while data := await exchange.read(
                limits.idle_timeout_s if passed else limits.first_token_timeout_s
            ):
                passed += len(data)
                if passed > limits.response_bytes or scanner.pending_bytes > sse.MOST_FRAME_BYTES:
                    raise BadAnswer("the answer, or one frame of it, is too large")
                frames = scanner.feed(data)
                if not frames:
                    continue
                served.status = 200
                if served.ttft_s is None and scanner.saw_token:
                    served.ttft_s = time.perf_counter() - started
                if kept_bytes < limits.record_bytes:
                    kept.append(frames)
                    kept_bytes += len(frames)
            if not scanner.done and scanner.error is None:
                raise ConnectionBroken("the engine ended its answer too early")
            served.outcome = "error" if scanner.error is not None else "done"
        finally:
            _take_usage(served, scanner.usage())
            served.finish_reason = scanner.finish_reason
            served.answer = b"".join(kept)

    def _count(self, copy: _Copy, outcome: str) -> None:
        self._metrics.requests.labels(copy.served.alias, copy.served.release, outcome).inc()


def _record_of(served: Served, release: str) -> Served:
    """Return the record of a copy, for `release`, before it is asked."""
    return Served(
        operation=served.operation,
        body=served.body,
        stream=served.stream,
        completion_id=f"shadow-{secrets.token_hex(16)}",
        key_prefix=served.key_prefix,
        alias=served.alias,
        release=release,
        created_at=0.0,
        conversation=served.conversation,
        shadow_of=served.completion_id,
    )


def _take_usage(served: Served, usage: sse.Usage | None) -> None:
    if usage is not None:
        served.prompt_tokens = usage.prompt_tokens
        served.completion_tokens = usage.completion_tokens
