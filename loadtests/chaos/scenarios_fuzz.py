"""10,000 random and mutated requests: no crash, no 500, nothing that stays open or grows."""

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httptools
import httpx

from loadtests.bench import process as programs
from loadtests.bench.process import free_port
from loadtests.chaos import mutate
from loadtests.chaos.engine import MODEL
from loadtests.chaos.mutate import Shape
from loadtests.chaos.score import Sample, Score, Verdict, tally
from loadtests.chaos.targets import Running, System, in_thread, is_up
from loadtests.chaos.traffic import Load

_COUNT = int(os.environ.get("CHAOS_REQUESTS", "10000"))
_SLOW_COUNT = 2000  # for what answers a tenth as fast
_SEED = 20261124
_AT_ONCE = 64
_ANSWER_S = 30.0
# A spoilt request may be one that is not complete: who waits for more of it is not wrong.
_SPOILT_S = 0.2
_GROWTH_MB = 24.0
_MORE_DESCRIPTORS = 4


@dataclass
class _Found:
    samples: list[Sample] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    worst: list[bytes] = field(default_factory=list)


async def fuzz(target: System, count: int | None = None, seed: int = _SEED) -> Score:
    """Random and mutated requests, 64 at once; others go on as usual."""
    count = count or (_COUNT if target.has_store else min(_COUNT, _SLOW_COUNT))
    found = _Found()
    async with _echo() as engine, target.start([engine]) as running:
        shapes = await asyncio.to_thread(mutate.requests, running, count, seed)
        await _send(running, shapes[: count // 10], _Found())  # warms up
        await asyncio.sleep(3.0)
        before, logged = _resources(running), _tracebacks(running)
        async with Load(running, 1) as load:
            await _send(running, shapes, found)
        await asyncio.sleep(3.0)
        after = _resources(running)
        async with Load(running, 1) as last:
            recovered = await last.good(time.monotonic())
        wrong = _compare(before, after)
        if new := _tracebacks(running) - logged:
            wrong.append(f"{new} tracebacks in the log")
        if busy := await _running(engine):
            wrong.append(f"the engine still works on {busy:g} requests")
    statuses = ", ".join(f"{n} of {s or 'none'}" for s, n in sorted(found.statuses.items()))
    grown = f"memory {after.memory_mb - before.memory_mb:+.1f} MB, " \
            f"{after.descriptors - before.descriptors:+d} descriptors"  # fmt: skip
    notes = [f"seed {seed}; statuses: {statuses}", grown]
    notes += [f"the request of the first wrong answer: {data!r}" for data in found.worst[:1]]
    samples = [*found.samples, *load.samples, *last.samples]
    return tally(f"{count:,} random and mutated requests", samples, recovered_s=recovered,
                 mistakes=wrong, notes=notes)  # fmt: skip


@contextlib.asynccontextmanager
async def _echo() -> AsyncIterator[str]:
    """Run the echo engine, which checks requests as vLLM does; gives its URL."""
    with tempfile.TemporaryDirectory() as home:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "gateway.engines.echo", "--port", str(port)]
        process = programs.running(
            [*command, "--served-model-name", MODEL],
            lambda: is_up(f"{url}/health"),
            Path(home) / "echo.log",
        )
        async with in_thread(process):
            yield url


async def _running(engine: str) -> float:
    async with httpx.AsyncClient() as client:
        lines = (await client.get(f"{engine}/metrics")).text.splitlines()
    return sum(float(x.split()[-1]) for x in lines if x.startswith("vllm:num_requests_running"))


async def _send(running: Running, shapes: list[Shape], found: _Found) -> None:
    waiting = iter(shapes)

    async def client() -> None:
        for shape in waiting:
            await _one(running, shape, found)

    await asyncio.gather(*(client() for _ in range(_AT_ONCE)))


async def _one(running: Running, shape: Shape, found: _Found) -> None:
    started = time.monotonic()
    answers = _Answers(headless=shape.data.startswith(b"HEAD"))
    try:
        reader, writer = await asyncio.open_connection(*running.address)
        try:
            writer.write(shape.data)
            await answers.read(reader, _ANSWER_S if shape.valid else _SPOILT_S)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    except OSError as error:
        answers.error = type(error).__name__
    verdict, why = _judge(shape, answers)
    found.statuses.update(answers.statuses or [0])
    if verdict in (Verdict.WRONG, Verdict.LOST):
        found.worst.append(shape.data[:400])
    status = answers.statuses[0] if answers.statuses else 0
    found.samples.append(Sample(verdict, started, time.monotonic(), status=status, why=why))


class _Answers:
    """All answers that one connection got: a mutation may hold more than one request."""

    def __init__(self, headless: bool) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headless = headless  # the answer to HEAD announces a body that does not come
        self.statuses: list[int] = []
        self.error = ""
        self.done = False

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() >= 200:
            self.statuses.append(self._parser.get_status_code())
            self.done = self._headless

    def on_message_complete(self) -> None:
        self.done = bool(self.statuses)

    async def read(self, reader: asyncio.StreamReader, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not self.done:
                    data = await reader.read(65536)
                    if not data:
                        return
                    self._parser.feed_data(data)
        except TimeoutError:
            self.error = "nothing came"
        except httptools.HttpParserError as error:
            self.error = f"not HTTP: {error}"


def _judge(shape: Shape, answers: _Answers) -> tuple[Verdict, str]:
    failures = [status for status in answers.statuses if status >= 500]
    if failures:
        return Verdict.WRONG, f"a {failures[0]} for a client's mistake"
    if answers.error.startswith("not HTTP"):
        return Verdict.WRONG, answers.error
    if answers.statuses:
        return (Verdict.GOOD if answers.statuses[0] < 400 else Verdict.TOLD), ""
    if shape.valid and not shape.data.startswith(b"CONNECT"):
        return Verdict.LOST, f"no answer to whole HTTP ({answers.error or 'closed'})"
    return Verdict.TOLD, ""


@dataclass(frozen=True)
class _Resources:
    pids: frozenset[int]
    descriptors: int
    memory_mb: float


def _resources(running: Running) -> _Resources:
    workers = running.workers()
    return _Resources(
        frozenset(worker.pid for worker in workers),
        sum(worker.num_fds() for worker in workers),
        sum(worker.memory_info().rss for worker in workers) / 1e6,
    )


def _compare(before: _Resources, after: _Resources) -> list[str]:
    wrong = []
    if before.pids != after.pids:
        wrong.append("a worker ended and was replaced")
    if after.descriptors > before.descriptors + _MORE_DESCRIPTORS:
        wrong.append(f"descriptors grew from {before.descriptors} to {after.descriptors}")
    if after.memory_mb > before.memory_mb + _GROWTH_MB:
        wrong.append(f"memory grew from {before.memory_mb:.0f} to {after.memory_mb:.0f} MB")
    return wrong


def _tracebacks(running: Running) -> int:
    """Return how many exceptions Driftgate's log holds that nobody handled."""
    if running.database is None:
        return 0
    return running.log.read_text(errors="replace").count("Traceback (most recent call last)")
