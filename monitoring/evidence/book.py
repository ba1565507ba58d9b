"""All evidence about one release, as a fold over what its windows brought.

What goes in is plain JSON and is stored with the window, so that the evidence can be computed again
from what is stored (`driftgate monitor replay`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from monitoring.evidence.bets import BETS, on_p_values
from monitoring.evidence.combining import average
from monitoring.evidence.detector import Detector
from monitoring.evidence.harm import HarmTest
from monitoring.evidence.levels import Levels as Levels

TOGETHER = "all"
"""The name of the drift signals' average, which is what alarms."""
_PLACES = 100_000


@dataclass(frozen=True, slots=True)
class Alarm:
    """The last alarm of drift: in which window, with which evidence, and since which window."""

    window: int
    evidence: float
    began: int


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a window brings: p-values by drift signal, losses by harm signal."""

    p_values: Mapping[str, Sequence[float]]
    losses: Mapping[str, Sequence[float]]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON; p-values are rounded up, which holds evidence back."""
        return {
            "p_values": {name: [_rounded(p) for p in ps] for name, ps in self.p_values.items()},
            "losses": {name: list(losses) for name, losses in self.losses.items() if losses},
        }


class Harm:
    """One harm signal: the first losses are its baseline, the later ones are judged against it.

    Half of alpha goes to the baseline, whose upper limit counts, and half to the test, so that both
    together are wrong with a chance of at most alpha.
    """

    def __init__(self, levels: Levels, limit: float | None = None) -> None:
        self._levels = levels
        self._baseline: list[float] = []
        self.test: HarmTest | None = None
        if limit is not None:
            self.test = HarmTest(limit, levels.alpha)

    def observe(self, losses: Sequence[float]) -> None:
        """Take losses between 0 and 1, in their order."""
        rest = list(losses)
        if self.test is None:
            missing = self._levels.baseline - len(self._baseline)
            self._baseline += rest[:missing]
            rest = rest[missing:]
            if len(self._baseline) >= self._levels.baseline:
                half = self._levels.alpha / 2
                limit = highest_mean(self._baseline, half) + self._levels.tolerance
                self.test = HarmTest(min(limit, 0.99), half)
        if self.test is not None and rest:
            self.test.observe(rest)

    def shown(self) -> dict[str, Any]:
        """Return what people see of it."""
        test = self.test
        mean = _mean(self._baseline)
        if test is None:
            return {
                "kind": "harm", "evidence": 1.0, "threshold": 1 / self._levels.alpha,
                "mean": mean, "limit": None, "count": len(self._baseline), "alarm": False,
            }  # fmt: skip
        return {
            "kind": "harm", "evidence": test.evidence, "threshold": 1 / test.alpha,
            "mean": mean if test.mean is None else test.mean, "limit": test.limit,
            "count": test.count, "alarm": test.alarm,
        }  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Return what `restored` needs."""
        return {
            "baseline": self._baseline,
            "test": None if self.test is None else self.test.state(),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any], levels: Levels) -> "Harm":
        """Return one that goes on where another was."""
        harm = cls(levels)
        harm._baseline = [float(loss) for loss in state["baseline"]]
        harm.test = None if state["test"] is None else HarmTest.restored(state["test"])
        return harm


class Book:
    """The evidence about a release.

    Args:
        levels: How sure it must be.
        drift: Names of the drift signals, fixed for the release's life: their average alarms, and
            an average of a changing choice would promise nothing.
    """

    def __init__(self, levels: Levels, drift: Sequence[str]) -> None:
        self._levels = levels
        self._drift = {name: Detector(BETS, levels.windows) for name in drift}
        self._harm = {name: Harm(levels, limit) for name, limit in levels.limits.items()}
        self.windows = 0
        self.alarm: Alarm | None = None

    def observe(self, inputs: Mapping[str, Any]) -> dict[str, float]:
        """Take what a window brought (`Inputs.as_dict`) and return the evidence of each signal.

        After an alarm of drift the detectors begin anew: drift that lasts alarms again, and drift
        that has ended does not.
        """
        if self.alarm is not None and self.alarm.window == self.windows - 1:
            for detector in self._drift.values():
                detector.restart()
        for name, detector in self._drift.items():
            p_values = inputs["p_values"].get(name)
            if p_values:
                detector.observe(on_p_values(np.asarray(p_values, np.float64)))
        if self.drift >= self._levels.windows:
            began = self.windows + 1 - (self._onset() or 0)
            self.alarm = Alarm(self.windows, self.drift, began)
        self.windows += 1
        for name, losses in inputs["losses"].items():
            self._harm.setdefault(name, Harm(self._levels)).observe(losses)
        return {name: signal["evidence"] for name, signal in self.signals().items()}

    @property
    def drift(self) -> float:
        """Return the drift evidence of all signals together."""
        return average({name: each.evidence for name, each in self._drift.items()})

    @property
    def harms(self) -> list[str]:
        """Return the signals that show harm."""
        tests = {name: harm.test for name, harm in self._harm.items()}
        return sorted(name for name, test in tests.items() if test is not None and test.alarm)

    @property
    def quiet(self) -> int | None:
        """Return how many windows came after the last alarm of drift; None without one."""
        return None if self.alarm is None else self.windows - 1 - self.alarm.window

    def _onset(self) -> int | None:
        """Return how many windows ago the drift seems to have begun; None without windows."""
        seen = [each for each in self._drift.values() if each.windows]
        if not seen:
            return None
        strongest = max(seen, key=lambda each: each.evidence)
        return strongest.windows - strongest.onset

    def signals(self) -> dict[str, dict[str, Any]]:
        """Return what people see of each signal."""
        threshold = self._levels.windows
        found: dict[str, dict[str, Any]] = {
            name: {"kind": "drift", "evidence": each.evidence, "threshold": threshold,
                   "mean": None, "limit": None, "count": each.windows}
            for name, each in self._drift.items()
        }  # fmt: skip
        if found:
            count = max(each.windows for each in self._drift.values())
            found[TOGETHER] = {
                "kind": "drift", "evidence": self.drift, "threshold": threshold,
                "mean": None, "limit": None, "count": count,
            }  # fmt: skip
        return found | {name: harm.shown() for name, harm in sorted(self._harm.items())}

    def state(self) -> dict[str, Any]:
        """Return all that `restored` needs, as plain JSON."""
        return {
            "drift": {name: each.state() for name, each in self._drift.items()},
            "harm": {name: each.state() for name, each in self._harm.items()},
            "windows": self.windows,
            "alarm": None if self.alarm is None else asdict(self.alarm),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any], levels: Levels) -> "Book":
        """Return a book that goes on where another was.

        Raises:
            KeyError, ValueError: The state is not one.
        """
        book = cls(levels, ())
        book._drift = {name: Detector.restored(each) for name, each in state["drift"].items()}
        book._harm |= {name: Harm.restored(each, levels) for name, each in state["harm"].items()}
        book.windows = int(state["windows"])
        book.alarm = None if state["alarm"] is None else Alarm(**state["alarm"])
        return book


def highest_mean(losses: Sequence[float], alpha: float) -> float:
    """Return an upper limit of the mean loss, wrong with a chance of at most alpha."""
    mirrored = HarmTest(0.5, alpha)
    mirrored.observe([1 - loss for loss in losses])
    return 1 - mirrored.at_least


def _rounded(p: float) -> float:
    return min(math.ceil(p * _PLACES) / _PLACES, 1.0)


def _mean(losses: Sequence[float]) -> float | None:
    return math.fsum(losses) / len(losses) if losses else None
