"""Clients that leave at every phase of a request: the engine is freed, the charge is right.

A key with limits asks, so that its slots and tokens are seen to come back.
"""

import asyncio
import time
from collections import Counter
from dataclasses import replace

import sqlalchemy as sa

from gateway.store.keys import KeyLimits, Keys
from gateway.store.ledger import DAY, Ledger
from gateway.store.traffic import table
from loadtests.chaos import raw, records
from loadtests.chaos.engine import ScriptedEngine
from loadtests.chaos.score import Sample, Score, Verdict, tally
from loadtests.chaos.targets import Running, System
from loadtests.chaos.traffic import Load, text

_EACH = 6
_LIMITS = KeyLimits(max_concurrency=64, tokens_per_day=10**9)
_PACE, _WORDS = 0.2, 20
_WITHIN_S = 2.0


async def departures(target: System) -> Score:
    """Six clients leave in each of seven phases, half of them by a reset; others go on."""
    samples: list[Sample] = []
    notes: list[str] = []
    async with ScriptedEngine() as engine, target.start([engine.url]) as running:
        prefix, leaving = await _limited(running)
        for phase in PHASES:
            freed = []
            for at in range(_EACH):
                sample, free_after = await _leave(engine, leaving, phase, reset=at % 2 == 1)
                samples.append(sample)
                freed.append(free_after)
            if phase in _BEGUN:
                notes.append(f"{phase}: engine free after {1000 * max(freed):.0f} ms at most")
        async with Load(running, 2) as load:
            recovered = await load.good(time.monotonic())
        wrong = await records.mistakes(running, load.samples)
        if prefix:
            wrong += await _account(running, prefix)
    return tally("clients leave at every phase", [*samples, *load.samples], recovered_s=recovered,
                 mistakes=wrong, notes=notes)  # fmt: skip


PHASES = ("after connecting", "in the head", "in the body", "before the first token",
          "while a whole answer is made", "in mid-stream", "after the last byte")  # fmt: skip
_BEGUN = PHASES[3:6]


async def _limited(running: Running) -> tuple[str, Running]:
    """Return a key's prefix and how to ask by it; LiteLLM has one key only."""
    if running.database is None:
        return "", running
    key, text = await asyncio.to_thread(
        Keys(running.database).create, "leaving", ["inference"], _LIMITS
    )
    await asyncio.sleep(0.5)  # until the workers know the key
    return key.prefix, replace(running, headers={"authorization": f"Bearer {text}"})


async def _leave(
    engine: ScriptedEngine, running: Running, phase: str, reset: bool
) -> tuple[Sample, float]:
    """Leave in a phase; returns the request, and after how long the engine had nothing to do."""
    started = time.monotonic()
    pace = 0.0 if phase == "after the last byte" else _PACE
    stream = phase != "while a whole answer is made"
    whole = raw.message(running, text(pace, _WORDS), stream)
    body_at = whole.index(b"\r\n\r\n") + 4
    sent = {"after connecting": 0, "in the head": 20, "in the body": body_at + 10}
    why = ""
    async with raw.connected(running) as (reader, writer):
        writer.write(whole[: sent.get(phase, len(whole))])
        if phase in _BEGUN and not await _until(engine, 1, 10.0):
            why = f"{phase}: the engine was never asked"
        if phase == "in mid-stream":
            await reader.readuntil(b"w")  # of the first word
            await asyncio.sleep(_PACE * 2)
        elif phase == "after the last byte":
            answer = await raw.receive(reader, 20.0)
            why = "" if answer.whole else f"{phase}: the answer was not whole"
        else:
            await asyncio.sleep(0.05)
        if reset:
            raw.reset_on_close(writer)
        left = time.monotonic()
    if not await _until(engine, 0, _WITHIN_S):
        why = f"{phase}: the engine still worked {_WITHIN_S:g} s later"
    verdict = Verdict.WRONG if why else Verdict.GOOD
    return Sample(verdict, started, time.monotonic(), why=why), time.monotonic() - left


async def _until(engine: ScriptedEngine, running: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while engine.running != running:
        if time.monotonic() > deadline:
            while engine.running:  # noqa: ASYNC110 - the next one is not to be blamed
                await asyncio.sleep(0.05)
            return False
        await asyncio.sleep(0.002)
    return True


async def _account(running: Running, prefix: str) -> list[str]:
    """Return what the records and the ledger have wrong about those who left."""
    wrong = []
    held = await records.slots_free(running, prefix)
    if held:
        wrong.append(f"{held} slots of the key did not come back")
    await asyncio.sleep(2.0)  # what is leased and idle goes back to the ledger
    rows = await asyncio.to_thread(_rows, running, prefix)
    outcomes = Counter(row.outcome for row in rows)
    expected = {"cancelled": _EACH * len(_BEGUN), "done": _EACH}
    if dict(outcomes) != expected:
        wrong.append(f"records say {dict(outcomes)}, it was {expected}")
    used = await asyncio.to_thread(Ledger(running.store()).used, prefix)
    charged = sum(amount for (kind, _), amount in used.items() if kind == DAY)
    # A whole answer counts as the engine reported it, a cut one what was delivered of it.
    done = _EACH * 2 * (_WORDS + 1)
    asked = len(text(_PACE, _WORDS))
    low, high = done + _EACH, done + _EACH * (asked + _WORDS + 3)
    if not low <= charged <= high:
        wrong.append(f"{charged} tokens were charged, {low} to {high} would be right")
    return wrong


def _rows(running: Running, prefix: str) -> "list[sa.Row[tuple[object, ...]]]":
    with running.store().begin() as connection:
        return list(connection.execute(table.select().where(table.c.key_prefix == prefix)))
