"""From runs to figures: false alarms, what was found, how soon."""

import math
import statistics
from collections.abc import Callable, Sequence

import msgspec

from monitoring.bench.outcomes import OURS, Outcome, Outcomes
from monitoring.bench.plan import COMPARED, LONG, LONG_WINDOWS
from monitoring.bench.streams import SCENARIOS
from monitoring.evidence.book import TOGETHER, Levels

MONTH = Levels().windows
"""The threshold that is the default: 30 days of windows, one a minute."""
SHARE = 0.05
"""The share of null runs in which each method may alarm, where they are compared."""
PROMISES = LONG_WINDOWS / SHARE
"""The threshold that promises so for the long null: it is reached within n windows with a chance of
at most n divided by it."""


class Found(msgspec.Struct, frozen=True):
    """How often a change was found.

    Attributes:
        runs: How many there were.
        early: Those that alarmed before the change, which are not found.
        delays: Windows from the onset to the alarm, 1 for the first window, of those that found it.
    """

    runs: int
    early: int
    delays: list[int]

    @property
    def rate(self) -> float:
        return len(self.delays) / self.runs if self.runs else math.nan

    @property
    def median(self) -> float:
        """Return the median delay over all runs: infinite where fewer than half found it."""
        if not self.runs:
            return math.nan
        return statistics.median([*self.delays, *[math.inf] * (self.runs - len(self.delays))])


class Level(msgspec.Struct, frozen=True):
    """A method at a limit: null runs, those that alarmed, and what it found by scenario."""

    limit: float
    nulls: int
    alarmed: int
    found: dict[str, Found]


class Line(msgspec.Struct, frozen=True):
    """A method: at its default, and with a limit that 5 % of null runs reach."""

    name: str
    default: Level
    calibrated: Level
    cpu_ms: float


class Harm(msgspec.Struct, frozen=True):
    """The harm alarm in a scenario.

    Attributes:
        runs: How many there were.
        alarmed: Those with an alarm.
        early: Those whose alarm was before the change.
        worse: Those in which the loss rose by more than the tolerance.
        right: Those that alarmed, in time, of these.
        loss_before: Mean loss before the change.
        loss_after: Mean loss after it.
    """

    runs: int
    alarmed: int
    early: int
    worse: int
    right: int
    loss_before: float
    loss_after: float


class Summary(msgspec.Struct):
    """All figures of the report.

    Attributes:
        size: Requests in a window.
        windows: Windows of a stream, and the onset.
        command: The command line.
        machine: What it ran on.
        embedder: What made the vectors.
        nulls: Null runs that alarmed, by threshold and null: (alarmed, runs).
        found: By threshold, then scenario.
        signals: Which of our signals found a scenario by itself, at the default threshold.
        lines: Ours and the other methods.
        harm: By scenario.
        cpu_ms: CPU per window of ours, median and the largest median of a run.
    """

    size: int
    windows: tuple[int, int]
    command: str
    machine: str
    embedder: str
    nulls: dict[str, dict[str, tuple[int, int]]]
    found: dict[str, dict[str, Found]]
    signals: dict[str, dict[str, Found]]
    lines: list[Line]
    harm: dict[str, Harm]
    cpu_ms: tuple[float, float]


def summarised(
    outcomes: Outcomes, methods: Sequence[tuple[str, float]], size: int, *, command: str = "",
    machine: str = "", embedder: str = "",
) -> Summary:  # fmt: skip
    """Return the figures of what has been run so far with windows of a size.

    Args:
        outcomes: The runs.
        methods: The other methods: name, and limit by default.
        size: Requests in a window.
        command: The command line.
        machine: What it ran on.
        embedder: What made the vectors.
    """
    ours = [each for each in outcomes.found.values() if (each.method, each.size) == (OURS, size)]
    changes = [each.name for each in SCENARIOS if each.kind != "null"]
    by = {name: outcomes.of(OURS, name, size) for name in ("null", LONG.name, *changes)}
    thresholds = (1440.0, PROMISES, MONTH)
    signals = sorted({name for each in ours for name in each.traces})
    cpu = sorted(each.cpu_ms for each in ours)
    first = by["null"][0] if by["null"] else None
    return Summary(
        size=size,
        windows=(len(first.traces[TOGETHER]), first.onset) if first else (0, 0),
        command=command, machine=machine, embedder=embedder,
        nulls={
            f"{each:g}": {name: _alarmed(by[name], TOGETHER, math.log10(each))
                          for name in ("null", LONG.name)}
            for each in thresholds
        },
        found={
            f"{each:g}": {name: found(by[name], TOGETHER, math.log10(each)) for name in changes}
            for each in thresholds
        },
        signals={
            signal: {name: found(by[name], signal, math.log10(MONTH)) for name in changes}
            for signal in signals if signal != TOGETHER
        },
        lines=[
            _line(OURS, TOGETHER, math.log10(MONTH), lambda name: outcomes.of(OURS, name, size)),
            *(_line(name, "statistic", limit, _runs_of(outcomes, name, size))
              for name, limit in methods),
        ],
        harm={name: _harm(runs) for name, runs in by.items() if runs},
        cpu_ms=(statistics.median(cpu), cpu[-1]) if cpu else (math.nan, math.nan),
    )  # fmt: skip


