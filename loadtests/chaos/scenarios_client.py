"""Clients in masses, slow ones, and ones that send far too much."""

import asyncio
import contextlib
import resource
import time

from loadtests.chaos import raw, records
from loadtests.chaos.engine import ScriptedEngine
from loadtests.chaos.raw import Answer
from loadtests.chaos.score import Sample, Score, Verdict, tally
from loadtests.chaos.targets import Running, System
from loadtests.chaos.traffic import Load, judge, text, told

_CLIENTS = 1000
_SLOW = 200
# Driftgate is given 2 s for a head, and for a body.
_SLOW_LIMIT_S = 2.0
_BODY_BYTES = 100 * 2**20
# More than the largest body that is taken in (10 MiB) must not stay.
_GROWTH_MB = {"content-length": 8.0, "chunks": 24.0}


async def thousand_clients(target: System) -> Score:
    """1,000 clients connect at once and send a request each."""
    _raise_descriptor_limit()
    async with ScriptedEngine() as engine, target.start([engine.url]) as running:
        async with Load(running, 2) as load:
            await asyncio.sleep(0.5)
            began = time.monotonic()
            samples = await asyncio.gather(*(_one(running) for _ in range(_CLIENTS)))
            took = time.monotonic() - began
            recovered = await load.good(time.monotonic())
        wrong = await records.mistakes(running, load.samples)
    return tally(f"{_CLIENTS:,} clients connect at once", [*samples, *load.samples],
                 recovered_s=recovered, mistakes=wrong,
                 notes=[f"all answered within {took:.1f} s"])  # fmt: skip


async def slow_loris(target: System) -> Score:
    """200 connections send a byte a second, of a head or of a body; others go on as usual."""
    async with ScriptedEngine() as engine, target.start([engine.url]) as running:
        async with Load(running, 4) as load:
            await asyncio.sleep(1.0)
            began = time.monotonic()
            slow = await asyncio.gather(*(_drip(running, at % 2 == 0) for at in range(_SLOW)))
            ended = time.monotonic()
            recovered = await load.good(ended)
        wrong = await records.mistakes(running, load.samples)
    during = [s.ended - s.started for s in load.samples
              if began <= s.started <= ended and not s.stream]  # fmt: skip
    closed = sum(s.verdict is Verdict.TOLD for s in slow)
    slowest = max(during, default=0.0)
    notes = [f"{closed} of {_SLOW} slow connections got 408 and were closed",
             f"whole answers to others meanwhile: {slowest:.2f} s at most"]  # fmt: skip
    return tally("slow-loris, 200 connections", [*slow, *load.samples], recovered_s=recovered,
                 mistakes=wrong, notes=notes)  # fmt: skip


async def large_body(target: System) -> Score:
    """Bodies of 100 MB, announced and in chunks; others go on as usual."""
    # What takes in any size may find only afterwards that this is no JSON.
    refusals = (413,) if target.has_store else (413, 400)
    samples: list[Sample] = []
    wrong: list[str] = []
    notes: list[str] = []
    async with ScriptedEngine() as engine, target.start([engine.url]) as running:
        async with Load(running, 2) as load:
            await asyncio.sleep(1.0)
            for framing in ("content-length", "chunks"):
                before = _memory_mb(running)
                highest = asyncio.create_task(_highest(running))
                sample, sent = await _pour(running, framing == "chunks", refusals)
                await asyncio.sleep(0.3)
                highest.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await highest
                growth = max(_HIGH.pop(running.url, before), before) - before
                samples.append(sample)
                took = sample.ended - sample.started
                notes.append(f"{framing}: {sample.status or 'no answer'} after {took:.2f} s and "
                             f"{sent / 1e6:.0f} MB, memory +{growth:.0f} MB")  # fmt: skip
                if growth > _GROWTH_MB[framing]:
                    wrong.append(f"memory grew by {growth:.0f} MB ({framing})")
            recovered = await load.good(time.monotonic())
        wrong += await records.mistakes(running, load.samples)
    return tally("bodies of 100 MB", [*samples, *load.samples], recovered_s=recovered,
                 mistakes=wrong, notes=notes)  # fmt: skip


async def _one(running: Running) -> Sample:
    asked = text(0.0, 5)
    started = time.monotonic()
    try:
        async with raw.connected(running) as (reader, writer):
            writer.write(raw.message(running, asked))
            answer = await raw.receive(reader, 60.0)
    except OSError as error:
        answer = Answer(error=type(error).__name__)
    failure = "" if answer.whole else answer.error or "it ended early"
    verdict, why = judge(answer.status, answer.body, asked, False, failure)
    return Sample(verdict, started, time.monotonic(), status=answer.status, why=why)


async def _drip(running: Running, in_head: bool) -> Sample:
    """Send a byte a second; told: 408 and closed. Any other end is wrong."""
    started = time.monotonic()
    within = _SLOW_LIMIT_S + 4.0
    whole = raw.message(running, "slow " * 20)
    at = 4 if in_head else whole.index(b"\r\n\r\n") + 6
    async with raw.connected(running) as (reader, writer):
        writer.write(whole[:at])

        async def drip() -> None:
            for byte in whole[at:]:
                await asyncio.sleep(1.0)
                with contextlib.suppress(OSError):
                    writer.write(bytes([byte]))
                    await writer.drain()

        dripping = asyncio.create_task(drip())
        answer = await raw.receive(reader, within, to_end=True)
        await _ended(dripping)
    where = "head" if in_head else "body"
    if answer.status == 408 and told(answer.body) and answer.closed:
        verdict, why = Verdict.TOLD, "408"
    else:
        state = "closed" if answer.closed else "still open"
        why = f"a slow {where} was {state} after {within:g} s, status {answer.status or 'none'}"
        verdict = Verdict.WRONG
    return Sample(verdict, started, time.monotonic(), status=answer.status, why=why)


async def _pour(running: Running, chunked: bool, refusals: tuple[int, ...]) -> tuple[Sample, int]:
    """Send a body of 100 MB until there is an answer; returns it, and how much was sent."""
    started = time.monotonic()
    block = b"x" * 65536
    frame = b"%x\r\n%b\r\n" % (len(block), block) if chunked else block
    sent = 0
    async with raw.connected(running) as (reader, writer):
        writer.write(raw.head(running, None if chunked else _BODY_BYTES))

        async def pour() -> None:
            nonlocal sent
            with contextlib.suppress(OSError):
                while sent < _BODY_BYTES:
                    writer.write(frame)
                    await writer.drain()
                    sent += len(block)
                if chunked:
                    writer.write(b"0\r\n\r\n")

        pouring = asyncio.create_task(pour())
        answer = await raw.receive(reader, 30.0)
        ended = time.monotonic()
        await _ended(pouring)
        raw.reset_on_close(writer)
    good = answer.status in refusals and told(answer.body)
    why = f"a body of 100 MB: {answer.status or answer.error or 'closed without an answer'}"
    verdict = Verdict.TOLD if good else Verdict.WRONG
    return Sample(verdict, started, ended, status=answer.status, why=why), sent


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, OSError):
        await task


_HIGH: dict[str, float] = {}


async def _highest(running: Running) -> None:
    while True:
        _HIGH[running.url] = max(_HIGH.get(running.url, 0.0), _memory_mb(running))
        await asyncio.sleep(0.02)


def _memory_mb(running: Running) -> float:
    return sum(process.memory_info().rss for process in running.workers()) / 1e6


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * _CLIENTS
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
