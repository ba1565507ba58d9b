"""Admits requests within the limits of their keys: reserve → settle, against one shared ledger.

A worker leases blocks from the ledger and admits from them without I/O; only the ledger refuses.
What is leased never exceeds a limit, and so neither does what all workers admit. Unused blocks go
back when idle. A ledger that is away refuses nobody, unless told to: requests are then admitted on
credit, which is booked when it is back.
"""

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable

from gateway.auth import Principal
from gateway.errors import Unavailable
from gateway.limits.bookkeeper import Bookkeeper
from gateway.limits.quota import FREE, Grant, Quota
from gateway.limits.refusal import too_large
from gateway.store.ledger import Lease, LedgerStore, Row

# A refused request asks again after these times: what another worker has free comes back soon.
_GRACE_S: tuple[float, ...] = (0.03, 0.05, 0.08)
_TICK_S = 0.25
_SOON_S = 0.02
_PURGE_EVERY_S = 600.0


class Admission:
    """The gate of one worker process.

    Args:
        ledger: Where what keys have used is kept.
        fail_open: Whether requests are admitted while the ledger is away, and booked later.
        clock: The time in Unix seconds; hosts that share a ledger must agree on it.
        lease_s: After this time the slots of a worker that has crashed count no more.
    """

    def __init__(
        self,
        ledger: LedgerStore,
        *,
        fail_open: bool = True,
        clock: Callable[[], float] = time.time,
        lease_s: float = 10.0,
    ) -> None:
        self._fail_open = fail_open
        self._clock = clock
        self._lease_s = lease_s
        self._holder = f"{socket.gethostname()[:60]}-{os.getpid()}-{secrets.token_hex(4)}"
        self._quotas: dict[str | None, Quota] = {}
        self._soon = asyncio.Event()
        self._books = Bookkeeper(ledger, self._lease, self._soon.set)
        # Requests that were admitted without the ledger's word.
        self.on_credit = 0

    @property
    def unbooked(self) -> int:
        """Tokens that were admitted and that the ledger has not yet heard of."""
        return sum(quota.unbooked() for quota in self._quotas.values())

    @property
    def away(self) -> bool:
        """Whether the ledger did not answer lately."""
        return self._books.away

    def admit(self, principal: Principal, tokens: int, default: bool = False) -> Grant | None:
        """Reserve a request's tokens if what this worker holds suffices; None: `ask`.

        Args:
            principal: Who asks.
            tokens: Estimate of the prompt, plus the most that the answer may have.
            default: Whether that most is the gateway's, not the client's: it is cut to the limit.
        """
        limits = principal.limits
        if limits is None:
            return FREE
        quota = self._quotas.get(principal.key_prefix)
        if quota is None or quota.limits is not limits or self._clock() >= quota.until:
            quota = self._present(principal)
        if tokens > quota.most:
            if not default:
                return None
            tokens = quota.most
        return quota.reserve(tokens)

    async def ask(self, principal: Principal, tokens: int, default: bool = False) -> Grant:
        """Reserve a request's tokens with the ledger's help; arguments as of `admit`.

        Needs a running loop but no task: it awaits nothing but plain futures.

        Raises:
            RateLimited: A limit is reached, or the request alone is beyond it.
            Unavailable: The ledger is away, and requests are not to pass without it.
        """
        pauses = iter(_GRACE_S)
        while True:
            grant = self.admit(principal, tokens, default)
            if grant is not None:
                return grant
            quota = self._quotas[principal.key_prefix]
            if tokens > quota.most and quota.smallest is not None and not default:
                raise too_large(quota, quota.smallest, tokens)
            need = min(tokens, quota.most)
            if self._books.away:
                return self._credit(quota, need)
            refusal = self._books.remembered(quota, need)
            if refusal is None:
                refusal = await self._books.decide(quota, need)
                if refusal is None:
                    continue
                pause = next(pauses, None)
                if pause is not None:
                    await asyncio.sleep(pause)
                    continue
                self._books.remember(quota, refusal)
            raise refusal.error(quota)

    async def run(self) -> None:
        """Return idle blocks, book debts, keep slots alive and purge, until cancelled."""
        beat = time.monotonic() + self._lease_s / 3
        # Not all workers at once.
        purge = time.monotonic() + _PURGE_EVERY_S * (0.5 + secrets.randbelow(100) / 100)
        soon = False
        while True:
            if not soon:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._soon.wait(), _TICK_S)
            self._soon.clear()
            if soon or not self._books.away:
                await asyncio.sleep(_SOON_S)
            moment = time.monotonic()
            soon = False
            for quota in self._quotas.values():
                soon |= quota.tidy(moment)
            self._books.book(self._quotas.values())
            if moment >= beat:
                beat = moment + self._lease_s / 3
                if any(q.slots.limit is not None for q in self._quotas.values()):
                    self._books.extend()
            if moment >= purge:
                purge = moment + _PURGE_EVERY_S
                self._books.purge()

    async def close(self) -> None:
        """Give everything back. Call it when `run` has ended and no request is on its way."""
        for quota in self._quotas.values():
            quota.retire()
        await self._books.close(self._quotas.values())

    def _present(self, principal: Principal) -> Quota:
        """Return the caller's quota under its present limits and in the present windows."""
        limits = principal.limits
        assert limits is not None  # noqa: S101 - `admit` has looked
        quota = self._quotas.get(principal.key_prefix)
        if quota is not None and quota.limits == limits:
            quota.limits = limits  # the same, read anew: `is` tells next time
        else:
            owed: dict[Row, int] = {}
            if quota is not None:
                quota.retire()
                self._books.forget(quota)
                owed = quota.owed
            quota = Quota(principal.key_prefix or "", limits, owed, self._clock)
            self._quotas[principal.key_prefix] = quota
        if self._clock() >= quota.until:
            quota.roll()
        return quota

    def _credit(self, quota: Quota, tokens: int) -> Grant:
        if not self._fail_open:
            raise Unavailable(
                "The limits of this key cannot be checked now. Try again shortly.",
                code="limits_unavailable",
                retry_after=1,
            )
        self.on_credit += 1
        return quota.force(tokens)

    def _lease(self) -> Lease:
        now = self._clock()
        return Lease(self._holder, now, now + self._lease_s)
