"""Is the candidate worse than what is served now? Two bets, which may be looked at all the time.

Each request of the canary goes to the candidate by chance, with a known share p, and has a loss L
between 0 and 1. Whatever the traffic does meanwhile,

    D = (L - m) / p  of the candidate's requests,   -(L - m) / (1 - p)  of the others

has the mean "loss with the candidate minus loss without it", for the chance of the draw is known
(Horvitz and Thompson 1952); m may be any guess that was made before. With m close to the usual loss
D varies no more than it must, and every request of the old release helps, not one for each of the
candidate's (the augmented estimator of Robins, Rotnitzky and Zhao 1994). Pairing the requests, or
comparing the arms' pooled means, would not do: the share changes from stage to stage, and what is
hard at one hour would be put down to the arm that had more requests then (Simpson's paradox).

- *promote* bets against "the candidate is worse by at least the margin": 1 + l (margin - D);
- *rollback* bets against "it is worse by at most the tolerance": 1 + l (D - tolerance);

with stakes l that never owe and are chosen by what was seen before. While what a bet speaks against
is true, its capital does not grow on average, and ever reaches 1/alpha with a chance of at most
alpha (Ville's inequality). Sources: Waudby-Smith and Ramdas, "Estimating means of bounded random
variables by betting", JRSS B 86 (2024), arXiv:2010.09686; Waudby-Smith et al., "Anytime-valid
off-policy inference for contextual bandits" (2024), arXiv:2210.10768; Ramdas et al.,
"Game-theoretic statistics and safe anytime-valid inference" (2023), arXiv:2210.01948.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

BLOCK = 64
"""Requests after which m, and the stakes with it, are chosen anew."""
_LEAST_CONTROLS = 12
# Around the best stake for a candidate that is as good as the old release; and one for a candidate
# that is much better, as after drift: with stakes for equals it waits half as long again.
_PROMOTE = np.array([0.5, 1.0, 1.5, 6.0])
_PROMOTE_CAPITAL = np.array([0.32, 0.32, 0.31, 0.05])
# By how much it may be worse: the best stakes for each.
_WORSE = np.array([0.03, 0.08, 0.2, 0.5])
_MOST = 0.9
# A candidate may be good at first: capital is kept back, a share 6 / (pi k)^2 for the k-th part.
_PART = 20


class Comparison:
    """Bets on the losses of two arms, in the order in which they came.

    Args:
        margin: By how much the candidate must be shown not to be worse.
        tolerance: By how much it may be worse.

    Attributes:
        promote: Capital of the bet for the promotion.
        rollback: Capital of the bet for the rollback.
        promote_peak: The most it ever was.
        rollback_peak: The most it ever was.
    """

    def __init__(self, margin: float, tolerance: float = 0.0) -> None:
        self._margin, self._tolerance = margin, tolerance
        self.promote = self.rollback = self.promote_peak = self.rollback_peak = 1.0
        self._counts, self._sums = np.zeros(2, np.int64), np.zeros(2)  # control, candidate
        self._squares = 0.0
        self._left = 0
        self._m, self._variance, self._teaching = 0.5, 0.25, True
        self._promote = np.log(_PROMOTE_CAPITAL)
        self._rollback = np.full(len(_WORSE), -np.inf)
        self._waiting, self._parts = 1.0, 0

    @property
    def counts(self) -> tuple[int, int]:
        """Return how many losses were taken, of the candidate and of the old release."""
        return int(self._counts[1]), int(self._counts[0])

    @property
    def means(self) -> tuple[float | None, float | None]:
        """Return their means, of the candidate and of the old release; None without any."""
        control, candidate = (
            float(total / n) if n else None
            for total, n in zip(self._sums, self._counts, strict=True)
        )
        return candidate, control

    def observe(self, candidate: Flags, losses: Floats, shares: Floats) -> None:
        """Take requests, in their order.

        Args:
            candidate: Whether the candidate answered.
            losses: Between 0 and 1.
            shares: The chance with which each went to the candidate.

        Raises:
            ValueError: A loss or a share is out of its range; none is counted then.
        """
        if len(losses) and not (losses.min() >= 0.0 and losses.max() <= 1.0):
            raise ValueError("a loss is between 0 and 1")
        if len(shares) and not (shares.min() > 0.0 and shares.max() < 1.0):
            raise ValueError("a share lies between 0 and 1, both left out")
        at = 0
        while at < len(losses):
            if self._left == 0:
                self._begin_block()
            part = slice(at, at + self._left)
            self._bet(candidate[part], losses[part], shares[part])
            taken = len(losses[part])
            self._left -= taken
            at += taken

    def _begin_block(self) -> None:
        """Choose m and the stakes by all that was seen, and put some more capital to work."""
        self._left = BLOCK
        controls = int(self._counts[0])
        self._teaching = controls < _LEAST_CONTROLS
        if self._teaching:
            return
        total = float(self._sums[0])
        self._m = (total + 0.5) / (controls + 1)
        spread = max(self._squares - total * total / controls, 0.0)
        self._variance = (spread + 0.25) / (controls + 1)
        if self._waiting > 0 and int(self._counts[1]) >= _PART * self._parts:
            self._parts += 1
            starting = min(6 / (math.pi * self._parts) ** 2, self._waiting)
            self._waiting -= starting
            fresh = math.log(starting / len(_WORSE)) if starting > 0 else -np.inf
            self._rollback = np.logaddexp(self._rollback, fresh)

    def _bet(self, candidate: Flags, losses: Floats, shares: Floats) -> None:
        if not self._teaching:
            m, p, q = self._m, shares, 1 - shares
            difference = np.where(candidate, (losses - m) / p, -(losses - m) / q)
            bounds = np.maximum((1 - m) / p, m / q) - self._margin
            best = self._margin / (self._variance / q + self._margin) * p
            gains = _gains(_PROMOTE, best, bounds, self._margin - difference)
            path = np.exp(np.minimum(self._promote[:, None] + gains, 600.0)).sum(axis=0)
            self._promote = self._promote + gains[:, -1]
            self.promote, self.promote_peak = _after(path, self.promote_peak)

            bounds = np.maximum(m / p, (1 - m) / q) + self._tolerance
            best = p * q / self._variance
            gains = _gains(_WORSE, best, bounds, difference - self._tolerance)
            path = np.exp(np.minimum(self._rollback[:, None] + gains, 600.0)).sum(axis=0)
            self._rollback = self._rollback + gains[:, -1]
            self.rollback, self.rollback_peak = _after(self._waiting + path, self.rollback_peak)
        for arm, there in enumerate((~candidate, candidate)):
            self._counts[arm] += int(there.sum())
            self._sums[arm] += float(losses[there].sum())
        self._squares += float((losses[~candidate] ** 2).sum())


class ShareTest:
    """Bets against "the candidate answers its share of the requests".

    The gateway lets another release answer where an engine does not; so a candidate whose engine is
    down, or whose answers never end, has fewer requests in the log than were meant for it, and its
    losses would tell of the good ones alone (a sample ratio mismatch: Fabijan et al., KDD 2019; as
    an e-process: Lindon and Malek 2022, arXiv:2011.03567). The order of the requests does not
    matter.

    Attributes:
        evidence: Capital of the bet.
        peak: The most it ever was.
    """

    _PARTS = np.array([0.2, 0.5, 0.75])  # of its share

    def __init__(self) -> None:
        self.evidence = self.peak = 1.0
        self._logs = np.full(len(self._PARTS), -math.log(len(self._PARTS)))

    def observe(self, candidate: Flags, shares: Floats) -> None:
        """Take requests: whether the candidate answered, and with which chance it should have."""
        if not len(shares):
            return
        parts = self._PARTS[:, None]
        others = np.log((1 - parts * shares) / (1 - shares))
        gains = np.cumsum(np.where(candidate, np.log(parts), others), axis=1)
        path = np.exp(np.minimum(self._logs[:, None] + gains, 600.0)).sum(axis=0)
        self._logs = self._logs + gains[:, -1]
        self.evidence, self.peak = _after(path, self.peak)


def _gains(stakes: Floats, best: Floats, bounds: Floats, payoffs: Floats) -> Floats:
    """Return what each stake has made after each request, as a logarithm: (stakes, requests)."""
    # What a bet can lose at most is known before: it never loses all.
    chosen = np.minimum(stakes[:, None] * best, _MOST / np.maximum(bounds, 1e-9))
    gains: Floats = np.cumsum(np.log1p(chosen * payoffs), axis=1)
    return gains


def _after(path: Floats, peak: float) -> tuple[float, float]:
    return float(path[-1]), max(peak, float(path.max()))
