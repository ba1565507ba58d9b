"""Whether retrieval helps or harms on a topic, from a hold-out, at any time that one looks.

A small random share of the requests of a topic is answered the other way (without retrieval, or
with it where it is switched off). Scores of the two ways are paired as they come, and two bets run
on the differences D = with - without in [-1, 1]: one wins where E[D] < 0 (harm), one where E[D] > 0
(help). While the opposite holds, neither grows on average, so that by Ville's inequality the chance
that a bet ever reaches 1/alpha is at most alpha, however often it is looked at.

Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (2024);
the stakes are mixed evenly, so that small and large effects are both found.
"""

import math

import msgspec

STAKES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
ALPHA_HARM = 0.01
"""Chance, per topic, that retrieval is ever switched off though it does not harm."""
ALPHA_HELP = 0.05


class Arm(msgspec.Struct):
    """Scores of the requests that were answered one way.

    Attributes:
        count: How many.
        total: Their sum.
        waiting: How many of them wait for a partner.
        waiting_total: The sum of those.
    """

    count: int = 0
    total: float = 0.0
    waiting: int = 0
    waiting_total: float = 0.0

    @property
    def mean(self) -> float | None:
        """Return the mean score, or None without requests."""
        return self.total / self.count if self.count else None

    def add(self, score: float) -> None:
        """Count one score."""
        self.count += 1
        self.total += score
        self.waiting += 1
        self.waiting_total += score

    def take(self) -> float:
        """Return the mean of those that wait, which then wait no more."""
        mean = self.waiting_total / self.waiting
        self.waiting, self.waiting_total = 0, 0.0
        return mean


class Benefit(msgspec.Struct):
    """The evidence of one topic; it can be stored and gone on with.

    Attributes:
        grounded: Requests answered with retrieval.
        plain: Requests answered without.
        pairs: Differences that were bet on since the last switch.
        harm: Logarithm of what each stake of the bet on harm has become.
        help: The same for the bet on help.
        off: Whether `auto` does not retrieve for this topic.
    """

    grounded: Arm = msgspec.field(default_factory=Arm)
    plain: Arm = msgspec.field(default_factory=Arm)
    pairs: int = 0
    harm: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(STAKES))
    help: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(STAKES))
    off: bool = False

    def observe(self, *, retrieved: bool, score: float) -> bool:
        """Count a request and return whether `off` changed.

        Only requests whose way was drawn by chance belong here, or what is compared are topics and
        not ways.

        Args:
            retrieved: Whether it was answered with retrieval.
            score: How good the answer was, between 0 and 1.

        Raises:
            ValueError: The score is not between 0 and 1.
        """
        if not 0.0 <= score <= 1.0:
            raise ValueError(f"a score is between 0 and 1, not {score}")
        (self.grounded if retrieved else self.plain).add(score)
        if not (self.grounded.waiting and self.plain.waiting):
            return False
        difference = self.grounded.take() - self.plain.take()
        self.pairs += 1
        for place, stake in enumerate(STAKES):
            self.harm[place] += math.log1p(-stake * difference)
            self.help[place] += math.log1p(stake * difference)
        if not self.off and self.evidence_of_harm >= 1 / ALPHA_HARM:
            self._switch(off=True)
            return True
        if self.off and self.evidence_of_help >= 1 / ALPHA_HELP:
            self._switch(off=False)
            return True
        return False

    @property
    def evidence_of_harm(self) -> float:
        """Return what the bet on harm has become; 1/alpha is evidence at level alpha."""
        return _mixed(self.harm)

    @property
    def evidence_of_help(self) -> float:
        """Return what the bet on help has become."""
        return _mixed(self.help)

    @property
    def difference(self) -> float | None:
        """Return the mean score with retrieval less that without; None where one has none."""
        grounded, plain = self.grounded.mean, self.plain.mean
        return None if grounded is None or plain is None else grounded - plain

    def _switch(self, *, off: bool) -> None:
        """Begin new bets, so that what was won does not count for the next decision too."""
        self.off = off
        self.pairs = 0
        self.harm = [0.0] * len(STAKES)
        self.help = [0.0] * len(STAKES)


def _mixed(logs: list[float]) -> float:
    top = max(logs)
    if top > 700:
        return math.inf
    return sum(math.exp(value) for value in logs) / len(logs)
