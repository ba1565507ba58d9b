"""Health checks of engines: one `GET /health` a second each, which costs no tokens.

A bad one opens the engine's circuit breaker before a request finds out; a good one lets the next
request be the probe that closes it.
"""

import asyncio
import logging
import time

from gateway.engines.probe import is_healthy
from gateway.routing import EngineLink, Routes
from gateway.store.engines import EngineState

_log = logging.getLogger(__name__)
_TIMEOUT_S = 2.0


class HealthChecks:
    """Checks every engine that the store calls ready.

    Args:
        routes: The engines.
        period_s: Time between two checks of an engine, in seconds.
    """

    def __init__(self, routes: Routes, period_s: float) -> None:
        self._routes = routes
        self._period_s = period_s

    async def run(self) -> None:
        """Check until cancelled; an engine that hangs does not hold up the checks of others."""
        under_way: dict[EngineLink, asyncio.Task[None]] = {}
        try:
            while True:
                under_way = {k: task for k, task in under_way.items() if not task.done()}
                for link in self._routes.links():
                    if link.engine.state is EngineState.READY and link not in under_way:
                        under_way[link] = asyncio.create_task(self._check(link))
                await asyncio.sleep(self._period_s)
        finally:
            for task in under_way.values():
                task.cancel()

    async def _check(self, link: EngineLink) -> None:
        healthy = await is_healthy(link.engine.address, _TIMEOUT_S)
        now = time.monotonic()
        before = link.breaker.state(now)
        link.breaker.checked(healthy, now)
        after = link.breaker.state(now)
        if after != before:
            _log.warning("engine %s is %s", link.engine.address, after)
