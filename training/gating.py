"""What a job's evaluation must show, where more is asked than "better than its base".

A retraining writes it into its job (`Job.overrides["evaluation"]`), the step `evaluate` reads it.
Clients of the API cannot: their overrides are plain values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from training.evaluation.gates import Gate, Verdict

OVERRIDE = "evaluation"


class GatingInvalid(ValueError):
    """What is stored in a job cannot be used; the message names the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gating:
    """The gates of a job.

    Args:
        baseline: The release that the candidate is compared with; None: the job's base.
        superior_on: Slices of the held-out rows on which it must be better.
        margin: How much worse it may be on every other slice.
        margins: The same for single slices.
        cases: Most cases that are asked; None: as many as fit the machine.
        suites: Whether the suites of general capability are asked.
        truth: File of the questions with known true answers.
        latency_p95_s: The longest 95th percentile of the latency, in seconds.
        required: Gates that must have a result.
    """

    baseline: str | None = None
    superior_on: tuple[str, ...] = ("all",)
    margin: float = 0.03
    margins: dict[str, float] = field(default_factory=dict)
    cases: int | None = None
    suites: bool = False
    truth: str | None = None
    latency_p95_s: float | None = None
    required: tuple[str, ...] = ()

    @classmethod
    def of(cls, overrides: Mapping[str, Any]) -> "Gating | None":
        """Return what a job asks for; None: nothing more than usual.

        Raises:
            GatingInvalid: A field is wrong.
        """
        found = overrides.get(OVERRIDE)
        if found is None:
            return None
        try:
            return msgspec.convert(found, cls, strict=True)
        except (msgspec.ValidationError, TypeError) as error:
            raise GatingInvalid(f"`{OVERRIDE}`: {error}") from error

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        values = asdict(self)
        return values | {name: list(values[name]) for name in ("superior_on", "required")}


def missing(required: Sequence[str], gates: Sequence[Gate], why: Mapping[str, str]) -> list[Gate]:
    """Return a gate without a result for each that is required and did not run: it blocks.

    Args:
        required: Names of gates.
        gates: Those that ran.
        why: What others need, by name.
    """
    ran = {gate.name for gate in gates}
    return [
        Gate(
            name,
            "Required for this alias",
            Verdict.INCONCLUSIVE,
            why.get(name, "it is required, and there is no result of it"),
        )
        for name in required
        if name not in ran
    ]
