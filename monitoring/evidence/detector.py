"""CUSUM e-detector: when did it change? With a chosen mean time between false alarms."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from monitoring.evidence.bets import mean_of_logs
from monitoring.evidence.conformal import Floats


class Detector:
    """Watches for a change that may come at any time.

    Each bet restarts from 1 whenever it has fallen below, M = max(M, 1) * e, and the detector shows
    the mean over the bets. While nothing changes, the mean number of windows until it reaches c is
    at least c, so the threshold is a mean time between false alarms.

    Source: Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential change
    detection", NEJSDS 2 (2024), arXiv:2203.03532.

    Args:
        bets: How many bets run beside each other.
        threshold: Mean number of windows between false alarms.
    """

    def __init__(self, bets: int, threshold: float) -> None:
        if threshold <= 1:
            raise ValueError(f"threshold: {threshold} must be more than 1 window")
        self.threshold = threshold
        self.windows = 0
        self._logs = np.zeros(bets)
        self._since = np.zeros(bets, np.int64)

    def observe(self, log_e_values: Floats) -> float:
        """Take a window's e-values, as logarithms, and return the evidence.

        Raises:
            ValueError: Their number is not that of the bets, or one is no number.
        """
        if log_e_values.shape != self._logs.shape or np.isnan(log_e_values).any():
            raise ValueError(f"{self._logs.size} e-values are needed, none of them NaN")
        restarted = self._logs <= 0
        self._since[restarted] = self.windows
        self._logs = np.maximum(self._logs, 0.0) + log_e_values
        self.windows += 1
        return self.evidence

    @property
    def evidence(self) -> float:
        """Return the evidence; at `threshold` it is an alarm. At most 1e300."""
        return float(np.exp(min(mean_of_logs(self._logs), 690.0))) if self.windows else 1.0

    @property
    def alarm(self) -> bool:
        return self.evidence >= self.threshold

    @property
    def onset(self) -> int:
        """Return the window, from 0, at which the change seems to have begun."""
        return int(self._since[int(self._logs.argmax())])

    def restart(self) -> None:
        """Forget the evidence, after an alarm was acted on."""
        self._logs[:] = 0.0
        self._since[:] = self.windows

    def state(self) -> dict[str, Any]:
        """Return all that `restored` needs, as plain JSON."""
        return {
            "threshold": self.threshold,
            "windows": self.windows,
            "logs": self._logs.tolist(),
            "since": self._since.tolist(),
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "Detector":
        """Return a detector that goes on where another was.

        Raises:
            KeyError, ValueError: The state is not one.
        """
        logs, since = _numbers(state["logs"]), _numbers(state["since"])
        if logs.shape != since.shape:
            raise ValueError("logs and since must be of one length")
        detector = cls(len(logs), float(state["threshold"]))
        detector.windows = int(state["windows"])
        detector._logs, detector._since = logs, since.astype(np.int64)
        return detector


def _numbers(values: Sequence[float]) -> Floats:
    found = np.asarray(values, np.float64)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise ValueError("a list of finite numbers is needed")
    return found
