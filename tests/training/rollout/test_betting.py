"""The bets of the canary, simulated: how often they are wrong, and how soon they are right.

`python tests/training/rollout/test_betting.py` prints the figures of docs/rollout.md.
"""

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest

from training.rollout.betting import BLOCK, Comparison, Floats, ShareTest

SHARES = (0.01, 0.05, 0.25)
_PROMOTE, _ROLLBACK = 1 / 0.05, 3 / 0.01
Bad = Callable[[int], float]


def canary(
    seed: int, base: float, bad: Bad, shares: tuple[float, ...] = SHARES, stage: int = 100,
    most: int = 1500, margin: float = 0.03, moving: bool = False,
) -> tuple[str, int]:  # fmt: skip
    """Run a canary that is looked at after every request; returns how it ended, and when.

    Args:
        seed: Of the draws.
        base: Loss of the old release.
        bad: By how much the candidate is worse, by its requests so far.
        shares: Of the stages.
        stage: Candidate's requests of a stage.
        most: Candidate's requests until the timeout.
        margin: As of the plan.
        moving: Every loss is six times as high in the first stage: an hour of hard requests.
    """
    rng = np.random.default_rng(seed)
    bets, seen = Comparison(margin), 0
    for number, share in enumerate(shares):
        here = 0
        while True:
            candidate = rng.random(BLOCK) < share
            hard = 6.0 if moving and number == 0 else 1.0
            rate = base * hard + np.where(candidate, bad(seen), 0.0)
            before = bets.promote_peak
            if number == len(shares) - 1 and here >= stage:
                bets.promote_peak = 0.0  # a promotion is possible from here on, at any request
            bets.observe(candidate, (rng.random(BLOCK) < rate).astype(float), full(share))
            here += int(candidate.sum())
            seen += int(candidate.sum())
            if bets.rollback_peak >= _ROLLBACK:
                return "rollback", seen
            if number == len(shares) - 1 and here >= stage and bets.promote_peak >= _PROMOTE:
                return "promote", seen
            bets.promote_peak = max(bets.promote_peak, before)
            if number < len(shares) - 1 and here >= stage:
                break
            if seen >= most:
                return "timeout", seen
    raise AssertionError


def full(share: float) -> Floats:
    return np.full(BLOCK, share)


def shares_of(runs: list[tuple[str, int]]) -> dict[str, float]:
    return {
        what: sum(ended == what for ended, _ in runs) / len(runs)
        for what in ("promote", "rollback", "timeout")
    }


def at_most(rate: float, n: int) -> float:
    """Return the most that a true rate shows in n runs, but for a chance of one in a thousand."""
    return rate + NormalDist().inv_cdf(0.999) * math.sqrt(rate * (1 - rate) / n)


FAST = (0.2, 0.5)  # few requests of the old release, so that hundreds of runs take seconds


@pytest.mark.parametrize("base", [0.02, 0.1])
def test_one_that_is_worse_by_the_margin_is_rarely_promoted(base: float) -> None:
    runs = [canary(seed, base, lambda _: 0.03, FAST, most=1000) for seed in range(400)]
    assert shares_of(runs)["promote"] <= at_most(0.05, 400)


@pytest.mark.parametrize("base", [0.02, 0.1])
def test_one_that_is_as_good_is_rarely_rolled_back_and_soon_promoted(base: float) -> None:
    runs = [canary(seed, base, lambda _: 0.0, FAST, most=3000) for seed in range(300)]
    found = shares_of(runs)
    assert found["rollback"] <= at_most(0.01 / 3, 300)
    assert found["promote"] >= 0.9
    assert np.median([n for what, n in runs if what == "promote"]) < 1100


def test_one_that_is_much_better_is_promoted_within_tens_of_requests() -> None:
    """As after drift: with stakes for equals alone it takes 92."""
    runs = [
        canary(seed, 0.45, lambda _: -0.4, (0.25, 0.5), stage=15, margin=0.05, most=800)
        for seed in range(100)
    ]
    assert shares_of(runs)["promote"] == 1.0
    assert np.median([n for _, n in runs]) < 75


def test_one_that_is_much_worse_is_rolled_back_within_tens_of_requests() -> None:
    runs = [canary(seed, 0.02, lambda _: 0.1) for seed in range(60)]
    assert shares_of(runs)["rollback"] >= 0.95
    assert np.median([n for _, n in runs]) < 100


def test_one_that_turns_bad_late_is_rolled_back_soon() -> None:
    runs = [canary(s, 0.02, lambda n: 0.5 if n >= 150 else 0.0, FAST) for s in range(60)]
    assert shares_of(runs)["rollback"] >= 0.95
    assert np.median([n for _, n in runs]) < 250


def test_an_hour_of_hard_requests_is_nobodys_fault() -> None:
    """Pooled means would blame the arm that had more requests in it."""
    runs = [
        canary(seed, 0.1, lambda _: 0.0, (0.1, 0.5), most=1500, moving=True) for seed in range(200)
    ]
    assert shares_of(runs)["rollback"] <= at_most(0.01 / 3, 200)
    worse = [
        canary(seed, 0.1, lambda _: 0.03, (0.1, 0.5), most=1000, moving=True) for seed in range(200)
    ]
    assert shares_of(worse)["promote"] <= at_most(0.05, 200)


