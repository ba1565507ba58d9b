"""Processor time and memory of a process and all its descendants, from /proc (proc(5))."""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
# A tree that takes less than this share of a core over a period has nothing more to do.
PERIOD_S, _IDLE_SHARE = 0.25, 0.08
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What a tree of processes has used so far.

    Args:
        cpu_s: User and system time, in seconds, ended children that were waited for included.
        rss_mb: Resident memory now, in MB (10^6 bytes). Pages that processes share count in each.
        peak_mb: Sum of the processes' largest resident memory since `reset_peak`, in MB.
    """

    cpu_s: float
    rss_mb: float
    peak_mb: float


def of(pid: int) -> Usage:
    """Return what `pid` and its descendants have used."""
    cpu_s = rss_mb = peak_mb = 0.0
    for each in tree(pid):
        with contextlib.suppress(OSError):  # it ended just now
            fields = _stat(each)
            # utime, stime, cutime and cstime are fields 14 to 17, counted from 1 with the pid.
            cpu_s += sum(int(field) for field in fields[11:15]) / _TICKS_PER_S
            status = _status(each)
            rss_mb += status.get("VmRSS", 0) * 1024 / 1e6
            peak_mb += status.get("VmHWM", 0) * 1024 / 1e6
    return Usage(cpu_s, rss_mb, peak_mb)


def settled(pid: int, timeout_s: float = 20.0) -> Usage:
    """Return the usage once the tree is idle, or after `timeout_s` seconds.

    What a system puts off until after its answers (writing records) is part of their cost, and must
    not slow down what is measured next.
    """
    deadline = time.monotonic() + timeout_s
    before = of(pid)
    while True:
        time.sleep(PERIOD_S)
        now = of(pid)
        if now.cpu_s - before.cpu_s < _IDLE_SHARE * PERIOD_S or time.monotonic() > deadline:
            return now
        before = now


def reset_peak(pid: int) -> None:
    """Let the peak memory of `pid` and its descendants begin at what they hold now."""
    for each in tree(pid):
        with contextlib.suppress(OSError):  # it ended, or the kernel does not allow it
            (_PROC / str(each) / "clear_refs").write_text("5")


def tree(pid: int) -> list[int]:
    """Return `pid` and the processes that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third, the state, on."""
    text = (_PROC / str(pid) / "stat").read_text()
    return text.rpartition(")")[2].split()  # the second, the name, may hold spaces and brackets


def _status(pid: int) -> dict[str, int]:
    """Return the lines of /proc/PID/status that are in kB."""
    found: dict[str, int] = {}
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            found[name] = int(value.split()[0])
    return found
