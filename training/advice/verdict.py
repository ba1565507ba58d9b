"""Which measured system to take: the cheapest that no dearer one is shown to beat.

Differences are simultaneous: the level is shared out among them (Bonferroni). With answers to the
same cases they are paired and exact (`training.evaluation.paired`), else they come from the two
intervals (Newcombe, "Interval estimation for the difference between independent proportions", 1998,
method 10), scaled to that level.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from training.advice.measured import System

ALPHA = 0.05
_POWER = 0.8


@dataclass(frozen=True, slots=True)
class Difference:
    """A dearer system against a cheaper one.

    Args:
        cheaper: The one.
        dearer: The other.
        value: Score of the dearer one minus that of the cheaper.
        low: Lower end of its interval.
        high: Upper end.
        gain: The least difference that is worth it.
        missing: How many more cases would decide with a power of 80 %; 0 where it is decided.
    """

    cheaper: str
    dearer: str
    value: float
    low: float
    high: float
    gain: float
    missing: int

    @property
    def better(self) -> bool:
        """Whether the dearer one is shown to be better, and not shown to be so by too little."""
        return self.low > 0 and self.high >= self.gain

    @property
    def decided(self) -> bool:
        """Whether it is shown to be better, or to be better by less than is worth it."""
        return self.better or self.high < self.gain


@dataclass(frozen=True, slots=True)
class Verdict:
    """The system to take, what it was held against, and what was left out for its latency."""

    take: System
    differences: tuple[Difference, ...]
    too_slow: tuple[System, ...]

    @property
    def open(self) -> tuple[Difference, ...]:
        """Differences between what is taken and a dearer system that are not decided."""
        return tuple(d for d in self.differences if d.cheaper == self.take.name and not d.decided)


def judge(systems: list[System], gain: float, latency_p95_s: float | None = None) -> Verdict | None:
    """Return which system to take; None where none is fast enough.

    Args:
        systems: Cheapest first.
        gain: The least gain in score that is worth a dearer system.
        latency_p95_s: Most seconds that 95 % of answers may take, if that matters. A system whose
            latency is not known counts as fast enough.
    """
    slow = [
        s for s in systems if latency_p95_s is not None and (s.latency_p95_s or 0) > latency_p95_s
    ]
    able = [system for system in systems if system not in slow]
    if not able:
        return None
    pairs = [(cheap, dear) for n, cheap in enumerate(able) for dear in able[n + 1 :]]
    alpha = ALPHA / max(1, len(pairs))
    differences = [_difference(cheap, dear, gain, alpha) for cheap, dear in pairs]
    beaten = {difference.cheaper for difference in differences if difference.better}
    take = next(system for system in able if system.name not in beaten)
    return Verdict(take, tuple(differences), tuple(slow))


def _difference(cheap: System, dear: System, gain: float, alpha: float) -> Difference:
    shared = sorted(cheap.right.keys() & dear.right.keys())
    if shared:
        value, low, high = _paired(cheap, dear, shared, alpha)
    else:
        value, low, high = _unpaired(cheap, dear, alpha)
    difference = Difference(cheap.name, dear.name, value, low, high, gain, 0)
    if difference.decided:
        return difference
    n = len(shared) or min(cheap.n, dear.n)
    missing = _missing(value, (high - low) / 2, n, gain, alpha)
    return Difference(cheap.name, dear.name, value, low, high, gain, missing)


def _paired(
    cheap: System, dear: System, shared: list[str], alpha: float
) -> tuple[float, float, float]:
    from training.evaluation.paired import interval, pairs

    seen = pairs([dear.right[id] for id in shared], [cheap.right[id] for id in shared])
    found = interval(seen, alpha / 2)
    return found.value, found.low, found.high


def _unpaired(cheap: System, dear: System, alpha: float) -> tuple[float, float, float]:
    value = dear.score - cheap.score
    below = math.hypot(
        (dear.score - dear.low) * _scale(dear, alpha),
        (cheap.high - cheap.score) * _scale(cheap, alpha),
    )
    above = math.hypot(
        (dear.high - dear.score) * _scale(dear, alpha),
        (cheap.score - cheap.low) * _scale(cheap, alpha),
    )
    return value, max(-1.0, value - below), min(1.0, value + above)


def _scale(system: System, alpha: float) -> float:
    """Return by how much an interval of the system's level is widened to 1 - alpha."""
    normal = NormalDist()
    return normal.inv_cdf(1 - alpha / 2) / normal.inv_cdf(0.5 + system.level / 2)


def _missing(value: float, half: float, n: int, gain: float, alpha: float) -> int:
    """Return how many more cases decide it, if the true difference is what was seen.

    Half an interval shrinks with the root of the cases; it must fit between the difference and the
    nearer thing to show: better than nothing, or less than the gain.
    """
    normal = NormalDist()
    z = normal.inv_cdf(1 - alpha / 2)
    powered = (z + normal.inv_cdf(_POWER)) / z
    distance = max(value, gain - value)
    needed = math.ceil(n * (half * powered / distance) ** 2)
    return max(1, needed - n)