def z_test(seed: int, base: float, worse: float, most: int = 1500) -> bool:
    """Return whether a z-test of non-inferiority, looked at every 50 requests, ever promotes."""
    rng = np.random.default_rng(seed)
    new = rng.random(most) < base + worse
    old = rng.random(most) < base
    for n in range(100, most + 1, 50):
        a, b = new[:n].mean(), old[:n].mean()
        spread = math.sqrt(max((a * (1 - a) + b * (1 - b)) / n, 1e-12))
        if (0.03 - (a - b)) / spread > NormalDist().inv_cdf(0.95):
            return True
    return False


def test_a_z_test_that_is_peeked_at_promotes_far_more_often() -> None:
    peeked = np.mean([z_test(seed, 0.1, 0.03) for seed in range(400)])
    assert peeked > 0.15


def test_the_bets_do_not_depend_on_how_requests_come_in() -> None:
    rng = np.random.default_rng(1)
    shares = np.where(np.arange(2000) < 900, 0.05, 0.25)
    candidate = rng.random(2000) < shares
    losses = rng.random(2000) * np.where(candidate, 0.5, 0.4)
    whole, parts = Comparison(0.03), Comparison(0.03)
    whole.observe(candidate, losses, shares)
    for piece in np.array_split(np.arange(2000), [1, 2, 70, 500, 501, 1999]):
        parts.observe(candidate[piece], losses[piece], shares[piece])
    assert parts.promote == pytest.approx(whole.promote)
    assert parts.rollback_peak == pytest.approx(whole.rollback_peak)
    assert parts.counts == whole.counts == (int(candidate.sum()), 2000 - int(candidate.sum()))
    assert whole.means[0] == pytest.approx(losses[candidate].mean())


def test_wrong_losses_and_shares_are_refused() -> None:
    bets = Comparison(0.03)
    one = np.array([True])
    for loss, share in ((1.5, 0.5), (-0.1, 0.5), (0.5, 0.0), (0.5, 1.0)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            bets.observe(one, np.array([loss]), np.array([share]))
    assert bets.counts == (0, 0)
    bets.observe(one[:0], np.zeros(0), np.zeros(0))
    assert (bets.promote, bets.rollback, bets.means) == (1.0, 1.0, (None, None))


def test_a_candidate_that_answers_its_share_is_not_suspected_and_half_of_it_is() -> None:
    alarms = 0
    for seed in range(300):
        fair = ShareTest()
        fair.observe(np.random.default_rng(seed).random(2000) < 0.05, np.full(2000, 0.05))
        alarms += fair.peak >= 100
    assert alarms <= 300 * at_most(0.01, 300)
    half = ShareTest()
    half.observe(np.random.default_rng(0).random(4000) < 0.025, np.full(4000, 0.05))
    assert half.peak >= 300


def main() -> None:
    """Print the figures of docs/rollout.md."""
    cases: list[tuple[str, float, Bad, int]] = [
        ("as good, loss 2 %", 0.02, lambda _: 0.0, 4000),
        ("as good, loss 5 %", 0.05, lambda _: 0.0, 4000),
        ("as good, loss 10 %", 0.10, lambda _: 0.0, 4000),
        ("better by 1 point, loss 5 %", 0.05, lambda _: -0.01, 4000),
        ("better by 40 points, loss 45 %", 0.45, lambda _: -0.4, 4000),
        ("worse by 3 points (the margin), loss 2 %", 0.02, lambda _: 0.03, 1500),
        ("worse by 3 points (the margin), loss 5 %", 0.05, lambda _: 0.03, 1500),
        ("worse by 3 points (the margin), loss 10 %", 0.10, lambda _: 0.03, 1500),
        ("worse by 10 points, loss 2 %", 0.02, lambda _: 0.10, 1500),
        ("worse by 10 points, loss 5 %", 0.05, lambda _: 0.10, 1500),
        ("worse by 10 points, loss 10 %", 0.10, lambda _: 0.10, 1500),
        ("fails half of the time from request 150 on", 0.02, lambda n: 0.5 * (n >= 150), 1500),
    ]
    print("| candidate | promoted | rolled back | timed out | requests, median and 90 % |")
    print("| --- | --- | --- | --- | --- |")
    for name, base, bad, most in cases:
        runs = [canary(seed, base, bad, most=most) for seed in range(400)]
        found = shares_of(runs)
        cells = " | ".join(f"{found[what]:.1%}" for what in ("promote", "rollback", "timeout"))
        middle, high = np.quantile([n for _, n in runs], [0.5, 0.9])
        print(f"| {name} | {cells} | {middle:.0f}, {high:.0f} |", flush=True)
    for base in (0.05, 0.1):
        peeked = np.mean([z_test(seed, base, 0.03) for seed in range(2000)])
        print(f"z-test peeked at every 50 requests, loss {base:.0%}: promotes {peeked:.1%}")


if __name__ == "__main__":
    main()
