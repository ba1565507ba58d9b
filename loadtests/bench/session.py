"""One system, once: a fresh mock, the system in front of it, a check of its answers, measurements.

Nothing else runs meanwhile, and all of it ends with the session: an idle peer would cost time too.
"""

import contextlib
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import httpx

from loadtests.bench import install, placement, tokens, usage, wrk
from loadtests.bench.mock import FRAMES, MODEL, TEXT
from loadtests.bench.peers import PATH, Mock, Running, System, answers, body
from loadtests.bench.process import StartFailed, free_port, running, tail
from loadtests.bench.results import Kind, LoadRun, Recorded, Results, TokenRun

TOKEN_STREAMS, TOKEN_FRAMES, TOKEN_INTERVAL_MS = 256, 100, 20


@dataclass(frozen=True)
class Step:
    """One measurement: wrk with whole answers or streams, or the inter-token probe."""

    kind: Literal["whole", "one core", "stream", "tokens"]
    connections: int

    def __str__(self) -> str:
        return f"{self.kind} at {self.connections}"


STEPS = (
    Step("one core", 1),
    Step("whole", 1),
    Step("whole", 32),
    Step("whole", 256),
    Step("stream", 1),
    Step("stream", 32),
    Step("tokens", TOKEN_STREAMS),
)


@contextlib.contextmanager
def started(system: System) -> Iterator[tuple[Running, Path]]:
    """Run the mock and the system in front of it; gives it and a folder for files.

    Raises:
        StartFailed: One of them does not come up.
    """
    install.FOLDER.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        # Not in /tmp, which may be in memory: a million traffic records are a gigabyte.
        home = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="run-", dir=install.FOLDER))
        )
        # A Unix socket's path is short (108 bytes, unix(7)).
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dg-bench-")))
        port, socket = free_port(), sockets / "mock.sock"
        url = f"http://127.0.0.1:{port}"
        pid = stack.enter_context(
            running(
                [
                    sys.executable,
                    "-m",
                    "loadtests.bench.mock",
                    "--port",
                    str(port),
                    "--uds",
                    socket,
                ],
                lambda: socket.exists() and answers(url, {}, MODEL),
                home / "mock.log",
            )
        )
        yield stack.enter_context(system.start(Mock(port, socket, pid), home)), home


def measure(
    system: System,
    steps: Sequence[Step],
    results: Results,
    round: int,
    warm_up_s: float,
    done: Callable[[Step, str], None],
) -> None:
    """Start a system, do `steps` and add what they measure to `results`.

    Args:
        system: The system.
        steps: What to measure.
        results: Where the figures, and failures, are added.
        round: Which round it is.
        warm_up_s: Length of the warm-up, in seconds.
        done: Called after each step, with its figures in words.

    Raises:
        StartFailed: It does not come up, or answers wrongly.
    """
    answered = 0
    with started(system) as (target, home):
        verify_whole(target)
        stream_problem = verify_stream(target)
        if stream_problem:
            results.failures[f"{system.name} stream"] = stream_problem
        kinds: list[Kind] = ["whole"] if stream_problem else ["whole", "stream"]
        for kind in kinds:
            with contextlib.suppress(wrk.WrkFailed):  # a slow system may answer nothing yet
                answered += _load(target, kind, 32, warm_up_s / len(kinds), home).requests
            usage.settled(target.pid)
        for step in steps:
            if stream_problem and step.kind in ("stream", "tokens"):
                done(step, f"cannot: {stream_problem}")
                continue
            try:
                words, count = _step(system, target, step, results, round, home)
            except (wrk.WrkFailed, OSError) as error:
                words = f"{error}; its log: {logs_of(home)}"
                results.failures[f"{system.name} {step}"] = words
                count = 0
            answered += count
            done(step, words)
        if target.store is not None:
            recorded = settled_records(target.store)
            results.recorded.append(Recorded(round, system.name, answered, recorded))


def logs_of(home: Path) -> str:
    """Return the end of what the system under test has logged."""
    return " / ".join(tail(log) for log in home.glob("*.log") if log.name != "mock.log")


