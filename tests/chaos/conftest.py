"""One gateway for most scenarios: each starts with engines of its own, the process stays."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

import httpx
import pytest

from loadtests.chaos.driftgate import Driftgate, put_engines
from loadtests.chaos.targets import USUAL, Limits, Running

_WITHIN_S = 10.0


@dataclass(frozen=True)
class Kept(Driftgate):
    """A Driftgate that is there already; one with other settings is started as ever."""

    running: Running | None = None

    @contextlib.asynccontextmanager
    async def start(self, engines: Sequence[str], limits: Limits = USUAL) -> AsyncIterator[Running]:
        """Put these engines behind it and wait until it knows them."""
        if limits != USUAL or self.running is None:
            async with super().start(engines, limits) as started:
                yield started
            return
        put_engines(self.running.store(), engines)
        deadline = time.monotonic() + _WITHIN_S
        while not await self._is_ready(len(engines)):
            assert time.monotonic() < deadline, "the gateway does not know its engines"
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)  # it reads the store every 0.1 s
        yield self.running

    async def _is_ready(self, count: int) -> bool:
        assert self.running is not None
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{self.running.url}/health/ready")
        return answer.is_success and len(answer.json()["engines"]) == count


@pytest.fixture(scope="session")
def driftgate() -> Iterator[Kept]:
    """Run the gateway until the last test has ended."""
    with Driftgate().serving([]) as running:
        yield Kept(running=running)
