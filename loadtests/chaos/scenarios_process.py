"""A new configuration and a stop, while clients with kept-alive connections go on asking."""

import asyncio
import os
import signal
import time
from dataclasses import replace

import httpx

from loadtests.chaos import records
from loadtests.chaos.engine import ScriptedEngine
from loadtests.chaos.score import Sample, Score, Verdict, skipped, tally
from loadtests.chaos.targets import Limits, Running, System
from loadtests.chaos.traffic import Load

_RELOADS = 2
_WITHIN_S = 30.0


async def rolling_restart(target: System) -> Score:
    """SIGHUP three times: every worker is replaced while requests are under way."""
    fault = f"{_RELOADS} rolling restarts under load"
    if not target.has_store:
        return skipped(fault, "it has no restart without a gap")
    limits = Limits(more={"workers": "2", "drain_delay_s": "0.2"})
    async with ScriptedEngine() as engine, target.start([engine.url], limits) as running:
        async with Load(running) as load, Load(running, 4, keep_alive=False) as fresh:
            await asyncio.sleep(1.0)
            took = []
            for _ in range(_RELOADS):
                began = time.monotonic()
                old = {worker.pid for worker in running.workers()}
                os.kill(running.pid, signal.SIGHUP)
                if not await _replaced(running, old):
                    break
                took.append(time.monotonic() - began)
            recovered = await load.good(time.monotonic())
        samples = [*load.samples, *fresh.samples]
        wrong = await records.mistakes(running, samples)
    if len(took) < _RELOADS:
        wrong.append("the workers were not replaced")
    notes = [f"a restart took {max(took, default=0.0):.1f} s at most, 2 workers"]
    return tally(fault, _none_unavoidable(samples), recovered_s=recovered, mistakes=wrong,
                 notes=notes)  # fmt: skip


async def drain(target: System) -> Score:
    """SIGTERM: a balancer that sees "not ready" sends no more; what it has sent is answered."""
    limits = Limits(more={"drain_delay_s": "1"})
    async with ScriptedEngine() as engine, target.start([engine.url], limits) as running:
        async with Load(running) as load:
            await asyncio.sleep(1.5)
            stopped = time.monotonic()
            os.kill(running.pid, signal.SIGTERM)
            while await _is_ready(running):  # noqa: ASYNC110 - it is asked
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.2)  # so long a balancer may take to act
        took = time.monotonic() - stopped
        gone = await _gone(running)
        wrong = await records.mistakes(running, load.samples)
    after = sum(s.started > stopped for s in load.samples)
    notes = [f"{after} requests came after the signal; the last answer ended after {took:.1f} s"]
    if not gone:
        wrong.append(f"it still ran {_WITHIN_S:g} s later")
    return tally("SIGTERM under load", _none_unavoidable(load.samples), mistakes=wrong, notes=notes)


async def _is_ready(running: Running) -> bool:
    paths = {"driftgate": "/health/ready"}
    async with httpx.AsyncClient(timeout=5) as client:
        try:
            answer = await client.get(running.url + paths.get(running.name, "/health/readiness"))
        except httpx.TransportError:
            return False
    return answer.is_success


def _none_unavoidable(samples: list[Sample]) -> list[Sample]:
    """Count errors as lost: none is needed here."""
    return [
        replace(s, verdict=Verdict.LOST, why=f"an error, {s.status}")
        if s.verdict is Verdict.TOLD
        else s
        for s in samples
    ]


async def _replaced(running: Running, old: set[int]) -> bool:
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        now = {worker.pid for worker in running.workers()}
        if len(now) == len(old) and not now & old:
            return True
        await asyncio.sleep(0.05)
    return False


async def _gone(running: Running) -> bool:
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        try:
            os.kill(running.pid, 0)
        except ProcessLookupError:
            return True
        if _is_zombie(running.pid):
            return True
        await asyncio.sleep(0.05)
    return False


def _is_zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "Z"
