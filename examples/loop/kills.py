"""kill -9 at random moments: any process of the running Driftgate may be gone at any time.

A thread chooses among the processes that descend from `driftgate serve`, and `serve` itself, by
what they are for: among those that were killed least often, so that a trainer, which lives for a
minute, has its turn as the gateway has. Whoever started the killed process is to start it again;
nothing is helped from here.
"""

import contextlib
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil

_LEAST_S, _MOST_S = 30.0, 120.0  # between two kills: ten of them meet every step
_PARTS = {
    "-I -S": "a guard of engines and parts",
    "gateway.cli serve": "serve and all below it",
    "gateway.cli gateway": "the gateway's parent",
    "gateway.worker": "a gateway process",
    "gateway.recorder": "the recorder",
    "gateway.cli retrieval": "the retrieval service",
    "gateway.cli worker": "the worker",
    "gateway.cli monitor": "the monitor",
    "vllm.entrypoints": "a vLLM engine",
    "training.retraining.process": "a retraining's workflow",
    "training.rollout.process": "a rollout's workflow",
    "training.workflow": "a job's workflow",
    "training.step_process": "a step of a job",
    "training.run": "the trainer",
    "training.candidate": "who merges or judges a candidate",
    "training.planner.dry_run": "who measures what a training needs",
}


@dataclass(frozen=True, slots=True)
class Kill:
    """A process that was killed: when (Unix seconds), and what it was for."""

    at: float
    part: str


class Killer(threading.Thread):
    """Kills at random moments until it has killed often enough, or is stopped.

    Args:
        kills: How often.
        seed: Of the moments and of the choice; which processes run then depends on the run.
        show: Called with each kill.
        root: The process below which it kills; None: this one.
    """

    def __init__(
        self, kills: int, seed: int, show: Callable[[Kill], None], root: int | None = None
    ) -> None:
        super().__init__(name="killer", daemon=True)
        self._kills, self._show, self._root = kills, show, root
        self._random = random.Random(seed)  # noqa: S311 - moments, no secret
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self.killed: list[Kill] = []

    def run(self) -> None:
        """Kill."""
        while len(self.killed) < self._kills:
            if self._ended.wait(self._random.uniform(_LEAST_S, _MOST_S)):
                return
            with self._lock:
                self._kill()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Kill nothing while the block runs: something is measured."""
        with self._lock:
            yield

    def stop(self) -> None:
        """Kill no more."""
        self._ended.set()
        if self.is_alive():
            self.join()

    def _kill(self) -> None:
        found = parts(self._root)
        if not found:
            return
        before = Counter(kill.part for kill in self.killed)
        least = min(before[part] for part in found)
        part = self._random.choice(sorted(part for part in found if before[part] == least))
        process = self._random.choice(found[part])
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended: that is no kill
            process.kill()
            kill = Kill(time.time(), part)
            self.killed.append(kill)
            self._show(kill)


def parts(root: int | None = None) -> dict[str, list[psutil.Process]]:
    """Return the processes below one (this one) that a part of Driftgate consists of, by part."""
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.Process(root or os.getpid()).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            said = " ".join(process.cmdline()[:8])
            part = next((name for sign, name in _PARTS.items() if f" {sign}" in said), None)
            if part is not None:
                found.setdefault(part, []).append(process)
    return found
