"""What an evaluation found: the record behind `evaluation.json` and the report.

The form of the JSON is described by `evaluation.schema.json` beside this file.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training.evaluation.gates import Gate, Verdict, overall
from training.evaluation.intervals import Interval

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Score:
    """One measure of one system on one slice."""

    part: str  # test, truth or suite
    slice: str
    metric: str
    system: str
    interval: Interval


@dataclass(frozen=True, slots=True)
class Difference:
    """Candidate - baseline of one measure on one slice, with both one-sided 95 % limits."""

    part: str
    slice: str
    metric: str
    interval: Interval


@dataclass(frozen=True, slots=True)
class Failure:
    """A question that a system did not answer."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class SystemSummary:
    """A system and how its requests went; times in seconds, None where it has none."""

    name: str
    spec: str
    served: bool
    asked: int
    answered: int
    failures: tuple[Failure, ...]
    latency_p50_s: Interval | None
    latency_p95_s: Interval | None
    ttft_p50_s: Interval | None
    prompt_tokens: int | None
    completion_tokens: int | None
    truncated: int


@dataclass(frozen=True, slots=True)
class Said:
    """One answer beside others: right, wrong, or None where its request failed."""

    system: str
    text: str
    right: bool | None
    note: str = ""
    latency_s: float | None = None


@dataclass(frozen=True, slots=True)
class Compare:
    """One case with all answers to it."""

    id: str
    part: str
    slice: str
    question: str
    reference: str
    said: tuple[Said, ...]


@dataclass(frozen=True, slots=True)
class CheckItem:
    """One line of the pre-deployment checklist; no verdict where it was not measured."""

    title: str
    verdict: Verdict | None
    detail: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluation, complete.

    Args:
        folder: Where `report.html` and `evaluation.json` are.
        created_at: Unix seconds.
        settings: What was asked for.
        versions: Of the packages that scores depend on.
        systems: Candidate and baseline, or the systems that were named.
        scores: Every measure of every system and slice.
        differences: Candidate - baseline, where there is a pair.
        gates: What decides; empty where there is no pair.
        not_run: Gates that nothing was given for, with what they need.
        checklist: The pre-deployment checklist.
        cases: All cases with their answers.
    """

    folder: Path
    created_at: float
    settings: dict[str, Any]
    versions: dict[str, str]
    systems: tuple[SystemSummary, ...]
    scores: tuple[Score, ...]
    differences: tuple[Difference, ...] = ()
    gates: tuple[Gate, ...] = ()
    not_run: dict[str, str] = field(default_factory=dict)
    checklist: tuple[CheckItem, ...] = ()
    cases: tuple[Compare, ...] = ()
    latencies_s: dict[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict | None:
        """Return the verdict over all gates that ran, or None where there is no pair to judge."""
        return overall([gate.verdict for gate in self.gates]) if self.gates else None

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON; numbers that are not finite are None."""
        shown = {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "created_at": self.created_at,
            "settings": self.settings,
            "versions": self.versions,
            "systems": [asdict(system) for system in self.systems],
            "scores": [asdict(score) for score in self.scores],
            "differences": [asdict(difference) for difference in self.differences],
            "gates": [asdict(gate) for gate in self.gates],
            "not_run": self.not_run,
            "checklist": [asdict(item) for item in self.checklist],
            "cases": [asdict(case) for case in self.cases],
        }
        return {name: _plain(value) for name, value in shown.items()}

    def measured(self) -> list[dict[str, Any]]:
        """Return the systems as `driftgate advise --measured` reads them."""
        found = []
        for system in self.systems:
            score = next(
                s.interval
                for s in self.scores
                if (s.part, s.slice, s.metric, s.system) == ("test", "all", "right", system.name)
            )
            found.append(
                {
                    "system": system.name,
                    "score": score.value,
                    "low": score.low,
                    "high": score.high,
                    "level": score.level,
                    "n": score.n,
                    "latency_p50_s": system.latency_p50_s and system.latency_p50_s.value,
                    "latency_p95_s": system.latency_p95_s and system.latency_p95_s.value,
                }
            )
        return [_plain(row) for row in found]


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: no NaN and no infinity."""
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return str(value) if isinstance(value, Verdict | Path) else value