def alarm(trace: Sequence[float], limit: float, above: bool = False) -> int | None:
    """Return the first window whose value reaches a limit, or is above it; None without one."""
    for number, value in enumerate(trace):
        if value > limit or (value == limit and not above):
            return number
    return None


def found(runs: Sequence[Outcome], signal: str, limit: float, above: bool = False) -> Found:
    """Return how often a change was found, and after how many windows."""
    alarms = [(each.onset, alarm(each.traces.get(signal, ()), limit, above)) for each in runs]
    return Found(
        runs=len(runs),
        early=sum(1 for onset, at in alarms if at is not None and at < onset),
        delays=[at - onset + 1 for onset, at in alarms if at is not None and at >= onset],
    )


def calibrated(runs: Sequence[Outcome], signal: str) -> float:
    """Return the lowest limit that at most 5 % of null runs ever exceed."""
    largest = sorted(max(each.traces[signal]) for each in runs)
    if not largest:
        return math.nan
    return largest[len(largest) - 1 - math.floor(SHARE * len(largest))]


def _runs_of(outcomes: Outcomes, method: str, size: int) -> Callable[[str], list[Outcome]]:
    return lambda scenario: outcomes.of(method, scenario, size)


def _line(
    name: str, signal: str, limit: float, runs: Callable[[str], list[Outcome]]
) -> Line:  # fmt: skip
    every = {scenario: runs(scenario) for scenario in COMPARED}
    spent = [each.cpu_ms for part in every.values() for each in part]
    # What reaches our threshold is an alarm, and so is what is above a peer's limit.
    peer = name != OURS
    equal = calibrated(every["null"], signal)
    return Line(
        name=name,
        default=_level(every, signal, limit, peer),
        calibrated=_level(every, signal, equal, above=True),
        cpu_ms=statistics.median(spent) if spent else math.nan,
    )


def _level(
    runs: dict[str, list[Outcome]], signal: str, limit: float, above: bool
) -> Level:  # fmt: skip
    alarmed, nulls = _alarmed(runs["null"], signal, limit, above)
    changed = {name: found(each, signal, limit, above) for name, each in runs.items()}
    del changed["null"]
    return Level(limit, nulls, alarmed, changed)


def _alarmed(
    runs: Sequence[Outcome], signal: str, limit: float, above: bool = False
) -> tuple[int, int]:
    alarms = [alarm(each.traces.get(signal, ()), limit, above) for each in runs]
    return sum(each is not None for each in alarms), len(runs)


def _harm(runs: Sequence[Outcome]) -> Harm:
    known = [(each, each.loss) for each in runs if each.loss is not None]
    quiet = runs[0].scenario in ("null", LONG.name)
    worse = {
        each.seed for each, (before, after) in known
        if not quiet and after - before > Levels().tolerance
    }  # fmt: skip
    in_time = [each for each in runs if each.harm is not None and each.harm >= each.onset]
    return Harm(
        runs=len(runs),
        alarmed=sum(each.harm is not None for each in runs),
        early=sum(each.harm is not None and each.harm < each.onset for each in runs),
        worse=len(worse),
        right=sum(each.seed in worse for each in in_time),
        loss_before=statistics.fmean(before for _, (before, _) in known),
        loss_after=statistics.fmean(after for _, (_, after) in known),
    )
