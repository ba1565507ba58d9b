"""Holds estimates against two measured steps, each method in a fresh process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from training.planner.architecture import Architecture
from training.planner.devices import Device
from training.planner.dry_run import Measured
from training.planner.memory import Memory, Method, Run, estimate
from training.planner.throughput import Work, tokens_per_second

_TAIL = 600


class DryRunError(RuntimeError):
    """Two steps could not be made; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """An estimate and what was measured of the same run."""

    run: Run
    memory: Memory
    tokens_per_s: float
    measured: Measured

    @property
    def ratio(self) -> float:
        """Estimated over measured memory."""
        return self.memory.total / self.measured.peak_bytes


def compare(
    source: Path,
    shape: Architecture,
    runs: Iterable[Run],
    device: Device,
    *,
    random_weights: bool = False,
) -> Iterator[Comparison]:
    """Measure runs one after the other, each in a process of its own.

    Args:
        source: Folder with weights, or configuration of weights that are made up.
        shape: The model.
        runs: What to run.
        device: What it runs on, for the estimate of time.
        random_weights: Whether weights are made up.

    Raises:
        DryRunError: A process ended without a result.
    """
    for run in runs:
        measured = _measured(source, run, random_weights)
        if measured.parameters != shape.parameters:
            raise DryRunError(
                f"{source}: the model has {measured.parameters:,} parameters, "
                f"its configuration amounts to {shape.parameters:,}"
            )
        memory = estimate(shape, run)
        yield Comparison(run, memory, tokens_per_second(shape, run, device), measured)


def _measured(source: Path, run: Run, random_weights: bool) -> Measured:
    wish = {"source": str(source), "run": asdict(run), "random_weights": random_weights}
    environment = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if run.cpu:
        environment["TORCHDYNAMO_DISABLE"] = "1"  # as the trainer's process has it
    done = subprocess.run(  # noqa: S603 - a fixed program, no shell
        [sys.executable, "-m", "training.planner.dry_run", json.dumps(wish)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    if done.returncode == -9:
        raise DryRunError(f"{run.method}: the process was killed, most likely for its memory")
    if done.returncode:
        raise DryRunError(f"{run.method}: {_reason(done.stderr)}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def _reason(errors: str) -> str:
    lines = [line for line in errors.strip().splitlines() if line.strip()]
    return lines[-1][-_TAIL:] if lines else "the process ended without a word"


def markdown(
    name: str,
    found: list[Comparison],
    device: Device,
    work: Work,
    per_hour: float | None,
    call: str,
) -> str:
    """Return the comparisons as a table for a document, with the command that made it.

    Args:
        name: The model's.
        found: The comparisons.
        device: What they ran on.
        work: What the last column is computed for; its tokens are each run's own.
        per_hour: Dollars an hour, if the cost is wanted.
        call: The command.
    """
    first = found[0].measured
    examples = f"{work.rows:,} x {work.epochs:g}"
    lines = [
        f"{name}, {first.device}, {device.memory_bytes / 2**30:.0f} GiB, {date.today()}; made by",
        "",
        f"    {call}",
        "",
        "| method | batch x tokens | checkpointing | memory, estimated | measured | ratio "
        f"| of full | tokens/s, estimated | measured | {examples} examples |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for comparison in found:
        run, measured = comparison.run, comparison.measured
        full = _peak_of_full(found, run)
        cells = (
            run.method,
            f"{run.batch} x {run.tokens}",
            "yes" if run.checkpointing else "no",
            f"{comparison.memory.total / 2**30:.2f} GiB",
            f"{measured.peak_bytes / 2**30:.2f} GiB",
            f"{comparison.ratio:.2f}",
            "" if full is None else f"{measured.peak_bytes / full:.0%}",
            f"{comparison.tokens_per_s:.0f}",
            f"{measured.tokens_per_s:.0f}",
            _taken(work.rows * run.tokens * work.epochs / measured.tokens_per_s, per_hour),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _peak_of_full(found: list[Comparison], run: Run) -> int | None:
    """Return the measured peak of full fine-tuning with the same batch, or None."""
    for other in found:
        same = (other.run.batch, other.run.tokens, other.run.checkpointing)
        if other.run.method is Method.FULL and same == (run.batch, run.tokens, run.checkpointing):
            return other.measured.peak_bytes
    return None


def _taken(seconds: float, per_hour: float | None) -> str:
    hours = f"{seconds / 3600:.1f} h"
    return hours if per_hour is None else f"{hours}, ${seconds / 3600 * per_hour:.2f}"
