"""The store locked, hanging or gone, and a full disk under the traffic log: answers go on."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import sqlalchemy as sa

from gateway.store.keys import KeyLimits, Keys
from gateway.store.traffic import table
from loadtests.chaos import postgres, records
from loadtests.chaos.engine import ScriptedEngine
from loadtests.chaos.score import Sample, Score, Verdict, skipped, tally
from loadtests.chaos.targets import Limits, Running, System
from loadtests.chaos.traffic import Load

_NO_STORE = "it is run without a store here"
_LIMITS = KeyLimits(max_concurrency=64, tokens_per_minute=10**9, requests_per_minute=10**6)
# Holds the write lock of the file in its argument until its input ends.
_LOCK = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
    "c.execute('PRAGMA busy_timeout = 5000'); c.execute('BEGIN EXCLUSIVE');"
    "print('locked', flush=True); sys.stdin.read(); c.execute('ROLLBACK')"
)


async def sqlite_locked(target: System) -> Score:
    """Another process holds SQLite's write lock for 3 s."""
    fault = "SQLite locked by another process for 3 s"
    if not target.has_store:
        return skipped(fault, _NO_STORE)
    async with ScriptedEngine() as engine, target.start([engine.url]) as running:
        async with _two_loads(running) as (load, limited):
            await asyncio.sleep(1.0)
            with _locked(running.home / "driftgate.db"):
                await asyncio.sleep(3.0)
            over = time.monotonic()
            recovered = await load.good(over)
            await asyncio.sleep(0.5)
        return await _account(fault, running, load, limited, recovered, over)


async def postgres_hangs(target: System) -> Score:
    """PostgreSQL is stopped (SIGSTOP) for 4 s: connections stay open and say nothing."""
    fault = "PostgreSQL hangs for 4 s"
    if reason := _no_postgres(target):
        return skipped(fault, reason)
    async with ScriptedEngine() as engine, postgres.server() as server:
        limits = Limits(more={"database_url": server.url})
        async with target.start([engine.url], limits) as running:
            async with _two_loads(running) as (load, limited):
                await asyncio.sleep(1.0)
                server.hang(True)
                try:
                    await asyncio.sleep(4.0)
                finally:
                    server.hang(False)
                over = time.monotonic()
                recovered = await load.good(over)
                await asyncio.sleep(0.5)
            return await _account(fault, running, load, limited, recovered, over)


async def postgres_gone(target: System) -> Score:
    """PostgreSQL crashes (SIGQUIT) and is started again after 3 s."""
    fault = "PostgreSQL crashes, gone for 3 s"
    if reason := _no_postgres(target):
        return skipped(fault, reason)
    async with ScriptedEngine() as engine, postgres.server() as server:
        limits = Limits(more={"database_url": server.url})
        async with target.start([engine.url], limits) as running:
            async with _two_loads(running) as (load, limited):
                await asyncio.sleep(1.0)
                await asyncio.to_thread(server.end, signal.SIGQUIT)
                await asyncio.sleep(3.0)
                await asyncio.to_thread(server.start)
                over = time.monotonic()
                recovered = await load.good(over)
                await asyncio.sleep(0.5)
            return await _account(fault, running, load, limited, recovered, over)


async def disk_full(target: System) -> Score:
    """The disk under the spool has no byte left for 2 s: records are dropped and counted."""
    fault = "disk full for the traffic log, 2 s"
    if not target.has_store:
        return skipped(fault, _NO_STORE)
    if os.geteuid() == 0 and not _may_mount():
        return skipped(fault, "root here may not mount a file system")
    async with ScriptedEngine() as engine, target.start([engine.url]) as running:
        async with Load(running) as load:
            await asyncio.sleep(1.0)
            with _full(running.home / "spool"):
                await asyncio.sleep(2.0)
            over = time.monotonic()
            recovered = await load.good(over)
            await asyncio.sleep(1.0)
        stored, dropped = await _settled(running, len(load.samples), load.began)
    wrong = []
    if stored + dropped != len(load.samples):
        wrong.append(f"{len(load.samples)} answers, {stored} records, {dropped} counted as dropped")
    if not dropped:
        wrong.append("nothing was counted as dropped")
    return tally(fault, load.samples, recovered_s=recovered, mistakes=wrong,
                 notes=[f"{dropped} records dropped and counted, {stored} stored"])  # fmt: skip


