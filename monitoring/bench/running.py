"""Runs the bench: what is left of the plan, with progress, until it is done or time is up."""

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from monitoring.bench import report
from monitoring.bench.banking import DataMissing, foreign, questions
from monitoring.bench.material import Material, material
from monitoring.bench.outcomes import Outcomes
from monitoring.bench.peers import Method
from monitoring.bench.plan import Plan, Runner, left
from monitoring.bench.summary import Summary, summarised


def prepared(data: Path, embedder: Path, cache: Path, progress: Progress) -> Material:
    """Read and embed the questions; what is in the cache is not embedded again.

    Raises:
        DataMissing: The questions or the embedder are not there.
    """
    plain = questions(data)
    if not (embedder / "config.json").is_file():
        raise DataMissing(f"{embedder} holds no embedder (driftgate models pull; --embedder)")
    from retrieval.embedder import SentenceTransformerEmbedder

    task = progress.add_task("describing the questions", total=None)
    found = material(
        plain, foreign(), SentenceTransformerEmbedder(embedder), cache / "vectors",
        lambda what, done, of: progress.update(task, description=what, completed=done, total=of),
    )  # fmt: skip
    progress.remove_task(task)
    return found


def run(
    runner: Runner, plan: Plan, methods: Mapping[str, Method], outcomes: Outcomes,
    progress: Progress, minutes: float | None = None,
) -> int:  # fmt: skip
    """Run what is left, and return how many runs are left in the end.

    Args:
        runner: Runs one.
        plan: What is wanted.
        methods: The other methods, by name.
        outcomes: What was run; each run is kept when it is done.
        progress: Shows what is run.
        minutes: When to stop; None: when all is done.
    """
    until = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    keys = left(plan, methods, outcomes)
    task = progress.add_task("", total=len(keys))
    for done, key in enumerate(keys):
        if time.monotonic() > until:
            return len(keys) - done
        progress.update(task, description=f"{key.method}: {key.scenario} {key.seed}")
        outcomes.add(runner.run(key))
        progress.advance(task)
    return 0


def written(
    outcomes: Outcomes, methods: Mapping[str, Method], size: int, out: Path, *, command: str,
    embedder: str,
) -> Summary:  # fmt: skip
    """Write drift.json, drift.md and, where matplotlib is installed, drift.png."""
    limits = [(name, method.limit) for name, method in methods.items()]
    found = summarised(
        outcomes, limits, size, command=command, machine=machine(), embedder=embedder
    )  # fmt: skip
    titles = {name: method.title for name, method in methods.items()}
    out.mkdir(parents=True, exist_ok=True)
    raw = msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"
    (out / "drift.json").write_bytes(raw)
    (out / "drift.md").write_text(report.markdown(found, titles), encoding="utf-8")
    try:
        from monitoring.bench import chart
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
    else:
        chart.draw(found, titles, out / "drift.png")
    return found


def bars() -> Progress:
    """Return the progress that is shown, on standard error."""
    from rich.console import Console

    return Progress(
        TextColumn("{task.description:36}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), console=Console(stderr=True),
    )  # fmt: skip


def machine() -> str:
    """Describe this machine, in words."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")),
        platform.processor() or "unknown",
    )
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores ({cpu}), one thread, Python {platform.python_version()}"


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
