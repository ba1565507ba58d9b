"""What a comparison has shown so far: one JSON object, which pages, commands and gates read.

verdict      PASS (better, or not worse by the margin), FAIL (worse), INCONCLUSIVE
shown        better, not_worse, worse, or null; shown_at: after how many decided items
reason       the same in a sentence; missing: about how many more items it takes, or null
decided      items that enough votes have decided; votes: all on items that are not gold
consensus    how many of them came to each choice, and to none (`split`)
preference   share of items won less share lost, with limits that hold at all times
win_rate     the same from 0 to 1: a tie is half a win
evidence     the three capitals; threshold: what they must reach; curve: their course
agreement    Krippendorff's alpha over all votes that count, or null
left_share   share of votes for the left side among those for a side
criteria     by criterion: consensus, preference, agreement
raters       by invite: votes, gold items right and seen, whether their votes count, and why not
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.comparing.agreement import alpha
from gateway.comparing.consensus import (
    SPLIT,
    Consensus,
    Record,
    consensus,
    counts,
    least_golds,
)
from gateway.comparing.evidence import SIGNS, Limits, Shown, SignTest, limits
from gateway.store.comparisons import BASELINE, CANDIDATE, CHOICES, Comparison
from gateway.store.raters import Vote

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"
_VERDICTS: dict[Shown | None, str] = {
    "better": PASS, "not_worse": PASS, "worse": FAIL, None: INCONCLUSIVE,
}  # fmt: skip
_SIGN = {CANDIDATE: 1, BASELINE: -1}
_MOST_POINTS = 200
_LARGEST = 1e9


def standing(
    comparison: Comparison, golds: Mapping[int, bool], votes: Sequence[Vote]
) -> dict[str, Any]:
    """Return what votes show.

    Args:
        comparison: The comparison.
        golds: Of every item, whether it is gold.
        votes: All votes, in the order of their time.
    """
    found = consensus(votes, golds, comparison.raters, comparison.gold_accuracy)
    test = SignTest(comparison.margin, comparison.alpha)
    for item in found.decided:
        test.observe(item.sign)
    choices = [item.choice for item in found.decided]
    missing = test.missing()
    counted = _counted(comparison, golds, found)
    sides = [vote for vote in votes if vote.choice in _SIGN]
    seen = test.limits
    return {
        "verdict": _VERDICTS[test.shown],
        "shown": test.shown,
        "shown_at": test.at,
        "reason": _reason(comparison, test, missing),
        "missing": missing,
        "decided": test.count,
        "votes": sum(record.votes for record in found.raters.values()),
        "items": {str(item.item): item.choice for item in found.decided},
        "consensus": _tally(choices),
        "preference": _limits(seen),
        "win_rate": {name: (value + 1) / 2 for name, value in _limits(seen).items()},
        "evidence": _evidence(test),
        "threshold": round(1 / comparison.alpha, 4),
        "curve": _curve(test),
        "agreement": alpha(_ratings(found, counted)),
        "left_share": sum(v.left == v.choice for v in sides) / len(sides) if sides else None,
        "criteria": {
            name: _criterion(name, comparison, found, counted) for name in comparison.criteria
        },
        "raters": {
            invite: _rater(record, comparison, golds)
            for invite, record in sorted(found.raters.items())
        },
    }


def _counted(comparison: Comparison, golds: Mapping[int, bool], found: Consensus) -> set[str]:
    wanted = least_golds(golds)
    return {
        invite
        for invite, record in found.raters.items()
        if counts(record, wanted, comparison.gold_accuracy)
    }


def _ratings(
    found: Consensus, counted: set[str], criterion: str | None = None
) -> Iterable[Sequence[str]]:
    for votes in found.by_item.values():
        good = [vote for vote in votes if vote.invite in counted]
        if criterion is None:
            yield [vote.choice for vote in good]
        else:
            yield [v.criteria[criterion] for v in good if criterion in v.criteria]


def _criterion(
    name: str, comparison: Comparison, found: Consensus, counted: set[str]
) -> dict[str, Any]:
    said = [choice for item in found.decided if (choice := item.on(name)) is not None]
    signs = [_SIGN.get(choice, 0) for choice in said]
    seen = limits({sign: signs.count(sign) for sign in SIGNS}, comparison.alpha)
    return {
        "consensus": _tally(said),
        "preference": _limits(seen),
        "agreement": alpha(_ratings(found, counted, name)),
    }


def _rater(record: Record, comparison: Comparison, golds: Mapping[int, bool]) -> dict[str, Any]:
    wanted = least_golds(golds)
    good = counts(record, wanted, comparison.gold_accuracy)
    why = None
    if record.golds < wanted:
        why = f"{record.golds} of {wanted} gold items answered so far"
    elif not good:
        why = (
            f"{record.right} of {record.golds} gold items right, "
            f"{comparison.gold_accuracy:.0%} are asked for"
        )
    return {
        "votes": record.votes, "golds": record.golds, "right": record.right,
        "accuracy": record.accuracy, "counts": good, "why": why,
    }  # fmt: skip


def _tally(choices: Sequence[str]) -> dict[str, int]:
    return {name: choices.count(name) for name in (*CHOICES, SPLIT)}


def _limits(seen: Limits) -> dict[str, float]:
    return {
        "value": round(seen.value, 4), "low": round(seen.low, 4), "high": round(seen.high, 4),
    }  # fmt: skip


def _evidence(test: SignTest) -> dict[str, float]:
    last = test.curve[-1] if test.curve else (0.0, 0.0, 0.0)
    names = ("better", "not_worse", "worse")
    return {
        name: round(min(10 ** min(value, 12.0), _LARGEST), 4)
        for name, value in zip(names, last, strict=True)
    }


def _curve(test: SignTest) -> list[list[float]]:
    """Return the course of the evidence: items decided, then log10 of each capital."""
    step = max(1, -(-len(test.curve) // _MOST_POINTS))
    points = [[n, *(round(v, 3) for v in logs)] for n, logs in enumerate(test.curve, 1)]
    return [point for point in points if point[0] % step == 0 or point[0] == len(points)]


def _reason(comparison: Comparison, test: SignTest, missing: int | None) -> str:
    seen = test.limits
    won = f"wins {seen.value:+.0%} net ({seen.low:+.0%} to {seen.high:+.0%})"
    of = f"of {test.count:,} decided items"
    if test.shown == "better":
        return f"{comparison.candidate} is better: it {won} {of}."
    if test.shown == "not_worse":
        return f"{comparison.candidate} is not worse by {comparison.margin:.0%}: it {won} {of}."
    if test.shown == "worse":
        return (
            f"{comparison.candidate} is worse by more than {comparison.margin:.0%}: it {won} {of}."
        )
    if not test.count:
        return f"No item is decided yet: each takes {comparison.raters} votes that count."
    left = comparison.items - test.count
    ask = f"{left:,} items wait for votes" if left else "no item is left to vote on"
    guess = f"; about {missing:,} more would show something" if missing else ""
    return f"Nothing is shown yet: it {won} {of}; {ask}{guess}."