def _no_postgres(target: System) -> str:
    return postgres.missing() if target.has_store else _NO_STORE


@contextlib.asynccontextmanager
async def _two_loads(running: Running) -> AsyncIterator[tuple[Load, Load]]:
    """Load by a key without limits and by one with limits, which needs the ledger."""
    keys = Keys(running.store())
    _, text = await asyncio.to_thread(keys.create, "limited", ["inference"], _LIMITS)
    limited = replace(running, headers={"authorization": f"Bearer {text}"})
    await asyncio.sleep(0.5)  # until the workers know the key
    async with Load(running, 4) as load, Load(limited, 4) as other:
        yield load, other


async def _account(
    fault: str, running: Running, load: Load, limited: Load, recovered: float | None, over: float
) -> Score:
    """Wait for the records of every answer, and count."""
    samples = [*load.samples, *limited.samples]
    stored, dropped = await _settled(running, len(samples), load.began)
    caught_up = time.monotonic() - over
    wrong = await records.mistakes(running, samples)
    if stored != len(samples):
        wrong.append(f"{len(samples)} requests, but {stored} records ({dropped} dropped)")
    # Not only errors in silence: while the store is away, nobody may notice.
    samples = [
        replace(s, verdict=Verdict.LOST, why=f"a {s.status} while the store was away")
        if s.verdict is Verdict.TOLD
        else s
        for s in samples
    ]
    notes = [f"all {stored} records there {caught_up:.1f} s after it", _slowest(samples)]
    return tally(fault, samples, recovered_s=recovered, mistakes=wrong, notes=notes)


async def _settled(
    running: Running, wanted: int, since: float, within_s: float = 20.0
) -> tuple[int, int]:
    """Wait until so many records since a moment are stored or dropped; returns both."""
    deadline = time.monotonic() + within_s
    while True:
        stored = await asyncio.to_thread(_stored, running, since)
        dropped = await asyncio.to_thread(_metric, running, "driftgate_records_dropped_total")
        if stored + dropped >= wanted or time.monotonic() > deadline:
            return stored, dropped
        await asyncio.sleep(0.1)


def _stored(running: Running, since: float) -> int:
    with running.store().begin() as connection:
        query = sa.select(sa.func.count()).select_from(table).where(table.c.created_at >= since)
        return int(connection.execute(query).scalar_one())


def _metric(running: Running, name: str) -> int:
    lines = httpx.get(f"{running.url}/metrics", timeout=10).text.splitlines()
    return round(sum(float(x.split()[-1]) for x in lines if x.startswith(name)))


def _slowest(samples: Sequence[Sample]) -> str:
    return f"the slowest answer took {max(s.ended - s.started for s in samples):.2f} s"


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-c", _LOCK, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"locked\n"
        yield
        process.stdin.close()


@contextlib.contextmanager
def _full(folder: Path) -> Iterator[None]:
    """Let no byte be written in a folder: a tiny file system where root may mount, else no right.

    What was in the folder is covered meanwhile, and there again afterwards.
    """
    if os.geteuid() != 0:
        folder.chmod(0o500)
        try:
            yield
        finally:
            folder.chmod(0o700)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "chaos", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
            while filler.write(b"x" * 4096):
                pass
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _may_mount() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        tried = subprocess.run(["mount", "-t", "tmpfs", "chaos", folder], capture_output=True)
        if tried.returncode == 0:
            subprocess.run(["umount", folder], check=True)
    return tried.returncode == 0
