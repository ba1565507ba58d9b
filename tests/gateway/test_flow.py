"""Flows: waking, waiting, deadlines, departures, and what must never be lost between them."""

import asyncio
import random
import time

import pytest

from gateway.call import ClientLeft
from gateway.flow import Deadlines, Flow
from tests.gateway.flows import drive, start


async def test_it_runs_at_once_until_it_waits_and_goes_on_within_the_wake(
    deadlines: Deadlines,
) -> None:
    seen: list[str] = []

    async def work(flow: Flow) -> None:
        seen.append("begun")
        await flow.wait(5)
        seen.append("woken")

    flow = start(deadlines, work)
    assert seen == ["begun"]
    flow.wake()
    assert seen == ["begun", "woken"]
    assert not deadlines.flows
    flow.wake()
    flow.throw(ClientLeft())  # it has ended: nobody is there to hear it


async def test_a_wake_from_within_its_own_step_is_not_lost(deadlines: Deadlines) -> None:
    async def work(flow: Flow) -> str:
        flow.wake()
        await flow.wait(5)
        return "on"

    assert await asyncio.wait_for(drive(deadlines, work), 1) == "on"


async def test_a_wake_before_the_wait_leaves_its_condition(deadlines: Deadlines) -> None:
    """Woken while it waits for a future, it finds the condition met when it comes to wait."""
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    arrived: list[int] = []
    ended = False

    async def work(flow: Flow) -> None:
        nonlocal ended
        await flow.result_of(gate, 5)
        while not arrived:
            await flow.wait(5)
        ended = True

    flow = start(deadlines, work)
    arrived.append(1)
    flow.wake()
    assert not ended, "only its future may resume it"
    gate.set_result(None)
    await asyncio.sleep(0.01)
    assert ended


async def test_spurious_wakes_change_nothing(deadlines: Deadlines) -> None:
    ready = False
    turns = 0

    async def work(flow: Flow) -> None:
        nonlocal turns
        while not ready:
            await flow.wait(5)
            turns += 1

    flow = start(deadlines, work)
    for _ in range(10):
        flow.wake()
    assert turns == 10
    assert flow in deadlines.flows
    ready = True
    flow.wake()
    assert not deadlines.flows


@pytest.mark.parametrize("timeout_s", [0.0, 0.07, 0.2])
async def test_a_deadline_ends_the_wait_to_within_a_tenth_of_a_second(
    deadlines: Deadlines, timeout_s: float
) -> None:
    async def work(flow: Flow) -> float:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await flow.wait(timeout_s)
        return time.monotonic() - began

    assert timeout_s - 0.01 <= await drive(deadlines, work) <= timeout_s + 0.1


async def test_a_deadline_counts_only_while_it_is_waited_for(deadlines: Deadlines) -> None:
    async def work(flow: Flow) -> str:
        flow.wake()
        await flow.wait(0.05)  # woken in time
        future: asyncio.Future[str] = flow.loop.create_future()
        flow.loop.call_later(0.25, future.set_result, "later")
        result = await future  # has no limit
        await asyncio.sleep(0.15)
        return result

    assert await asyncio.wait_for(drive(deadlines, work), 2) == "later"


async def test_wakes_of_others_do_not_move_a_deadline(deadlines: Deadlines) -> None:
    """The first of two waits times out although the other flow is woken all the time."""
    timed_out: list[float] = []

    async def short(flow: Flow) -> None:
        try:
            await flow.wait(0.1)
        except TimeoutError:
            timed_out.append(time.monotonic())

    async def busy(flow: Flow) -> None:
        while not timed_out:
            await flow.wait(0.5)

    began = time.monotonic()
    start(deadlines, short)
    other = start(deadlines, busy)
    while not timed_out and time.monotonic() - began < 2:
        other.wake()
        await asyncio.sleep(0.01)
    assert timed_out
    assert timed_out[0] - began < 0.25
    other.wake()
    assert not deadlines.flows


