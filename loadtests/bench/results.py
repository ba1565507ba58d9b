"""What was measured, as records, and as `bench.json`, which an interrupted run goes on from."""

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from loadtests.bench.tokens import TokenDelays
from loadtests.bench.usage import Usage
from loadtests.bench.wrk import Measured

Kind = Literal["whole", "one core", "stream"]


@dataclass(frozen=True)
class LoadRun:
    """One run of wrk against one system.

    Args:
        round: Which round, from 1.
        system: The system's name.
        kind: Whole answers, the same with all processes on one core, or streams.
        connections: Connections of wrk.
        measured: What wrk measured.
        usage: The system's processor seconds in this run, what it put off until after it included,
            and its memory.
        busy_s: How long after the run it went on working, in seconds.
    """

    round: int
    system: str
    kind: Kind
    connections: int
    measured: Measured
    usage: Usage
    busy_s: float = 0.0

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.measured.requests / self.measured.duration_s

    @property
    def cpu_s_per_1000(self) -> float:
        """Processor seconds of the system per 1,000 answers."""
        return 1000 * self.usage.cpu_s / self.measured.requests


@dataclass(frozen=True)
class TokenRun:
    """One run of the inter-token probe against one system."""

    round: int
    system: str
    delays: TokenDelays


@dataclass(frozen=True)
class Recorded:
    """How many of a round's requests are in Driftgate's traffic log after it has stopped."""

    round: int
    system: str
    answered: int
    recorded: int


@dataclass(frozen=True)
class MemoryGrowth:
    """Driftgate's memory over many requests.

    Args:
        system: Which one.
        wanted: Requests that were asked for, after the warm-up.
        samples: (answers so far, resident MB), the first after the warm-up.
        errors: wrk's counts by kind, summed.
    """

    system: str
    wanted: int
    samples: list[tuple[int, float]]
    errors: dict[str, int]

    @property
    def requests(self) -> int:
        """Answers between the first and the last sample."""
        return self.samples[-1][0] - self.samples[0][0]

    @property
    def growth_mb(self) -> float:
        """Resident memory at the end less that after the warm-up, in MB."""
        return self.samples[-1][1] - self.samples[0][1]


@dataclass(frozen=True)
class Machine:
    """What it ran on; memory in GiB."""

    cores: int
    cpu: str
    memory_gib: float
    kernel: str
    python: str


@dataclass(frozen=True)
class SystemInfo:
    """A system's version and set-up."""

    version: str
    note: str


@dataclass
class Results:
    """Everything that was measured.

    Args:
        started: When, in UTC, ISO 8601.
        command: The command line.
        machine: What it ran on.
        seconds: Length of each run of wrk, in seconds.
        rounds: Rounds that were asked for.
        systems: What each system is, in the order of the tables.
        failures: Why a system, or streams of it (`NAME stream`), could not be measured.
    """

    started: str
    command: str
    machine: Machine
    seconds: float
    rounds: int
    systems: dict[str, SystemInfo]
    failures: dict[str, str] = field(default_factory=dict)
    loads: list[LoadRun] = field(default_factory=list)
    tokens: list[TokenRun] = field(default_factory=list)
    recorded: list[Recorded] = field(default_factory=list)
    memory: MemoryGrowth | None = None

    def load_runs(self, system: str, kind: Kind, connections: int) -> list[LoadRun]:
        """Return the runs of one measurement, by round."""
        found = [
            run
            for run in self.loads
            if (run.system, run.kind, run.connections) == (system, kind, connections)
        ]
        return sorted(found, key=lambda run: run.round)

    def save(self, path: Path) -> None:
        """Write all of it; an interruption leaves the old file or the new one."""
        new = path.with_suffix(".new")
        new.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1))
        new.replace(path)


def load(path: Path) -> Results:
    """Read what `save` wrote; msgspec.ValidationError where it is something else."""
    return msgspec.json.decode(path.read_bytes(), type=Results)


def machine() -> Machine:
    """Describe this machine."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor() or "unknown",
    )
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        cpu=cpu,
        memory_gib=round(memory / 2**30, 1),
        kernel=platform.release(),
        python=platform.python_version(),
    )
