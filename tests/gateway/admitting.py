"""What the tests of admission share: a ledger that can fail, a clock, an admission that runs."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.admission import Admission
from gateway.auth import Principal
from gateway.errors import RateLimited
from gateway.store.database import StoreError
from gateway.store.keys import KeyLimits
from gateway.store.ledger import Lease, Ledger, Row, Taken, Want

KEY = "0123abcd"
# 2026-01-31 23:59:00 UTC: a minute, a day and a month end together 60 s later.
START = 1769903940
DAY_START, MONTH_START = 1769817600, 1767225600


class Shaky(Ledger):
    """A ledger that may be away or slow, and counts its trips."""

    down = False
    slow_s = 0.0
    takes = 0
    failed = 0

    def take(
        self, key: str, wants: Sequence[Want], changes: Mapping[Row, int], lease: Lease
    ) -> Taken:
        self._pass()
        self.takes += 1
        return super().take(key, wants, changes, lease)

    def book(self, changes: Mapping[str, Mapping[Row, int]], lease: Lease) -> None:
        self._pass()
        super().book(changes, lease)

    def _pass(self) -> None:
        time.sleep(self.slow_s)
        if self.down:
            self.failed += 1
            raise StoreError("away")


class Clock:
    now = START + 0.5

    def __call__(self) -> float:
        return self.now


def who(**limits: int) -> Principal:
    return Principal(KEY, frozenset({"inference"}), KeyLimits(**limits))


@asynccontextmanager
async def running(ledger: Ledger, clock: Clock, **options: Any) -> AsyncIterator[Admission]:
    admission = Admission(ledger, clock=clock, **options)
    running = asyncio.create_task(admission.run())
    try:
        yield admission
    finally:
        running.cancel()
        await admission.close()


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def refused(admission: Admission, who: Principal, tokens: int = 1) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        await admission.ask(who, tokens)
    return caught.value
