import asyncio
import timeit
from collections.abc import Coroutine
from typing import Any

import pytest

from gateway.admission import Admission
from gateway.auth import Principal
from gateway.errors import RateLimited
from gateway.limits import quota
from gateway.limits.quota import FREE, Grant
from gateway.store.ledger import DAY, MONTH, REQUESTS, TOKENS
from tests.gateway.admitting import (
    DAY_START,
    KEY,
    MONTH_START,
    START,
    Clock,
    Shaky,
    refused,
    running,
    until,
    who,
)

pytestmark = pytest.mark.usefixtures("quick_admission")


async def test_a_key_without_limits_never_meets_the_ledger(ledger: Shaky, clock: Clock) -> None:
    ledger.down = True
    admission = Admission(ledger, clock=clock)
    for caller in (Principal(None, frozenset()), Principal(KEY, frozenset())):
        assert admission.admit(caller, 10**9) is FREE
        assert await admission.ask(caller, 10**9) is FREE
    FREE.settle(5)
    FREE.settle(None, refund_request=True)
    assert FREE.lines == b""


async def test_what_is_settled_is_what_the_ledger_says_in_the_end(
    ledger: Shaky, clock: Clock
) -> None:
    caller = who(requests_per_minute=9, tokens_per_minute=1000, max_concurrency=4)
    async with running(ledger, clock) as admission:
        grants = [await admission.ask(caller, 200) for _ in range(4)]
        for grant, used in zip(grants, (200, 50, 0, None), strict=True):
            grant.settle(used)
            grant.settle(999)  # only the first counts
        refunded = await admission.ask(caller, 100)
        refunded.settle(None, refund_request=True)
    assert ledger.used(KEY) == {(REQUESTS, START): 4, (TOKENS, START): 250}
    assert ledger.held(KEY, clock()) == 0


async def test_use_beyond_the_reservation_is_booked_over_the_limit(
    ledger: Shaky, clock: Clock
) -> None:
    caller = who(tokens_per_minute=100)
    async with running(ledger, clock) as admission:
        (await admission.ask(caller, 90)).settle(130)
        await refused(admission, caller)
        assert ledger.used(KEY) == {(TOKENS, START): 130}


async def test_blocks_spare_trips_and_shrink_near_the_limit(ledger: Shaky, clock: Clock) -> None:
    caller = who(tokens_per_minute=100_000, requests_per_minute=10**6)
    async with running(ledger, clock) as admission:
        admitted = 0
        with pytest.raises(RateLimited):
            while True:
                (admission.admit(caller, 10) or await admission.ask(caller, 10)).settle(10)
                admitted += 1
    assert admitted == 10_000
    assert ledger.takes < 150


@pytest.mark.parametrize(
    ("limits", "code", "reset_s"),
    [
        ({"requests_per_minute": 2}, "rate_limit_requests", 60),
        ({"tokens_per_minute": 20}, "rate_limit_tokens", 60),
        ({"tokens_per_day": 20, "tokens_per_minute": 99}, "budget_exhausted", 60),
        ({"tokens_per_month": 20, "requests_per_minute": 99}, "budget_exhausted", 60),
        ({"max_concurrency": 2}, "concurrency_limit", 1),
    ],
)
async def test_a_refusal_names_the_limit_and_a_new_window_admits(
    ledger: Shaky, clock: Clock, limits: dict[str, int], code: str, reset_s: int
) -> None:
    caller = who(**limits)
    async with running(ledger, clock) as admission:
        grants = [await admission.ask(caller, 10) for _ in range(2)]
        error = await refused(admission, caller, 10)
        assert (error.status, error.code, error.retry_after) == (429, code, reset_s)
        assert str(next(iter(limits.values()))) in error.message
        assert (b"retry-after", str(reset_s).encode()) in error.headers()
        if code == "concurrency_limit":
            grants[0].settle(10)
        else:
            assert "2026-02-01 00:00:00 UTC" in error.message
            clock.now += 60
        assert await admission.ask(caller, 10)


async def test_a_grant_that_outlives_its_window_is_settled_there(
    ledger: Shaky, clock: Clock
) -> None:
    caller = who(tokens_per_minute=100, tokens_per_day=1000, tokens_per_month=10_000)
    async with running(ledger, clock) as admission:
        early = await admission.ask(caller, 100)
        clock.now += 60
        late = await admission.ask(caller, 100)
        early.settle(30)
        late.settle(40)
    old = {(TOKENS, START): 30, (DAY, DAY_START): 30, (MONTH, MONTH_START): 30}
    start = START + 60
    assert ledger.used(KEY) == old | {(kind, start): 40 for kind in (TOKENS, DAY, MONTH)}


async def test_a_request_beyond_any_window_is_refused_or_cut(ledger: Shaky, clock: Clock) -> None:
    caller = who(tokens_per_minute=100, tokens_per_day=80)
    async with running(ledger, clock) as admission:
        assert admission.admit(caller, 81) is None
        error = await refused(admission, caller, 81)
        assert (error.code, error.retry_after) == ("request_too_large", None)
        assert ledger.takes == 0
        assert await admission.ask(caller, 81, default=True)
        assert ledger.used(KEY)[DAY, DAY_START] == 80