def settled_records(store: Path) -> int:
    """Return how many traffic records there are, once no more are written, or after 30 s."""
    with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        count = before = -1
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            (count,) = connection.execute("SELECT count(*) FROM traffic").fetchone()
            if count == before:
                break
            before = count
            time.sleep(1.0)
    return int(count)


def _step(
    system: System,
    target: Running,
    step: Step,
    results: Results,
    round: int,
    home: Path,
) -> tuple[str, int]:
    if step.kind == "tokens":
        delays = probe_tokens(target)
        usage.settled(target.pid)
        results.tokens.append(TokenRun(round, system.name, delays))
        words = f"added inter-token time p99 {delays.p99_us / 1000:.2f} ms"
        return f"{words}; {delays.problem}" if delays.problem else words, delays.streams
    usage.reset_peak(target.pid)
    before = usage.of(target.pid)
    with contextlib.ExitStack() as stack:
        if step.kind == "one core":
            stack.enter_context(placement.one_core())
        measured = _load(target, step.kind, step.connections, results.seconds, home)
    ended = time.monotonic()
    after = usage.settled(target.pid)
    if not after.rss_mb:
        raise StartFailed(f"it ended during {step}: {logs_of(home)}")
    busy_s = max(0.0, time.monotonic() - ended - usage.PERIOD_S)
    used = replace(after, cpu_s=after.cpu_s - before.cpu_s)
    run = LoadRun(round, system.name, step.kind, step.connections, measured, used, busy_s)
    results.loads.append(run)
    words = f"p50 {measured.p50_us / 1000:.3f} ms, {run.rate:,.0f}/s"
    return f"{words}; errors {measured.errors}" if measured.errors else words, measured.requests


def _load(
    target: Running, kind: Kind, connections: int, seconds: float, home: Path
) -> wrk.Measured:
    return wrk.run(
        target.url + PATH,
        target.headers,
        body(target.model, stream=kind == "stream"),
        connections=connections,
        seconds=seconds,
        script=home / "wrk.lua",
    )


def probe_tokens(target: Running) -> tokens.TokenDelays:
    """Measure what the system adds between tokens."""
    paced = body(target.model, stream=True, paced=f"paced:{TOKEN_INTERVAL_MS}:{TOKEN_FRAMES}")
    return tokens.measure(
        target.url,
        PATH,
        target.headers,
        paced,
        streams=TOKEN_STREAMS,
        frames=TOKEN_FRAMES,
        interval_ms=TOKEN_INTERVAL_MS,
    )


def verify_whole(target: Running) -> None:
    """Check that a whole answer is the mock's: fast nonsense is not to be measured.

    Raises:
        StartFailed: It is not.
    """
    answer = _post(target, stream=False)
    try:
        content = answer.json()["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        content = None
    if answer.status_code != 200 or content != TEXT:
        raise StartFailed(f"wrong answer: status {answer.status_code}: {answer.text[:200]}")


def verify_stream(target: Running) -> str:
    """Return what is wrong with a streamed answer; empty where all its frames come."""
    answer = _post(target, stream=True)
    if answer.status_code != 200:
        return f"status {answer.status_code}: {answer.text[:200]}"
    events = [
        line.removeprefix("data:").strip()
        for line in answer.text.splitlines()
        if line.startswith("data:")
    ]
    if "[DONE]" not in events:
        return "the stream has no [DONE]"
    try:
        deltas = [json.loads(event)["choices"] for event in events if event != "[DONE]"]
        frames = sum(bool(choices and choices[0]["delta"].get("content")) for choices in deltas)
    except (ValueError, LookupError, TypeError, AttributeError):
        return f"a frame is no chat chunk: {answer.text[-200:]}"
    return "" if frames == FRAMES else f"{frames} of {FRAMES} frames came"


def _post(target: Running, stream: bool) -> httpx.Response:
    headers = {"content-type": "application/json", **target.headers}
    try:
        return httpx.post(
            target.url + PATH, content=body(target.model, stream), headers=headers, timeout=30
        )
    except httpx.HTTPError as error:
        raise StartFailed(f"no answer: {error}") from error
