"""Admission by several workers, one of which crashes, and while the ledger is away."""

import asyncio
import time

import pytest

from gateway.admission import Admission
from gateway.errors import Unavailable
from gateway.limits import bookkeeper
from gateway.store.ledger import TOKENS
from tests.gateway.admitting import (
    KEY,
    START,
    Clock,
    Shaky,
    refused,
    running,
    until,
    who,
)

pytestmark = pytest.mark.usefixtures("quick_admission")


async def test_one_at_a_time_over_two_workers_is_never_refused_with_grace(
    ledger: Shaky, clock: Clock
) -> None:
    caller = who(max_concurrency=1)
    async with running(ledger, clock) as one, running(ledger, clock) as other:
        for admission in (one, other, other, one, other):
            grant = admission.admit(caller, 1) or await admission.ask(caller, 1)
            assert one.admit(caller, 1) is other.admit(caller, 1) is None
            grant.settle(1)


async def test_slots_of_a_worker_that_crashed_are_free_after_its_lease(
    ledger: Shaky, clock: Clock
) -> None:
    caller = who(max_concurrency=1)
    crashed = Admission(ledger, clock=clock)
    await crashed.ask(caller, 1)
    async with running(ledger, clock) as admission:
        await refused(admission, caller)
        clock.now += 9
        await asyncio.sleep(0.06)  # a refusal is remembered for a moment
        await refused(admission, caller)
        clock.now += 2
        await asyncio.sleep(0.06)
        assert await admission.ask(caller, 1)


async def test_slots_of_a_worker_that_lives_are_kept(ledger: Shaky, clock: Clock) -> None:
    caller = who(max_concurrency=1)
    async with running(ledger, clock, lease_s=0.3) as one, running(ledger, clock) as other:
        await one.ask(caller, 1)
        for _ in range(4):
            await asyncio.sleep(0.1)
            clock.now += 0.1
            await refused(other, caller)


async def test_a_ledger_that_is_away_refuses_nobody_and_is_told_later(
    ledger: Shaky, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookkeeper, "_PROBE_EVERY_S", 0.01)
    caller = who(tokens_per_minute=100, max_concurrency=2)
    async with running(ledger, clock) as admission:
        (await admission.ask(caller, 30)).settle(45)
        ledger.down = True
        grants = [await admission.ask(caller, 50) for _ in range(4)]
        assert admission.on_credit == 4
        assert admission.unbooked == 15 + 4 * 50
        for grant in grants[1:]:
            grant.settle(45)
        await until(lambda: ledger.failed >= 3)
        assert (admission.away, admission.unbooked) == (True, 15 + 50 + 3 * 45)
        assert ledger.used(KEY)[TOKENS, START] == 30
        ledger.down = False
        await until(lambda: not admission.away and admission.unbooked == 0)
        await refused(admission, caller)
        assert ledger.used(KEY)[TOKENS, START] == 45 + 50 + 3 * 45
        assert ledger.held(KEY, clock()) >= 1
        grants[0].settle(None)
    assert ledger.used(KEY)[TOKENS, START] == 45 + 3 * 45
    assert ledger.held(KEY, clock()) == 0


async def test_a_ledger_that_is_away_may_close_the_gate(ledger: Shaky, clock: Clock) -> None:
    caller = who(tokens_per_minute=100)
    ledger.down = True
    async with running(ledger, clock, fail_open=False) as admission:
        with pytest.raises(Unavailable) as caught:
            await admission.ask(caller, 10)
        assert (caught.value.code, caught.value.retry_after) == ("limits_unavailable", 1)
        ledger.down = False
        await until(lambda: not admission.away)
        assert await admission.ask(caller, 10)


async def test_no_request_waits_long_for_a_ledger_that_hangs(
    ledger: Shaky, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookkeeper, "_PATIENCE_S", 0.05)
    caller = who(tokens_per_minute=100)
    ledger.slow_s = 0.3
    async with running(ledger, clock) as admission:
        started = time.monotonic()
        for _ in range(3):
            (await admission.ask(caller, 50)).settle(10)
        assert time.monotonic() - started < 0.2
        ledger.slow_s = 0.0
        await until(lambda: not admission.away)
    assert ledger.used(KEY) == {(TOKENS, START): 30}
