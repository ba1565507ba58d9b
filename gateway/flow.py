"""Drives the coroutine of a request by hand: resumed straight from the socket's callback.

An asyncio task goes through the event loop at each step, and each wait costs it a future and a
timer. A request has one coroutine and waits for one thing at a time, so its callback can go on with
it at once, and one ticker watches over the deadlines of all. Measured in `ARCHITECTURE.md`.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, TypeVar

from gateway.outbox import Outbox

_log = logging.getLogger(__name__)
_NEVER: Final = float("inf")
_TICK_S = 0.05
T = TypeVar("T")


class Deadlines:
    """Watches the deadlines of a worker's flows, to within 50 ms, and the lag of its event loop.

    Attributes:
        on_tick: Called at each tick with the loop's time.
        lag_s: By how much the last tick came late: what any callback had to wait.
    """

    def __init__(self) -> None:
        self.flows: set[Flow] = set()
        self.on_tick: list[Callable[[float], None]] = []
        self.lag_s = 0.0
        self._outbox: Outbox | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        """Begin to tick in the running loop."""
        self._schedule(asyncio.get_running_loop())

    def outbox(self, loop: asyncio.AbstractEventLoop) -> Outbox:
        """Return the writes of the loop's turn."""
        if self._outbox is None:
            self._outbox = Outbox(loop)
        return self._outbox

    def close(self) -> None:
        """Stop ticking."""
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + _TICK_S
        self._timer = loop.call_at(self._due, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self.lag_s = max(0.0, now - self._due)
        for flow in [flow for flow in self.flows if flow.deadline <= now]:
            flow.throw(TimeoutError())
        for call in self.on_tick:
            try:
                call(now)
            except Exception:
                _log.exception("a tick failed")
        self._schedule(loop)


class Flow:
    """One coroutine, resumed by `wake`.

    Waking for no reason is harmless: every wait is a loop around its condition, as with a condition
    variable. A future may be awaited too (a connect, a thread) and resumes the flow by itself.

    Attributes:
        deadline: Loop time after which the wait ends with TimeoutError.
    """

    __slots__ = (
        "_again",
        "_coroutine",
        "_deadlines",
        "_future",
        "_running",
        "deadline",
        "loop",
        "outbox",
    )

    def __init__(self, deadlines: Deadlines, loop: asyncio.AbstractEventLoop) -> None:
        self._deadlines = deadlines
        self.loop = loop
        self.outbox = deadlines.outbox(loop)
        self.deadline = _NEVER
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self._future: asyncio.Future[Any] | None = None
        self._running = False
        self._again = False

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run `coroutine` until it waits or ends; it must handle its own errors."""
        self._coroutine = coroutine
        self._deadlines.flows.add(self)
        self._step(None)

    def wake(self) -> None:
        """Go on, where the coroutine waits for this flow."""
        if self._running:
            self._again = True
        elif self._future is None and self._coroutine is not None:
            self._step(None)

    def throw(self, error: BaseException) -> None:
        """Raise `error` where the coroutine waits."""
        if self._coroutine is None or self._running:
            return
        if self._future is not None:
            self._future.remove_done_callback(self._future_done)
            self._future = None
        self._step(error)

    def wait(self, timeout_s: float) -> "Flow":
        """Return what is to be awaited until somebody wakes the flow.

        Raises:
            TimeoutError: Nothing woke it for `timeout_s` seconds; raised by awaiting it.
        """
        self.deadline = self.loop.time() + timeout_s
        return self

    def __await__(self) -> "Generator[Flow, None, None]":
        yield self

    async def result_of(self, future: "asyncio.Future[T]", timeout_s: float) -> T:
        """Wait for a future for at most `timeout_s` seconds, then cancel it: TimeoutError."""
        self.deadline = self.loop.time() + timeout_s
        try:
            return await future
        finally:
            self.deadline = _NEVER
            future.cancel()

    def _future_done(self, future: "asyncio.Future[Any]") -> None:
        if future is not self._future:
            return  # its flow was thrown out of that wait
        self._future = None
        self._step(None)

    def _step(self, error: BaseException | None) -> None:
        coroutine = self._coroutine
        if coroutine is None:
            return
        self._running = True
        try:
            while True:
                self._again = False
                self.deadline = _NEVER
                if error is None:
                    awaited = coroutine.send(None)
                else:
                    awaited, error = coroutine.throw(error), None
                if awaited is None:  # `asyncio.sleep(0)`: let others run
                    self.loop.call_soon(self.wake)
                    return
                if awaited is not self:
                    # What asyncio.Task does with a future that a coroutine hands up to it.
                    awaited._asyncio_future_blocking = False
                    self._future = awaited
                    awaited.add_done_callback(self._future_done)
                    return
                if not self._again:
                    return
        except StopIteration:
            self._end()
        except BaseException:
            self._end()
            _log.exception("a flow failed")
        finally:
            self._running = False

    def _end(self) -> None:
        self._coroutine = None
        self._deadlines.flows.discard(self)
