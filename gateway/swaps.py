"""Requests that wait while one engine takes another's place, where there is memory for one only.

Without this they would be told 503 for as long as an engine takes to start. They keep their place
at the gate meanwhile, so no more wait than a worker serves at once.
"""

from collections.abc import Collection

from gateway.errors import Unavailable
from gateway.flow import Flow
from gateway.routing import Routes
from gateway.store.engines import EngineState

# An alias was just moved to a release that no launcher has begun to serve: it reads aliases twice
# a second, and so does a worker the engines.
_GRACE_S = 3.0


class Swaps:
    """Lets requests wait for the engine of a release.

    Args:
        routes: What is served; told to accept requests for what is not served yet.
        wait_s: How long a request waits at most, in seconds.
        most: How many wait at most.
    """

    def __init__(self, routes: Routes, wait_s: float, most: int) -> None:
        self._routes = routes
        self._wait_s = wait_s
        self._most = most
        self._waiting: set[Flow] = set()
        routes.patient = True
        routes.on_update.append(self._wake)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    async def wait(self, flow: Flow, release: str) -> bool:
        """Wait until an engine of the release takes requests.

        Returns:
            Whether one does; False where none is about to, or it took too long.

        Raises:
            Unavailable: Too many wait already.
        """
        if self._routes.serves_release(release):
            return True
        if len(self._waiting) >= self._most:
            raise Unavailable("Too many requests wait.", code="overloaded", retry_after=5)
        began = flow.loop.time()
        self._waiting.add(flow)
        try:
            while not self._routes.serves_release(release):
                patience = _patience(self._routes.states(release), self._wait_s)
                left = began + patience - flow.loop.time()
                if left <= 0:
                    return False
                await flow.wait(left)
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(flow)
        return True

    def _wake(self) -> None:
        for flow in list(self._waiting):
            flow.loop.call_soon(flow.wake)


def _patience(states: Collection[EngineState], wait_s: float) -> float:
    """Return for how long a request waits that finds these engines of its release."""
    if EngineState.SWAPPING in states:
        return wait_s
    return 0.0 if states else min(_GRACE_S, wait_s)
