"""A worker's trips to the ledger, in threads: blocks come back, and what it must hear goes there.

A key has one trip on its way at a time, for all of its requests that wait. A trip belongs to no
request: what it brings lands in the key's quota, whoever has left meanwhile.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from gateway.limits.quota import Quota
from gateway.limits.refusal import Refusal
from gateway.store.database import StoreError
from gateway.store.ledger import SLOTS, Lease, LedgerStore, Row, Taken, Want

_log = logging.getLogger(__name__)
# Longer than this no request waits for the ledger.
_PATIENCE_S = 1.0
_PROBE_EVERY_S = 0.5
_THREADS = 4
# For so long a refusal holds for requests that want as much.
_REMEMBER_S = 0.25
_REMEMBER_SLOTS_S = 0.05


class _Queue:
    """The requests of one key that wait for a trip, and the latest refusal."""

    __slots__ = ("flying", "refusal", "until", "waiters")

    def __init__(self) -> None:
        self.flying = False
        self.waiters: list[tuple[int, asyncio.Future[Refusal | None]]] = []
        self.refusal: Refusal | None = None
        self.until = 0.0


class Bookkeeper:
    """Speaks to the ledger for one worker.

    Args:
        ledger: The ledger.
        lease: Makes the lease of the worker from now on.
        landed: Called when a trip has brought something.
    """

    def __init__(
        self, ledger: LedgerStore, lease: Callable[[], Lease], landed: Callable[[], None]
    ) -> None:
        self._ledger = ledger
        self._lease = lease
        self._tell = landed
        self._queues: dict[Quota, _Queue] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="ledger")
        self._trips: set[asyncio.Future[Any]] = set()
        self._booking = False
        self._probe_at = 0.0
        self.away = False

    async def decide(self, quota: Quota, tokens: int) -> Refusal | None:
        """Wait for the key's next trip; None: look at the quota, and at `away`, again."""
        loop = asyncio.get_running_loop()
        queue = self._queues.setdefault(quota, _Queue())
        waiter: asyncio.Future[Refusal | None] = loop.create_future()
        queue.waiters.append((tokens, waiter))
        if not queue.flying:
            queue.flying = True
            loop.call_soon(self._fly, loop, quota, queue)  # not at once: others may be joining
        late = loop.call_later(_PATIENCE_S, self._too_late, waiter)
        try:
            return await waiter
        finally:
            late.cancel()
            waiter.cancel()

    def remember(self, quota: Quota, refusal: Refusal) -> None:
        """Let a refusal hold for a moment without asking the ledger again."""
        queue = self._queues.setdefault(quota, _Queue())
        queue.refusal = refusal
        wait = _REMEMBER_SLOTS_S if refusal.kind == SLOTS else _REMEMBER_S
        queue.until = time.monotonic() + wait

    def remembered(self, quota: Quota, tokens: int) -> Refusal | None:
        """Return a refusal that still holds for a request of so many tokens."""
        queue = self._queues.get(quota)
        if queue is None or queue.refusal is None:
            return None
        if time.monotonic() >= queue.until or not queue.refusal.stands(quota):
            queue.refusal = None
        elif queue.refusal.holds_for(tokens):
            return queue.refusal
        return None

    def book(self, quotas: Iterable[Quota]) -> None:
        """Send what the ledger must hear; while it is away, now and then, if only to knock."""
        moment = time.monotonic()
        owing = [quota for quota in quotas if quota.owed]
        if self._booking or not (owing or self.away) or (self.away and moment < self._probe_at):
            return
        self._probe_at = moment + _PROBE_EVERY_S
        self._booking = True
        changes = {quota.prefix: quota.hand_over() for quota in owing}
        trip = self._start(partial(self._ledger.book, changes, self._lease()))
        trip.add_done_callback(partial(self._booked, owing, changes))

    def extend(self) -> None:
        """Keep the worker's slots alive."""
        self._start(partial(self._ledger.extend, self._lease()))

    def purge(self) -> None:
        """Have old windows forgotten."""
        self._start(partial(self._ledger.purge, self._lease().now))

    def forget(self, quota: Quota) -> None:
        """Drop what is known of a quota that was retired; its last trip may still land."""
        queue = self._queues.pop(quota, None)
        for _, waiter in queue.waiters if queue is not None else ():
            _answer(waiter, None)

    async def close(self, quotas: Iterable[Quota]) -> None:
        """Book what is owed, give up the worker's slots and end the threads."""
        await self._settled()
        self._booking, self._probe_at = False, 0.0
        self.book(quotas)
        await self._settled()
        self._start(partial(self._ledger.leave, self._lease().holder))
        await self._settled()
        self._threads.shutdown(wait=False)
        self._ledger.close()

    async def _settled(self) -> None:
        while self._trips:
            await asyncio.wait(self._trips)
            await asyncio.sleep(0)

    def _fly(self, loop: asyncio.AbstractEventLoop, quota: Quota, queue: _Queue) -> None:
        waiting = [tokens for tokens, waiter in queue.waiters if not waiter.done()]
        wants: list[Want] = []
        if waiting and quota.windows is not None:
            wants = quota.wants(waiting[0], sum(waiting), len(waiting), time.monotonic())
        if not wants:
            self._resolve(queue, None)
            return
        changes = quota.hand_over()
        call = partial(self._ledger.take, quota.prefix, wants, changes, self._lease())
        trip = self._start(call)
        trip.add_done_callback(partial(self._landed, quota, queue, wants, changes, waiting[0]))

    def _landed(
        self,
        quota: Quota,
        queue: _Queue,
        wants: list[Want],
        changes: dict[Row, int],
        need: int,
        trip: "asyncio.Future[Taken]",
    ) -> None:
        booked = _failure(trip) is None
        quota.heard(changes, booked)
        if not booked:
            self._resolve(queue, None)
            return
        taken = trip.result()
        present = quota.land(wants, taken)
        self._tell()
        refused = taken.refused[0] if taken.refused and present else None
        self._resolve(queue, Refusal.of(quota, refused, need) if refused else None)

    def _resolve(self, queue: _Queue, refusal: Refusal | None) -> None:
        queue.flying = False
        waiters, queue.waiters = queue.waiters, []
        for tokens, waiter in waiters:
            holds = refusal is not None and refusal.holds_for(tokens)
            _answer(waiter, refusal if holds else None)

    def _booked(
        self,
        owing: list[Quota],
        changes: dict[str, dict[Row, int]],
        trip: "asyncio.Future[None]",
    ) -> None:
        self._booking = False
        booked = _failure(trip) is None
        for quota in owing:
            quota.heard(changes[quota.prefix], booked)

    def _start(self, call: Callable[[], Any]) -> "asyncio.Future[Any]":
        trip = asyncio.get_running_loop().run_in_executor(self._threads, call)
        self._trips.add(trip)
        trip.add_done_callback(self._ended)
        return trip

    def _ended(self, trip: "asyncio.Future[Any]") -> None:
        self._trips.discard(trip)
        error = _failure(trip)
        if error is None:
            if self.away:
                _log.warning("limits: the ledger is back")
            self.away = False
            return
        if not self.away:
            known = isinstance(error, StoreError)
            _log.warning("limits: the ledger is away: %s", error, exc_info=None if known else error)
        self.away = True

    def _too_late(self, waiter: "asyncio.Future[Refusal | None]") -> None:
        if not waiter.done():
            if not self.away:
                _log.warning("limits: the ledger has not answered for %g s", _PATIENCE_S)
            self.away = True
            waiter.set_result(None)


def _answer(waiter: "asyncio.Future[Refusal | None]", answer: Refusal | None) -> None:
    if not waiter.done():
        waiter.set_result(answer)


def _failure(trip: "asyncio.Future[Any]") -> BaseException | None:
    return StoreError("the gateway is closing") if trip.cancelled() else trip.exception()
