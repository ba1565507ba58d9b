"""How sure evidence must be."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Levels:
    """How sure the evidence must be.

    Attributes:
        windows: Mean number of windows between false alarms of drift.
        alpha: Chance that one harm signal ever alarms about a release that is as good as ever.
        tolerance: How much a mean loss may rise above its baseline.
        baseline: Losses that a baseline is made of.
        limits: Limits that are agreed rather than measured, by signal.
    """

    windows: float = 43_200.0
    alpha: float = 0.01
    tolerance: float = 0.05
    baseline: int = 200
    limits: Mapping[str, float] = field(default_factory=dict)
