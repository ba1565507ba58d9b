"""Puts a run on one processor core, where the scheduler cannot make two runs differ.

With one connection only one process works at a time. Left alone, each wakes the next on another
core or on its own, as the scheduler likes, and waking a core that sleeps takes a virtual machine
35 µs and more: several times in a request, and more than a gateway's own work. On one core what is
left is that work.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from loadtests.bench import usage


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Keep this process and all its descendants, mock and system included, on one core."""
    everywhere = os.sched_getaffinity(0)
    _place({max(everywhere)})
    try:
        yield
    finally:
        _place(everywhere)


def _place(cores: set[int]) -> None:
    for pid in usage.tree(os.getpid()):
        with contextlib.suppress(OSError):  # it ended just now
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), cores)
