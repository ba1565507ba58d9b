"""The gate: how many requests a worker serves at once, how many wait, and when it says no.

Beyond what the engines can batch, more requests at once only make each slower; beyond what can
start in time, waiting is worse for a client than an honest 503 (load shedding). First come, first
served.
"""

from collections import deque

from gateway.errors import Unavailable
from gateway.flow import Flow


class Gate:
    """Admits flows.

    Args:
        places: Requests served at once.
        queue: Requests that may wait.
        timeout_s: How long one waits, in seconds.
    """

    def __init__(self, places: int, queue: int, timeout_s: float) -> None:
        self._free = places
        self._queue_limit = queue
        self._timeout_s = timeout_s
        self._queue: deque[_Ticket] = deque()

    def enter(self) -> bool:
        """Take a place, where one is free and nobody waits."""
        if self._free > 0 and not self._queue:
            self._free -= 1
            return True
        return False

    async def wait(self, flow: Flow) -> None:
        """Wait for a place and take it.

        Raises:
            Unavailable: Too many wait already, or it took too long.
        """
        if len(self._queue) >= self._queue_limit:
            raise self._overloaded("Too many requests wait.")
        ticket = _Ticket(flow)
        self._queue.append(ticket)
        deadline = flow.loop.time() + self._timeout_s
        try:
            while not ticket.called:
                await flow.wait(deadline - flow.loop.time())
        except BaseException as error:
            if ticket.called:
                self.leave()
            else:
                self._queue.remove(ticket)
            if isinstance(error, TimeoutError):
                late = f"No place became free within {self._timeout_s:g} s."
                raise self._overloaded(late) from None
            raise

    def leave(self) -> None:
        """Give the place back, to who waits longest."""
        if not self._queue:
            self._free += 1
            return
        ticket = self._queue.popleft()
        ticket.called = True
        # Not at once: a queue of failing requests would nest as deep as it is long.
        ticket.flow.loop.call_soon(ticket.flow.wake)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    def _overloaded(self, why: str) -> Unavailable:
        return Unavailable(f"{why} Try again shortly.", code="overloaded", retry_after=1)


class _Ticket:
    __slots__ = ("called", "flow")

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.called = False
