"""Is the loss above what was agreed? A test for the whole life of a release, and a lower limit."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from monitoring.evidence.bets import mean_of_logs
from monitoring.evidence.conformal import Floats

STAKES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 0.95)
_STEPS = 100
_LIMIT_ERROR = 1e-4


class HarmTest:
    """Tests "the mean loss is at most m", one loss between 0 and 1 after the other.

    Each bet multiplies its capital by 1 + l (x - m) / m, with a stake l below 1, so that it never
    owes. While the mean of each loss, given all before, is at most m, no capital grows on average,
    and the chance that the mean of them ever reaches 1/alpha is at most alpha (Ville's inequality).

    A release may be good for months and bad from one day on: bets that had been lost until then
    would have to be won back first. So a share 6 / (pi k)^2 of the capital waits for the k-th call
    and bets only from there on. A mixture of bets is a bet, so the promise stays, and what happened
    before a change costs the logarithm of k instead of all that was lost.

    The lower limit looks at all losses, whose order does not matter to it: their counts by
    hundredths are all that is kept. A loss is rounded down, which can only hold evidence back.

    Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting",
    JRSS B 86 (2024), arXiv:2010.09686.

    Args:
        limit: The agreed mean loss m, between 0 and 1: the baseline and its tolerance.
        alpha: Chance that it ever alarms while the loss stays within the limit.

    Raises:
        ValueError: One of them is out of its range.
    """

    def __init__(self, limit: float, alpha: float = 0.01) -> None:
        for name, value in (("limit", limit), ("alpha", alpha)):
            if not 0.0 < value < 1.0:
                raise ValueError(f"{name}: {value} must lie between 0 and 1, both left out")
        self.limit = limit
        self.alpha = alpha
        self.peak = 1.0
        self._counts = np.zeros(_STEPS + 1, np.int64)
        self._calls = 0
        self._waiting = 1.0
        self._logs = np.full(len(STAKES), -np.inf)

    def observe(self, losses: Iterable[float]) -> float:
        """Take losses and return the evidence.

        Raises:
            ValueError: One is not between 0 and 1; none of them is counted then.
        """
        taken = list(losses)
        for loss in taken:
            if not 0.0 <= loss <= 1.0:
                raise ValueError(f"a loss is between 0 and 1, not {loss}")
        places = [math.floor(loss * _STEPS + 1e-9) for loss in taken]
        fresh = np.bincount(places, minlength=_STEPS + 1) if places else self._counts * 0
        self._counts += fresh
        self._calls += 1
        starting = 6 / (math.pi * self._calls) ** 2
        self._waiting = max(self._waiting - starting, 0.0)
        self._logs = np.logaddexp(self._logs, math.log(starting)) + _gains(self.limit) @ fresh
        self.peak = max(self.peak, self.evidence)
        return self.evidence

    @property
    def count(self) -> int:
        """Return how many losses were taken."""
        return int(self._counts.sum())

    @property
    def mean(self) -> float | None:
        """Return their mean, or None without any."""
        return float(self._counts @ _VALUES) / self.count if self.count else None

    @property
    def evidence(self) -> float:
        """Return the evidence that the mean is above the limit; 1/alpha is an alarm."""
        if not self._calls:
            return 1.0
        return self._waiting + float(np.exp(min(mean_of_logs(self._logs), 690.0)))

    @property
    def alarm(self) -> bool:
        """Return whether it has ever reached 1/alpha: what was shown stays shown."""
        return self.peak >= 1 / self.alpha

    @property
    def at_least(self) -> float:
        """Return a lower limit of the mean loss, which holds at all times together (1 - alpha)."""
        low, high = 0.0, 1.0
        while high - low > _LIMIT_ERROR:
            middle = (low + high) / 2
            if self._log_capital(middle) >= -math.log(self.alpha):
                low = middle
            else:
                high = middle
        return low

    def _log_capital(self, mean: float) -> float:
        return mean_of_logs(_gains(mean) @ self._counts)

    def state(self) -> dict[str, Any]:
        """Return all that `restored` needs, as plain JSON."""
        counts = {str(place): int(n) for place, n in enumerate(self._counts) if n}
        return {
            "limit": self.limit, "alpha": self.alpha, "peak": self.peak, "counts": counts,
            "calls": self._calls, "waiting": self._waiting,
            "logs": self._logs.tolist() if self._calls else None,
        }  # fmt: skip

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "HarmTest":
        """Return a test that goes on where another was.

        Raises:
            KeyError, ValueError: The state is not one.
        """
        test = cls(float(state["limit"]), float(state["alpha"]))
        for place, count in state["counts"].items():
            if not 0 <= int(place) <= _STEPS or int(count) < 0:
                raise ValueError(f"counts: {place} is not a hundredth, or its count is below 0")
            test._counts[int(place)] = int(count)
        test.peak = float(state["peak"])
        test._calls = int(state["calls"])
        test._waiting = float(state["waiting"])
        if test._calls:
            test._logs = np.asarray(state["logs"], np.float64)
            if test._logs.shape != (len(STAKES),) or not np.isfinite(test._logs).all():
                raise ValueError(f"logs: {len(STAKES)} numbers are needed")
        return test


_VALUES = np.arange(_STEPS + 1) / _STEPS


def _gains(mean: float) -> Floats:
    """Return what each stake makes of each loss, as a logarithm; shape (stakes, values)."""
    gains: Floats = np.log1p(np.asarray(STAKES)[:, None] * (_VALUES - mean) / mean)
    return gains
