"""From runs to the figures of the tables: a median over the rounds, and the spread."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtests.bench.results import Kind, LoadRun, Results


@dataclass(frozen=True)
class Spread:
    """A median over rounds with the smallest and the largest value.

    Args:
        median: Of the values.
        low: The smallest.
        high: The largest.
        problem: What was wrong in one of the runs; empty where nothing was.
    """

    median: float
    low: float
    high: float
    problem: str = ""


Measure = Callable[[Results, str], Spread | None]


def of(values: Sequence[float], problem: str = "") -> Spread | None:
    """Return the spread of values, or None where there are none."""
    if not values:
        return None
    return Spread(statistics.median(values), min(values), max(values), problem)


def load(kind: Kind, connections: int, value: Callable[[LoadRun], float]) -> Measure:
    """Return the measure that takes `value` of each of wrk's runs with these connections."""

    def measure(results: Results, system: str) -> Spread | None:
        runs = results.load_runs(system, kind, connections)
        errors = sum(sum(run.measured.errors.values()) for run in runs)
        return of([value(run) for run in runs], f"{errors:,} errors" if errors else "")

    return measure


def added_p50_us(kind: Kind) -> Measure:
    """Return the measure of the latency added at one connection, in microseconds.

    The median latency less that of `direct` in the same round.
    """

    def measure(results: Results, system: str) -> Spread | None:
        direct = {run.round: run.measured.p50_us for run in results.load_runs("direct", kind, 1)}
        runs = [run for run in results.load_runs(system, kind, 1) if run.round in direct]
        errors = sum(sum(run.measured.errors.values()) for run in runs)
        values = [run.measured.p50_us - direct[run.round] for run in runs]
        return of(values, f"{errors:,} errors" if errors else "")

    return measure


def token_p50_us(results: Results, system: str) -> Spread | None:
    """Return the median added inter-token time, in microseconds."""
    runs = [run.delays for run in results.tokens if run.system == system]
    return of([each.p50_us for each in runs], _problem([each.problem for each in runs]))


def token_p99_us(results: Results, system: str) -> Spread | None:
    """Return the 99th percentile of the added inter-token time, in microseconds."""
    runs = [run.delays for run in results.tokens if run.system == system]
    return of([each.p99_us for each in runs], _problem([each.problem for each in runs]))


def token_worst_us(results: Results, system: str) -> Spread | None:
    """Return the 99th percentile over streams of the worst added time, in microseconds."""
    runs = [run.delays for run in results.tokens if run.system == system]
    return of([each.worst_p99_us for each in runs], _problem([each.problem for each in runs]))


def p50_us(run: LoadRun) -> float:
    """Return the median latency, in microseconds."""
    return run.measured.p50_us


def p99_us(run: LoadRun) -> float:
    """Return the 99th percentile of the latency, in microseconds."""
    return run.measured.p99_us


def rate(run: LoadRun) -> float:
    """Return answers per second."""
    return run.rate


def cpu_ms(run: LoadRun) -> float:
    """Return the system's processor seconds per 1,000 answers: milliseconds per answer."""
    return run.cpu_s_per_1000


def busy_s(run: LoadRun) -> float:
    """Return how long after the run the system went on working, in seconds."""
    return run.busy_s


def peak_mb(run: LoadRun) -> float:
    """Return the system's largest resident memory in the run, in MB."""
    return run.usage.peak_mb


def _problem(problems: Sequence[str]) -> str:
    return next((problem for problem in problems if problem), "")
