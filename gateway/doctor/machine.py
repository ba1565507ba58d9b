"""The machine: Python, cores, CPU flags, GPU, memory, disk."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from gateway.doctor.finding import Finding, fail, ok, warn

_GIB = 2**30
# A release's files, its merge and a new generation of an index lie beside each other for a while.
_DISK_GIB, _LEAST_DISK_GIB = 10.0, 1.0
# Beside the KV cache: weights of a small model, vLLM itself, gateway and retrieval service.
_BESIDE_CACHE_GIB = 3.0


def look(home: Path, kv_cache_gib: float) -> Iterator[Finding]:
    """Look at everything that does not depend on the installation.

    Args:
        home: The folder that Driftgate writes to.
        kv_cache_gib: What a CPU engine sets aside.
    """
    yield python_version()
    yield cores()
    card = gpu()
    if card.found == "none":
        yield cpu_flags(Path("/proc/cpuinfo"))
    yield card
    if card.found == "none":
        yield memory(Path("/proc/meminfo"), kv_cache_gib)
    yield disk(home)


def python_version() -> Finding:
    """The lock files are for one Python on one kind of machine."""
    machine = platform.machine()
    found = f"Python {platform.python_version()}, {platform.system()} {machine}"
    if sys.version_info[:2] == (3, 11) and platform.system() == "Linux" and machine == "x86_64":
        return ok("machine", found)
    return warn(
        "machine",
        found,
        "The lock files are for Python 3.11 on x86-64 Linux; elsewhere nothing is tested.",
    )


def cores() -> Finding:
    """Engine, gateway and monitor run at the same time."""
    count = len(os.sched_getaffinity(0))
    if count >= 2:
        return ok("cores", str(count))
    return warn("cores", str(count), "Engine and gateway share one core: give it two or more.")


def cpu_flags(cpuinfo: Path) -> Finding:
    """VLLM's CPU build needs AVX2; AVX-512 makes it faster."""
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return warn("CPU flags", "unknown", f"{cpuinfo} cannot be read.")
    flags = next((line.split(":")[1].split() for line in lines if line.startswith("flags")), [])
    known = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    if "avx2" in known:
        return ok("CPU flags", ", ".join(known))
    return fail(
        "CPU flags",
        "no avx2",
        "vLLM's CPU build does not run here. Use another machine, a GPU, or "
        "`driftgate serve --engine echo` to try the API.",
    )


def gpu() -> Finding:
    """Whether there is a card, and whether its driver answers."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ok("GPU", "none")
    try:
        done = subprocess.run(  # noqa: S603 - found on the path, our own arguments
            [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return fail("GPU", f"nvidia-smi: {error}", "Repair the driver, or hide the card.")
    cards = "; ".join(done.stdout.strip().splitlines())
    if done.returncode == 0 and cards:
        return ok("GPU", cards)
    said = (done.stderr or done.stdout).strip().splitlines()
    return fail("GPU", f"nvidia-smi: {said[0] if said else done.returncode}", "Repair the driver.")


def memory(meminfo: Path, kv_cache_gib: float) -> Finding:
    """A CPU engine sets its KV cache aside at once."""
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 / _GIB for line in lines}
        free, total = sizes["MemAvailable"], sizes["MemTotal"]
    except (OSError, ValueError, KeyError, IndexError):
        return warn("memory", "unknown", f"{meminfo} cannot be read.")
    found = f"{free:.1f} of {total:.1f} GiB free"
    needed = kv_cache_gib + _BESIDE_CACHE_GIB
    if free >= needed:
        return ok("memory", found)
    return warn(
        "memory", found,
        f"About {needed:.0f} GiB are wanted for an engine with its KV cache of {kv_cache_gib:g} "
        "GiB, if none runs yet (DRIFTGATE_KV_CACHE_GIB).",
    )  # fmt: skip


def disk(home: Path) -> Finding:
    """Space in the folder that models, indexes and records are written to."""
    folder = next(each for each in (home, *home.parents) if each.exists())
    free = shutil.disk_usage(folder).free / _GIB
    found = f"{free:.1f} GiB free for {home}"
    if not os.access(folder, os.W_OK):
        return fail("disk", f"{folder} cannot be written to", "DRIFTGATE_HOME names another.")
    if free >= _DISK_GIB:
        return ok("disk", found)
    todo = "Make room, or let DRIFTGATE_HOME name a folder on another disk."
    return (warn if free >= _LEAST_DISK_GIB else fail)("disk", found, todo)
