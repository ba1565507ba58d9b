"""What the detector is to reach, each as a number and a limit that the runs decide."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from monitoring.bench.outcomes import OURS
from monitoring.bench.plan import LONG
from monitoring.bench.summary import MONTH, PROMISES, SHARE, Summary

RUNS, NULLS = 20, 100
"""Fewer runs decide nothing."""
_HARM, _FOUND, _REQUESTS, _CPU_MS = 0.01, 0.95, 1200, 150.0


@dataclass(frozen=True)
class Goal:
    """One goal; `met` is None where too little was run to tell."""

    claim: str
    measured: str
    met: bool | None

    @property
    def verdict(self) -> str:
        return "not measured" if self.met is None else "met" if self.met else "**missed**"


def goals(summary: Summary) -> list[Goal]:
    """Decide every goal."""
    return [*_nulls(summary), _topic(summary), *_rivals(summary), _cpu(summary)]


def _nulls(summary: Summary) -> Iterator[Goal]:
    alarmed, runs = summary.nulls[f"{PROMISES:g}"][LONG.name]
    yield Goal(
        f"False alarms of drift over 200 windows without change, threshold {PROMISES:,.0f}: at "
        f"most {SHARE:.0%} of runs",
        f"{alarmed} of {runs}", _decided(alarmed <= SHARE * runs, runs, NULLS),
    )  # fmt: skip
    nulls = [summary.harm[name] for name in (LONG.name, "null") if name in summary.harm]
    alarmed, runs = sum(each.alarmed for each in nulls), sum(each.runs for each in nulls)
    yield Goal(
        f"False alarms of harm, streams without change of both kinds: at most {_HARM:.0%} of runs",
        f"{alarmed} of {runs}", _decided(alarmed <= _HARM * runs, runs, NULLS),
    )  # fmt: skip


def _topic(summary: Summary) -> Goal:
    found = summary.found[f"{MONTH:g}"]["topic-10"]
    requests = found.median * summary.size
    words = f"{len(found.delays)} of {found.runs}, median {delay(found.median, summary.size)}"
    return Goal(
        f"New topic of 10 %, threshold {MONTH:,.0f} windows (30 days): found in at least "
        f"{_FOUND:.0%} of runs, median at most {_REQUESTS:,} requests",
        words,
        _decided(found.rate >= _FOUND and requests <= _REQUESTS, found.runs, RUNS),
    )


def _rivals(summary: Summary) -> Iterator[Goal]:
    ours, *others = summary.lines
    mine = ours.calibrated.found["topic-10"]
    for other in others:
        theirs = other.calibrated.found["topic-10"]
        least = min(mine.runs, theirs.runs, other.calibrated.nulls)
        yield Goal(
            f"New topic of 10 % at the same rate of false alarms: {OURS} sooner than {other.name}",
            f"median {delay(mine.median, summary.size)}; "
            f"{other.name} {delay(theirs.median, summary.size)}",
            _decided(mine.median < theirs.median, least, RUNS // 2),
        )


def _cpu(summary: Summary) -> Goal:
    median, most = summary.cpu_ms
    return Goal(
        f"CPU of a window, embedding apart: below {_CPU_MS:g} ms",
        f"median {median:.1f} ms, in the slowest run {most:.1f} ms",
        None if math.isnan(most) else most < _CPU_MS,
    )


def delay(windows: float, size: int) -> str:
    """Return a delay in words: windows, and requests."""
    if math.isnan(windows):
        return "not measured"
    if math.isinf(windows):
        return "never in half of the runs"
    return f"{windows:g} windows ({windows * size:,.0f} requests)"


def _decided(met: bool, runs: int, least: int) -> bool | None:
    return met if runs >= least else None
