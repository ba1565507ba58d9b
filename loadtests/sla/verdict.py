"""Holds what was measured against the agreement."""

from collections.abc import Iterator
from dataclasses import dataclass

from loadtests.sla.agreement import PERCENTILES, Scenario
from loadtests.sla.measured import Measured

TITLES = {
    "ttft_ms": "time to first token",
    "inter_token_ms": "between tokens",
    "total_ms": "whole answer",
    "search_ms": "search",
}


@dataclass(frozen=True)
class Check:
    """One limit and what was measured.

    Attributes:
        figure: As people read it: `time to first token p95`.
        limit: In `unit`; a lower bound where `least`.
        measured: None where nothing was measured, which breaks the limit.
        count: Measurements that it rests on.
    """

    figure: str
    limit: float
    measured: float | None
    unit: str
    count: int
    least: bool = False

    @property
    def kept(self) -> bool:
        """Whether the limit was kept."""
        if self.measured is None:
            return False
        return self.measured >= self.limit if self.least else self.measured <= self.limit

    def show(self, value: float | None) -> str:
        """Return a value with its unit."""
        if value is None:
            return "nothing measured"
        if self.unit == "%":
            return f"{100 * value:.2f} %"
        if self.unit == "ms":
            return f"{value:,.1f} ms" if value < 100 else f"{value:,.0f} ms"
        return f"{value:,.2f}{self.unit}" if self.unit else f"{value:,.0f}"


@dataclass(frozen=True)
class Verdict:
    """A scenario after its run."""

    scenario: Scenario
    measured: Measured
    checks: tuple[Check, ...]

    @property
    def kept(self) -> bool:
        """Whether every limit was kept."""
        return all(check.kept for check in self.checks)


def judge(scenario: Scenario, measured: Measured) -> Verdict:
    """Return the verdict; an answer that never came is an error and has no time."""
    return Verdict(scenario, measured, tuple(_checks(scenario, measured)))


def _checks(scenario: Scenario, measured: Measured) -> Iterator[Check]:
    limits = scenario.limits
    for figure, by_percentile in limits.times_ms.items():
        series = measured.figures[figure]
        for name in PERCENTILES:
            if name in by_percentile:
                title = f"{TITLES[figure]} {name}"
                yield Check(
                    title, by_percentile[name], series.percentile(name), "ms", len(series.value)
                )
    rate = measured.failed / measured.count if measured.count else None
    yield Check("errors", limits.error_rate, rate, "%", measured.count)
    if limits.refused_least is not None:
        yield Check(
            "refused by keys' limits",
            limits.refused_least, float(measured.refused), "", measured.refused, least=True,
        )  # fmt: skip
    if limits.growth is not None:
        count = len(measured.figures["total_ms"].value)
        yield Check("last third over first", limits.growth, measured.growth(), " x", count)
