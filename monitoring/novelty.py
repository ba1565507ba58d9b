"""Two scores of how unlike the reference a prompt is, from its embedding.

*Far*: the nearest prompt of the reference is far away. Finds what was never asked.
*Crowded*: the last windows hold more prompts like it than the reference does. Finds what is asked
more often now, new topics included, and finds them the better the longer they last.

Both score a calibration set too, which neither of them was fitted on, and their p-values feed the
bets. Measured against other scores in `driftgate bench drift`.
"""

from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitoring.evidence.conformal import FIXED, MOVING, Floats, p_values

Vectors = npt.NDArray[np.float32]
NEIGHBOURS = 3
MEMORY = 1000
_LEAST_MEMORY = 100


class Scores(NamedTuple):
    """P-values of a window's prompts, shape (n,) each; None while there is no history yet."""

    far: Floats
    crowded: Floats | None


class Novelty:
    """Scores windows of prompts against a reference.

    Args:
        reference: Unit vectors of the reference, shape (m, d): what is usual.
        calibration: Unit vectors of further rows of the same, shape (c, d).
        rng: Breaks ties.

    Raises:
        ValueError: One is empty, or holds what is no number.
    """

    def __init__(self, reference: Vectors, calibration: Vectors, rng: np.random.Generator) -> None:
        for name, vectors in (("reference", reference), ("calibration", calibration)):
            if vectors.ndim != 2 or len(vectors) < NEIGHBOURS or not np.isfinite(vectors).all():
                raise ValueError(f"{name}: at least {NEIGHBOURS} rows of finite numbers are needed")
        self._reference = reference
        self._calibration = calibration
        self._rng = rng
        similar = calibration @ reference.T
        self._far = -similar.max(axis=1).astype(np.float64)
        self._usual = _nearest(similar)
        self._recent: deque[Vectors] = deque()
        # How near each calibration row is to each recent prompt, window by window, so that a window
        # costs one multiplication and not as many as there are windows in memory.
        self._nearness: deque[Vectors] = deque()

    def observe(self, window: Vectors, rng: np.random.Generator | None = None) -> Scores:
        """Score a window, then remember it. Rows that are no numbers get p-values of 1.

        Args:
            window: Unit vectors of its prompts.
            rng: Breaks ties in this window; None: the one that was given to all.
        """
        rng = rng or self._rng
        finite = np.asarray(np.isfinite(window).all(axis=1))
        known = np.where(finite[:, None], window, 0.0).astype(np.float32)
        similar = known @ self._reference.T
        far = _judged(-similar.max(axis=1), self._far, finite, rng, FIXED)
        crowded = None
        if sum(map(len, self._recent)) >= _LEAST_MEMORY:
            recent = np.concatenate(list(self._recent))
            density = _nearest(known @ recent.T) - _nearest(similar)
            usual = _nearest(np.concatenate(list(self._nearness), axis=1)) - self._usual
            crowded = _judged(density, usual, finite, rng, MOVING)
        self._remember(known[finite])
        return Scores(far, crowded)

    def _remember(self, window: Vectors) -> None:
        self._recent.append(window)
        self._nearness.append((self._calibration @ window.T).astype(np.float32))
        while sum(map(len, self._recent)) > MEMORY and len(self._recent) > 1:
            self._recent.popleft()
            self._nearness.popleft()

    def recent(self) -> Vectors:
        """Return what is remembered, the oldest first, shape (n, d)."""
        empty = self._reference[:0]
        return np.concatenate([empty, *self._recent])

    def recall(self, recent: Vectors) -> None:
        """Remember what another monitor remembered, after a restart."""
        self._recent.clear()
        self._nearness.clear()
        self._remember(recent[-MEMORY:])


def _judged(
    scores: npt.ArrayLike, usual: npt.ArrayLike, finite: npt.NDArray[np.bool_],
    rng: np.random.Generator, caution: float,
) -> Floats:  # fmt: skip
    found = np.where(finite, np.asarray(scores, np.float64), np.nan)
    return p_values(found, np.asarray(usual, np.float64), rng, caution=caution)


def _nearest(similar: Vectors) -> Vectors:
    """Return for each row the mean of its largest values."""
    count = min(NEIGHBOURS, similar.shape[1])
    nearest: Vectors = np.partition(similar, -count, axis=1)[:, -count:].mean(axis=1)
    return nearest