async def test_headers_are_openais(ledger: Shaky, clock: Clock) -> None:
    caller = who(requests_per_minute=60, tokens_per_minute=1000, tokens_per_month=10**6)
    async with running(ledger, clock) as admission:
        grant = await admission.ask(caller, 100)
        clock.now += 10
        expected = {
            b"x-ratelimit-limit-requests": b"60",
            b"x-ratelimit-remaining-requests": b"59",
            b"x-ratelimit-reset-requests": b"50s",
            b"x-ratelimit-limit-tokens": b"1000",
            b"x-ratelimit-remaining-tokens": b"900",
            b"x-ratelimit-reset-tokens": b"50s",
        }
        assert grant.lines == b"".join(b"%b: %b\r\n" % pair for pair in expected.items())
        grant.settle(40)
        assert b"x-ratelimit-remaining-tokens: 960\r\n" in grant.lines
        first, second = await admission.ask(caller, 500), await admission.ask(caller, 460)
        error = await refused(admission, caller)
        told = dict(error.headers())
        assert told[b"x-ratelimit-remaining-tokens"] == b"0"
        assert told.keys() >= expected.keys()
        first.settle(0)
        second.settle(0)


async def test_idle_blocks_go_back(
    ledger: Shaky, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota, "IDLE_S", 0.05)
    caller = who(tokens_per_minute=8000)
    async with running(ledger, clock) as admission:
        for _ in range(5):
            (await admission.ask(caller, 10)).settle(10)
        assert ledger.used(KEY)[TOKENS, START] > 50
        await until(lambda: ledger.used(KEY)[TOKENS, START] == 50)


async def test_changed_limits_hold_at_once(ledger: Shaky, clock: Clock) -> None:
    async with running(ledger, clock) as admission:
        before = await admission.ask(who(tokens_per_minute=100, max_concurrency=1), 60)
        await refused(admission, who(tokens_per_minute=50), 1)
        await refused(admission, who(tokens_per_minute=100, max_concurrency=1), 1)
        after = await admission.ask(who(tokens_per_minute=200), 140)
        assert ledger.held(KEY, clock()) == 1
        before.settle(10)
        after.settle(140)
        await until(lambda: ledger.held(KEY, clock()) == 0)
    assert ledger.used(KEY) == {(TOKENS, START): 150}
    assert ledger.held(KEY, clock()) == 0


async def test_many_that_wait_share_few_trips(ledger: Shaky, clock: Clock) -> None:
    caller = who(requests_per_minute=150, tokens_per_minute=10**6, max_concurrency=10**4)
    async with running(ledger, clock) as admission:
        asks = [admission.ask(caller, 10) for _ in range(400)]
        answers = await asyncio.gather(*asks, return_exceptions=True)
        assert sum(isinstance(answer, Grant) for answer in answers) == 150
        assert sum(isinstance(answer, RateLimited) for answer in answers) == 250
        assert ledger.takes < 80
        before = ledger.takes
        for _ in range(100):
            await refused(admission, caller)
        assert ledger.takes <= before + 2


async def test_who_leaves_while_waiting_takes_nothing(ledger: Shaky, clock: Clock) -> None:
    caller = who(tokens_per_minute=100, max_concurrency=1)
    ledger.slow_s = 0.05
    async with running(ledger, clock) as admission:
        leaving = asyncio.create_task(admission.ask(caller, 100))
        await asyncio.sleep(0.02)
        leaving.cancel()
        await until(lambda: leaving.done() and ledger.takes)
        assert await admission.ask(caller, 100)
        assert ledger.takes == 1


async def test_asking_needs_no_task(ledger: Shaky, clock: Clock) -> None:
    async with running(ledger, clock) as admission:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Grant] = loop.create_future()
        loop.call_soon(_drive, admission.ask(who(tokens_per_minute=100), 10), done)
        assert (await done).lines


def _drive(work: Coroutine[Any, Any, Grant], done: "asyncio.Future[Grant]") -> None:
    assert asyncio.current_task() is None
    try:
        future = work.send(None)
    except StopIteration as stop:
        done.set_result(stop.value)
    else:
        future._asyncio_future_blocking = False
        future.add_done_callback(lambda _: _drive(work, done))


async def test_it_takes_microseconds(ledger: Shaky, clock: Clock) -> None:
    caller = who(requests_per_minute=10**9, tokens_per_minute=10**12, max_concurrency=10**6)
    async with running(ledger, clock) as admission:
        (await admission.ask(caller, 1000)).settle(0, refund_request=True)

        def once() -> None:
            grant = admission.admit(caller, 1)
            assert grant is not None
            grant.settle(0, refund_request=True)

        fastest = min(timeit.repeat(once, number=1000, repeat=5)) / 1000
    assert fastest < 20e-6  # about 1 µs on an idle machine
