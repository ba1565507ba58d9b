"""Engines that die, stall, talk nonsense or refuse: alone, and with a healthy one beside them."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator

from loadtests.chaos import records
from loadtests.chaos.engine import Mode, ScriptedEngine
from loadtests.chaos.engine_process import processes
from loadtests.chaos.score import Sample, Score, Verdict, tally
from loadtests.chaos.targets import Running, System
from loadtests.chaos.traffic import Load, with_failover

_BEFORE_S = 1.0


async def killed_alone(target: System) -> Score:
    """The only engine is killed while streams are open, and started again after a second."""
    async with processes(1) as (engine,), target.start([engine.url]) as running:
        async with Load(running) as load:
            await asyncio.sleep(_BEFORE_S)
            await engine.kill()
            await asyncio.sleep(1.0)
            await engine.start()
            back = time.monotonic()
            recovered = await load.good(back)
            await asyncio.sleep(0.5)
        wrong = await records.mistakes(running, load.samples)
    cut = [s for s in load.samples if s.status == 200 and s.verdict is not Verdict.GOOD]
    notes = [f"{len(cut)} streams were open; {_told(cut)} of them ended in an error frame"]
    return tally("engine killed in mid-stream, alone", load.samples, recovered_s=recovered,
                 mistakes=wrong, notes=notes)  # fmt: skip


async def killed_of_two(target: System) -> Score:
    """One of two engines is killed while streams are open, and comes back after 2 s."""
    async with processes(2) as engines, target.start([e.url for e in engines]) as running:
        async with Load(running) as load:
            await asyncio.sleep(_BEFORE_S)
            fault = time.monotonic()
            await engines[0].kill()
            recovered = await load.good(fault)
            await asyncio.sleep(2.0)
            await engines[0].start()
            await asyncio.sleep(1.5)
        samples = with_failover(load.samples)
        wrong = await records.mistakes(running, load.samples)
    return tally("engine killed in mid-stream, of two", samples, recovered_s=recovered,
                 mistakes=wrong, notes=[_slowest(samples, fault)])  # fmt: skip


async def stalled_of_two(target: System) -> Score:
    """One of two engines is stopped for 5 s; a request may wait 2 s for its first byte."""
    async with processes(2) as engines, target.start([e.url for e in engines]) as running:
        async with Load(running) as load:
            await asyncio.sleep(_BEFORE_S)
            fault = time.monotonic()
            engines[0].signal(signal.SIGSTOP)
            recovered = await load.good(fault)
            await asyncio.sleep(5.0)
            engines[0].signal(signal.SIGCONT)
            woken = time.monotonic()
            await asyncio.sleep(1.5)
        samples = with_failover(load.samples)
        wrong = await records.mistakes(running, load.samples)
    late = [s for s in samples if s.verdict is Verdict.TOLD]
    last = max((s.ended - fault for s in late), default=0.0)
    after = sum(s.ended > woken + 1 for s in late)
    notes = [f"{len(late)} timed out and were told so, the last {last:.1f} s after the fault",
             f"{after} timed out later than 1 s after the end of the stall"]  # fmt: skip
    return tally("engine stalls, of two", samples, recovered_s=recovered, mistakes=wrong,
                 notes=notes)  # fmt: skip


async def garbage_of_two(target: System) -> Score:
    """One of two engines answers what is not HTTP, before and within streams."""
    return await _sick(target, Mode.GARBAGE)


async def half_frame_of_two(target: System) -> Score:
    """One of two engines sends half a frame, or half a document, and closes."""
    return await _sick(target, Mode.HALF_FRAME)


async def errors_of_two(target: System) -> Score:
    """One of two engines answers 500 to everything, at once; its health looks good."""
    return await _sick(target, Mode.ERROR_500)


async def _sick(target: System, mode: Mode) -> Score:
    async with _pair(target) as (sick, running):
        async with Load(running) as load:
            await asyncio.sleep(_BEFORE_S)
            sick.mode = mode
            fault, served = time.monotonic(), sick.served
            recovered = await load.good(fault)
            await asyncio.sleep(3.0)
            asked = sick.served - served
            sick.mode, healed, served = Mode.GOOD, time.monotonic(), sick.served
            returned = await _served_again(sick, served)
            await asyncio.sleep(0.5)
        samples = with_failover(load.samples)
        wrong = await records.mistakes(running, load.samples)
    notes = [f"the sick engine was asked {asked} times in 3 s", _return(returned, healed)]
    return tally(f"engine answers {mode}, of two", samples, recovered_s=recovered,
                 mistakes=wrong, notes=notes)  # fmt: skip


async def refusing_of_two(target: System) -> Score:
    """One of two engines closes its connections and refuses new ones for 3 s."""
    async with _pair(target) as (sick, running):
        async with Load(running) as load:
            await asyncio.sleep(_BEFORE_S)
            fault = time.monotonic()
            await sick.refuse()
            recovered = await load.good(fault)
            await asyncio.sleep(3.0)
            await sick.listen()
            healed, served = time.monotonic(), sick.served
            returned = await _served_again(sick, served)
            await asyncio.sleep(0.5)
        samples = with_failover(load.samples)
        wrong = await records.mistakes(running, load.samples)
    return tally("engine refuses connections, of two", samples, recovered_s=recovered,
                 mistakes=wrong, notes=[_return(returned, healed)])  # fmt: skip


async def refusing_alone(target: System) -> Score:
    """The only engine refuses connections for 2 s."""
    async with ScriptedEngine() as engine, target.start([engine.url]) as running:
        async with Load(running) as load:
            await asyncio.sleep(_BEFORE_S)
            await engine.refuse()
            await asyncio.sleep(2.0)
            await engine.listen()
            recovered = await load.good(time.monotonic())
            await asyncio.sleep(0.5)
        wrong = await records.mistakes(running, load.samples)
    return tally("engine refuses connections, alone", load.samples, recovered_s=recovered,
                 mistakes=wrong)  # fmt: skip


@contextlib.asynccontextmanager
async def _pair(target: System) -> AsyncIterator[tuple[ScriptedEngine, Running]]:
    """Run a gateway over two engines; gives the one that is to fall ill."""
    async with (
        ScriptedEngine() as sick,
        ScriptedEngine() as well,
        target.start([sick.url, well.url]) as running,
    ):
        yield sick, running


async def _served_again(
    engine: ScriptedEngine, served: int, within_s: float = 20.0
) -> float | None:
    """Return when the engine was given work again."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if engine.served > served:
            return time.monotonic()
        await asyncio.sleep(0.01)
    return None


def _return(returned: float | None, healed: float) -> str:
    if returned is None:
        return "the healed engine got no work within 20 s"
    return f"the healed engine had work again after {returned - healed:.1f} s"


def _slowest(samples: list[Sample], fault: float) -> str:
    waits = [s.ended - s.started for s in samples if s.started >= fault]
    return f"the slowest answer after the fault took {max(waits, default=0.0):.2f} s"


def _told(samples: list[Sample]) -> int:
    return sum(s.verdict is Verdict.TOLD for s in samples)
