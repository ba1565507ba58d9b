"""The gates: what must be shown before a candidate takes the baseline's place.

All slices of a gate, and all gates, must pass, each at one-sided 5 %: an intersection-union test
keeps the whole at 5 % without a correction (Berger, "Multiparameter hypothesis testing and
acceptance sampling", 1982). The suites of general capability are corrected by Holm beside that, so
that the claim holds for each suite by its own.

A question that a system failed to answer is left out, but a gate passes only if it also would with
all such questions counted against the candidate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

from training.evaluation.intervals import Interval, cases_to_bound_quantile, quantile
from training.evaluation.paired import (
    ALPHA,
    Pairs,
    cases_for_gain,
    cases_for_margin,
    holm,
    interval,
    p_greater,
    p_less,
)

Rule = Literal["superior", "non-inferior"]


class Verdict(StrEnum):
    """What the data show. Too few cases are INCONCLUSIVE, never PASS."""

    PASS = "PASS"  # noqa: S105 - a verdict, no password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True)
class Compared:
    """Outcomes of both systems on a slice; `lost` pairs lack an answer because a request failed."""

    slice: str
    pairs: Pairs
    lost: int = 0

    @property
    def worst(self) -> Pairs:
        """Return the outcomes with every lost pair counted against the candidate."""
        return Pairs(self.pairs.n + self.lost, self.pairs.gains, self.pairs.losses + self.lost)


@dataclass(frozen=True, slots=True)
class Test:
    """One slice under one rule.

    Args:
        slice: Its name.
        rule: `superior` (better than 0) or `non-inferior` (not worse by `margin`).
        margin: As a share, 0.03 for 3 points; for `superior`, the gain that would be worth having.
        pairs: Outcomes.
        lost: Pairs without an answer.
        difference: Candidate - baseline, with both one-sided 95 % limits.
        p: Exact p-value; of the suites, after Holm.
        verdict: What is shown.
        missing: How many more cases are needed for 80 % power; None where more would not do.
        reason: In words.
    """

    slice: str
    rule: Rule
    margin: float
    pairs: Pairs
    lost: int
    difference: Interval
    p: float
    verdict: Verdict
    missing: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate's verdict, and the tests that it rests on."""

    name: str
    title: str
    verdict: Verdict
    reason: str
    missing: int | None = None
    tests: tuple[Test, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """Return FAIL where one fails, INCONCLUSIVE where one is or there is none, else PASS."""
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    if not verdicts or Verdict.INCONCLUSIVE in verdicts:
        return Verdict.INCONCLUSIVE
    return Verdict.PASS


def paired_gate(
    slices: Sequence[Compared],
    superior_on: Sequence[str],
    margin: float,
    alpha: float = ALPHA,
    margins: Mapping[str, float] | None = None,
) -> Gate:
    """Better on every named slice, and not worse by its margin on every other one.

    `margins` are those of single slices, `margin` is that of all others.
    """
    tests = tuple(
        _superior(one, (margins or {}).get(one.slice, margin), alpha)
        if one.slice in superior_on
        else _non_inferior(one, (margins or {}).get(one.slice, margin), alpha)
        for one in slices
    )
    return _gate("paired", "Better where it must be, not worse elsewhere", tests)


def hallucination_gate(compared: Compared, margin: float, alpha: float = ALPHA) -> Gate:
    """Hallucinates at most `margin` more often: an outcome is right if nothing was made up."""
    return _gate(
        "hallucination",
        "Makes up no more than before",
        (_non_inferior(compared, margin, alpha),),
    )


def capability_gate(suites: Sequence[Compared], margin: float, alpha: float = ALPHA) -> Gate:
    """Not worse by `margin` on any suite, Holm over the suites for passing and for failing."""
    shown = holm([p_greater(suite.worst, -margin) for suite in suites])
    harmed = holm([p_less(suite.pairs, -margin) for suite in suites])
    tests = tuple(
        _judged(suite, "non-inferior", margin, p, p <= alpha, harm <= alpha, alpha / len(suites))
        for suite, p, harm in zip(suites, shown, harmed, strict=True)
    )
    return _gate("capability", "Still can what it could", tests)


def estimated_gate(difference: Interval, margin: float) -> Gate:
    """The hallucination gate on an estimate (prediction-powered), of level 1 - 2 alpha.

    Args:
        difference: Rate of the candidate - rate of the baseline.
        margin: How much more it may be.
    """
    title = "Makes up no more than before"
    seen = f"the rate changes by {_points(difference)}; allowed {100 * margin:+.1f}"
    if difference.high <= margin:
        return Gate("hallucination", title, Verdict.PASS, seen)
    if difference.low > margin:
        return Gate("hallucination", title, Verdict.FAIL, seen)
    half = (difference.high - difference.low) / 2
    wanted = max(margin - max(difference.value, 0.0), 0.0)
    missing = None
    if wanted > 0:
        missing = max(1, round(difference.n * ((half / wanted) ** 2 - 1)))
    return Gate("hallucination", title, Verdict.INCONCLUSIVE, seen, missing)


def latency_gate(
    latencies_s: Sequence[float], limit_s: float, failed: int, alpha: float = ALPHA
) -> Gate:
    """The 95th percentile of the candidate's latency is within the SLA; failures count as late."""
    seen = [*latencies_s, *[float("inf")] * failed]
    p95 = quantile(seen, 0.95, 1 - 2 * alpha)
    name, title = "latency", f"95 % of answers within {limit_s:g} s"
    reason = f"p95 {p95.value:.2f} s, 90 % interval {p95.low:.2f} to {p95.high:.2f} s"
    if p95.high <= limit_s:
        return Gate(name, title, Verdict.PASS, reason)
    if p95.low > limit_s:
        return Gate(name, title, Verdict.FAIL, reason)
    least = cases_to_bound_quantile(0.95, alpha)
    missing = max(1, least - len(seen)) if len(seen) < least else len(seen)
    return Gate(name, title, Verdict.INCONCLUSIVE, reason, missing)


def _superior(one: Compared, margin: float, alpha: float) -> Test:
    p = p_greater(one.worst, 0.0)
    # A gain as large as the margin is ruled out: more cases would not make it one.
    ruled_out = p_less(one.pairs, margin) <= alpha
    return _judged(one, "superior", margin, p, p <= alpha, ruled_out, alpha)


def _non_inferior(one: Compared, margin: float, alpha: float) -> Test:
    p = p_greater(one.worst, -margin)
    return _judged(
        one, "non-inferior", margin, p, p <= alpha, p_less(one.pairs, -margin) <= alpha, alpha
    )


def _judged(
    one: Compared, rule: Rule, margin: float, p: float, shown: bool, harmed: bool, alpha: float
) -> Test:
    seen = interval(one.pairs)
    verdict = Verdict.PASS if shown else Verdict.FAIL if harmed else Verdict.INCONCLUSIVE
    missing = None
    if verdict is Verdict.INCONCLUSIVE:
        needed = cases_for_margin if rule == "non-inferior" else cases_for_gain
        total = needed(one.pairs, margin, alpha)
        missing = None if total is None else max(1, total - one.pairs.n)
    reason = _reason(one, rule, margin, seen, verdict, missing)
    return Test(one.slice, rule, margin, one.pairs, one.lost, seen, p, verdict, missing, reason)


def _reason(
    one: Compared,
    rule: Rule,
    margin: float,
    seen: Interval,
    verdict: Verdict,
    missing: int | None,
) -> str:
    if not one.pairs.n:
        return f"no case was answered by both, {one.lost} failed"
    wanted = "above 0" if rule == "superior" else f"above {-100 * margin:+.1f}"
    text = f"{_points(seen)}; the lower limit must be {wanted}"
    if verdict is not Verdict.INCONCLUSIVE:
        return text
    if one.lost:
        text += (
            f"; {one.lost} requests failed and count against it: run again, they are asked again"
        )
    if missing is None:
        return f"{text}; more cases would not do, at the difference that was seen"
    return f"{text}; about {missing:,} more cases are needed"


def _gate(name: str, title: str, tests: tuple[Test, ...]) -> Gate:
    verdict = overall([test.verdict for test in tests])
    deciding = [test for test in tests if test.verdict is verdict]
    if verdict is Verdict.PASS:
        reason = f"shown on all of: {', '.join(test.slice for test in tests)}"
        return Gate(name, title, verdict, reason, None, tests)
    shown = "; ".join(f"{test.slice}: {test.reason}" for test in deciding[:3])
    more = f"; and {len(deciding) - 3} more slices" if len(deciding) > 3 else ""
    missing = [test.missing for test in tests if test.missing is not None]
    total = sum(missing) if verdict is Verdict.INCONCLUSIVE and missing else None
    return Gate(name, title, verdict, shown + more, total, tests)


def _points(seen: Interval) -> str:
    low, value, high = 100 * seen.low, 100 * seen.value, 100 * seen.high
    return f"{value:+.1f} points ({low:+.1f} to {high:+.1f}, {seen.n:,} cases)"


def by_slice(
    slices: Mapping[str, str], candidate: Mapping[str, bool], baseline: Mapping[str, bool]
) -> list[Compared]:
    """Compare two systems slice by slice.

    Args:
        slices: The slice of each case, by id.
        candidate: Whether its answer was right, by id; a failed request has none.
        baseline: The same.
    """
    found = []
    for name in dict.fromkeys(slices.values()):
        ids = [id for id, slice in slices.items() if slice == name]
        both = [id for id in ids if id in candidate and id in baseline]
        gains = sum(candidate[id] and not baseline[id] for id in both)
        losses = sum(baseline[id] and not candidate[id] for id in both)
        found.append(Compared(name, Pairs(len(both), gains, losses), len(ids) - len(both)))
    return found