async def test_an_error_thrown_in_reaches_the_wait_and_can_be_survived(
    deadlines: Deadlines,
) -> None:
    seen: list[str] = []

    async def work(flow: Flow) -> None:
        try:
            await flow.wait(5)
        except ClientLeft:
            seen.append("left")
        await flow.wait(5)
        seen.append("went on")

    flow = start(deadlines, work)
    flow.throw(ClientLeft())
    assert seen == ["left"]
    flow.wake()
    assert seen == ["left", "went on"]
    assert not deadlines.flows


async def test_sleep_0_lets_others_run_in_between(deadlines: Deadlines) -> None:
    seen: list[str] = []

    async def work(_: Flow) -> None:
        seen.append("before")
        await asyncio.sleep(0)
        seen.append("after")

    asyncio.get_running_loop().call_soon(seen.append, "another")
    flow = start(deadlines, work)
    assert seen == ["before"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert seen == ["before", "another", "after"]
    assert flow not in deadlines.flows


async def test_a_flow_that_raises_is_forgotten_and_harms_no_other(
    deadlines: Deadlines, caplog: pytest.LogCaptureFixture
) -> None:
    async def wrong(flow: Flow) -> None:
        await flow.wait(5)
        raise ZeroDivisionError

    async def right(flow: Flow) -> None:
        await flow.wait(5)

    bad, good = start(deadlines, wrong), start(deadlines, right)
    bad.wake()
    assert deadlines.flows == {good}
    assert "ZeroDivisionError" in caplog.text
    good.wake()
    assert not deadlines.flows


async def test_a_tick_that_fails_stops_no_clock(
    deadlines: Deadlines, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: float) -> None:
        raise ZeroDivisionError

    deadlines.on_tick = [fail]

    async def work(flow: Flow) -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await flow.wait(0.01)

    await asyncio.wait_for(drive(deadlines, work), 1)
    assert "ZeroDivisionError" in caplog.text


async def test_what_drives_a_flow_passes_its_end_on(deadlines: Deadlines) -> None:
    ended: list[str] = []

    async def wrong(flow: Flow) -> None:
        await asyncio.sleep(0)
        raise ValueError("mine")

    async def long(flow: Flow) -> None:
        try:
            await flow.wait(5)
        finally:
            ended.append("tidied")

    with pytest.raises(ValueError, match="mine"):
        await drive(deadlines, wrong)
    task = asyncio.create_task(drive(deadlines, long))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["tidied"]
    assert not deadlines.flows


async def test_many_flows_at_once_all_end(deadlines: Deadlines) -> None:
    """Wakes, futures, timeouts and departures at random; none is lost, none is left over."""
    chance = random.Random(4)
    loop = asyncio.get_running_loop()
    ended: list[str] = []

    async def work(flow: Flow) -> None:
        outcome = "done"
        try:
            for _ in range(4):
                kind = chance.randrange(3)
                if kind == 0:
                    loop.call_later(chance.random() * 0.05, flow.wake)
                    await flow.wait(5)
                elif kind == 1:
                    future: asyncio.Future[None] = loop.create_future()
                    timer = loop.call_later(chance.random() * 0.1, _resolve, future)
                    try:
                        await flow.result_of(future, chance.random() * 0.1)
                    except TimeoutError:
                        timer.cancel()
                else:
                    await asyncio.sleep(0)
        except ClientLeft:
            outcome = "left"
        finally:
            ended.append(outcome)

    flows = [start(deadlines, work) for _ in range(400)]
    for flow in chance.sample(flows, 100):
        loop.call_later(chance.random() * 0.1, flow.throw, ClientLeft())
    until = time.monotonic() + 3
    while deadlines.flows and time.monotonic() < until:
        await asyncio.sleep(0.02)
        for flow in list(deadlines.flows):
            flow.wake()
    assert not deadlines.flows
    assert len(ended) == 400
    assert set(ended) == {"done", "left"}


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
