"""Is the candidate better, not worse, or worse? Three bets, which may be looked at all the time.

Each item that is decided has a sign X: 1 where the candidate's answer won, -1 where it lost, 0 for
a tie, for two bad answers, and where the raters do not agree. Their mean is the share that it wins
less the share that it loses. Against each hypothesis there is a bet that never owes:

- *better*     against "the mean is at most 0":        1 + l X
- *not worse*  against "the mean is at most -margin":  1 + l (X + margin)
- *worse*      against "the mean is at least -margin": 1 - l (X + margin)

with a mixture of stakes l. While what a bet speaks against is true, its capital does not grow on
average, and ever reaches 1/alpha with a chance of at most alpha (Ville's inequality). The first two
have the same stakes, so the one for *better* never arrives where the one for *not worse* has not:
a candidate that is worse by the margin passes with a chance of at most alpha by either. The items
must be in an order that knows nothing of their signs. The limits of the mean come from the same
bets on every other value of it.

Sources: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B
86 (2024), arXiv:2010.09686; Ramdas et al., "Game-theoretic statistics and safe anytime-valid
inference" (2023), arXiv:2210.01948.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Shown = Literal["better", "not_worse", "worse"]
Counts = Mapping[int, float]
"""How often there was each sign."""
STAKES = (0.05, 0.1, 0.2, 0.35, 0.55, 0.8)
SIGNS = (-1, 0, 1)
_BETS: tuple[Shown, Shown, Shown] = ("better", "not_worse", "worse")
_LIMIT_ERROR = 1e-4
_LEAST_FOR_A_GUESS = 10
_MOST_ITEMS = 100_000
_TEN = math.log(10)


@dataclass(frozen=True, slots=True)
class Limits:
    """A mean and its limits; each of them holds at all times together, with a chance 1 - alpha."""

    value: float
    low: float
    high: float


class SignTest:
    """Bets on the signs of items, in the order in which they were decided.

    Args:
        margin: By how much the candidate may be worse, above 0.
        alpha: Chance of a wrong verdict of each kind.

    Attributes:
        shown: What was shown first; it stays shown.
        at: After how many items that was.
        curve: After each item, the capitals' logarithms to base 10: better, not worse, worse.
    """

    def __init__(self, margin: float, alpha: float) -> None:
        self._margin, self._alpha = margin, alpha
        self._counts = dict.fromkeys(SIGNS, 0)
        self.shown: Shown | None = None
        self.at: int | None = None
        self.curve: list[tuple[float, float, float]] = []
        self._low, self._high = -1.0, 1.0

    def observe(self, sign: int) -> None:
        """Take the sign of an item: -1, 0 or 1."""
        self._counts[sign] += 1
        better, not_worse, worse = (_capital(self._counts, b, self._margin) for b in _BETS)
        self.curve.append((better / _TEN, not_worse / _TEN, worse / _TEN))
        if self.shown is None:
            threshold = math.log(1 / self._alpha)
            # The stronger statement first, where one item shows both.
            for name, capital in zip(_BETS, (better, not_worse, worse), strict=True):
                if capital >= threshold:
                    self.shown, self.at = name, self.count
                    break
        # What was ruled out once stays so: the limits only close in.
        self._low = _edge(self._counts, 1.0, self._low, self._alpha)
        self._high = _edge(self._counts, -1.0, self._high, self._alpha)

    @property
    def count(self) -> int:
        """Return how many items were taken."""
        return sum(self._counts.values())

    @property
    def limits(self) -> Limits:
        """Return the mean of the signs and its limits, the closest that there ever were."""
        return Limits(_mean(self._counts), self._low, self._high)

    def missing(self) -> int | None:
        """Guess how many more items would show something, if they are like those so far.

        None where there are too few to guess from, or where it would never be shown.
        """
        if self.count < _LEAST_FOR_A_GUESS or self.shown is not None:
            return None
        shares = {sign: n / self.count for sign, n in self._counts.items()}
        most = _items(shares, self._margin, self._alpha)
        return None if most is None else max(1, most - self.count)


def expected_items(mean: float, ties: float, margin: float, alpha: float) -> int | None:
    """Return how many items a verdict takes, about; None: there would never be one.

    Args:
        mean: The share that the candidate wins less the share that it loses.
        ties: The share of all other items.
        margin: By how much it may be worse.
        alpha: Chance of a wrong verdict.

    Raises:
        ValueError: The shares are none.
    """
    won, lost = (1 - ties + mean) / 2, (1 - ties - mean) / 2
    if won < 0 or lost < 0:
        raise ValueError("the candidate cannot win or lose more than the items that are no ties")
    return _items({1: won, 0: ties, -1: lost}, margin, alpha)


def limits(counts: Counts, alpha: float) -> Limits:
    """Return the mean of signs and its limits.

    Args:
        counts: The signs.
        alpha: Chance that each of the limits ever leaves the mean out.
    """
    low, high = _edge(counts, 1.0, -1.0, alpha), _edge(counts, -1.0, 1.0, alpha)
    return Limits(_mean(counts), low, high)


def _items(shares: Counts, margin: float, alpha: float) -> int | None:
    """Return after how many items with these shares of signs the first bet arrives."""
    threshold = math.log(1 / alpha)

    def arrives(items: int) -> bool:
        counts = {sign: share * items for sign, share in shares.items()}
        return max(_capital(counts, name, margin) for name in _BETS) >= threshold

    high = 1
    while not arrives(high):
        high *= 2
        if high > _MOST_ITEMS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if arrives(middle) else (middle, high)
    return high


def _capital(counts: Counts, name: Shown, margin: float) -> float:
    """Return the logarithm of a bet's capital."""
    return _mean_of_logs(_gains(counts, name, margin))


def _gains(counts: Counts, name: Shown, margin: float) -> list[float]:
    """Return what each stake of a bet has made, as a logarithm."""
    side, mean = (-1.0 if name == "worse" else 1.0), (0.0 if name == "better" else -margin)
    return [_gain(counts, stake, side, mean) for stake in STAKES]


def _gain(counts: Counts, stake: float, side: float, mean: float) -> float:
    """Return what a stake has made of the signs, as a logarithm; it never loses all."""
    # At worst a sign is 1 + |mean| on the wrong side.
    worst = 1 + mean if side > 0 else 1 - mean
    stake /= max(1.0, worst)
    return sum(n * math.log1p(stake * side * (sign - mean)) for sign, n in counts.items() if n)


def _mean_of_logs(logs: Sequence[float]) -> float:
    most = max(logs)
    return most + math.log(sum(math.exp(each - most) for each in logs) / len(logs))


def _edge(counts: Counts, side: float, outside: float, alpha: float) -> float:
    """Return a limit: from `outside`, the first mean that the bets do not rule out."""

    def is_ruled_out(mean: float) -> bool:
        return _mean_of_logs([_gain(counts, s, side, mean) for s in STAKES]) >= threshold

    threshold = math.log(1 / alpha)
    if not any(counts.values()) or not is_ruled_out(outside):
        return outside
    inside = _mean(counts)
    while abs(outside - inside) > _LIMIT_ERROR:
        middle = (inside + outside) / 2
        if is_ruled_out(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _mean(counts: Counts) -> float:
    total = sum(counts.values())
    return sum(sign * n for sign, n in counts.items()) / total if total else 0.0
