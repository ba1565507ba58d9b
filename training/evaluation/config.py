"""What an evaluation is asked to do."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from training.evaluation.answerers.base import Sampling, System
from training.evaluation.cases import CaseError
from training.evaluation.scoring import RightBy


class ConfigError(ValueError):
    """A setting that cannot be used; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """One evaluation: a candidate against a baseline, or several systems beside each other.

    Args:
        data: Test rows.
        out: The folder of answers, `evaluation.json` and `report.html`; a second run goes on in it.
        candidate, baseline: The pair that the gates judge.
        systems: Systems without a pair, instead of the two above.
        truth: The truth set, for the hallucination gate.
        judge: What judges groundedness instead of the rules of the truth set.
        labels: People's labels of answers to the truth set.
        suites: Suites of general capability: names, paths, or `all`; empty for none.
        suite_items: How many items of each suite; None for all.
        superior_on: Slices on which the candidate must be better (`all` for the whole).
        margin: How much worse it may be on every other slice, as a share.
        margins: The same for single slices.
        truth_margin: How much more it may hallucinate.
        suite_margin: How much worse it may be on a suite.
        sla_p95_s: The longest 95th percentile of the latency, in seconds.
        right_by: `exact` match, or the answer `contains` the reference.
        schema: A JSON schema that answers must follow.
        encoder: The folder of the encoder for BERTScore.
        run: The run folder of the training, for the checklist.
        sampling: The same for all.
        max_tokens: The longest answer to a test or truth question.
        concurrency: Requests at once.
        timeout_s: The longest silence of a request.
        batch: Prompts at once in a local model.
    """

    data: Path
    out: Path
    candidate: System | None = None
    baseline: System | None = None
    systems: tuple[System, ...] = ()
    truth: Path | None = None
    judge: System | None = None
    labels: Path | None = None
    suites: tuple[str, ...] = ("all",)
    suite_items: int | None = None
    superior_on: tuple[str, ...] = ()
    margin: float = 0.03
    margins: Mapping[str, float] = field(default_factory=dict)
    truth_margin: float = 0.01
    suite_margin: float = 0.05
    sla_p95_s: float | None = None
    right_by: RightBy = "exact"
    schema: Path | None = None
    encoder: Path | None = None
    run: Path | None = None
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int = 256
    concurrency: int = 8
    timeout_s: float = 120.0
    batch: int = 16

    @property
    def asked(self) -> tuple[System, ...]:
        """Return the systems that are asked, the baseline first."""
        if self.candidate is not None and self.baseline is not None:
            return (self.baseline, self.candidate)
        return self.systems

    @property
    def paired(self) -> bool:
        """Return whether there is a candidate to judge."""
        return self.candidate is not None

    def check(self) -> None:
        """Raise ConfigError where settings cannot be used together."""
        pair = (self.candidate is not None) + (self.baseline is not None)
        if pair == 1:
            raise ConfigError("a candidate needs a baseline, and the reverse")
        if bool(pair) == bool(self.systems):
            raise ConfigError("name either a candidate and a baseline, or systems")
        names = [system.name for system in self.asked]
        if len(set(names)) != len(names) or "judge" in names:
            raise ConfigError(f"systems need names of their own, none of them `judge`: {names}")
        for name in ("margin", "truth_margin", "suite_margin"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"{name} must be between 0 and 1 (0.03 is 3 points)")
        for name, margin in self.margins.items():
            if not 0 < margin < 1:
                raise ConfigError(f"the margin of {name!r} must be between 0 and 1")
        for name in ("max_tokens", "concurrency", "timeout_s", "batch"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0")
        if self.labels is not None and self.judge is None:
            raise ConfigError("labels correct a judge, and there is none")
        if self.judge is not None and self.truth is None:
            raise ConfigError("a judge judges answers to a truth set, and there is none")

    def check_slices(self, known: set[str]) -> None:
        """Raise CaseError where a slice to be better on is not in the data."""
        for name in self.superior_on:
            if name not in known:
                listed = ", ".join(sorted(known)[:20])
                raise CaseError(f"{self.data} has no slice {name!r}; it has: {listed}")

    def as_dict(self) -> dict[str, Any]:
        """Return the settings for the record; a key's value is in none of them."""
        return {name: value for name, value in asdict(self).items() if name != "out"}
