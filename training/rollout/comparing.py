"""Two releases on the same requests: how their latencies, lengths and failures compare."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monitoring.requests import Request
from training.evaluation.intervals import Interval, percentiles, quantile
from training.evaluation.paired import Pairs, p_less
from training.rollout.losses import failure, is_refused

_RESAMPLES = 2000
_ALPHA = 0.01
_LEVEL = 0.98  # two-sided, so that each end holds at 0.01


def ratio(candidate: Sequence[float], control: Sequence[float], share: float) -> Interval:
    """Return a quantile of the candidate's values by that of the control's.

    With a percentile bootstrap interval at 98 %, pairs drawn together (Efron and Tibshirani 1993).

    Args:
        candidate: One value a request.
        control: The same requests, in the same order.
        share: Which quantile, 0.5 the median.
    """
    above, below = np.asarray(candidate, float), np.asarray(control, float)
    n = len(above)
    if n == 0:
        return Interval(math.nan, 0.0, math.inf, 0, _LEVEL)
    tiny = 1e-6
    drawn = np.random.default_rng(0).integers(0, n, (_RESAMPLES, n))
    tops = np.quantile(above[drawn], share, axis=1)
    bottoms = np.maximum(np.quantile(below[drawn], share, axis=1), tiny)
    value = float(np.quantile(above, share)) / max(float(np.quantile(below, share)), tiny)
    return percentiles(value, tops / bottoms, n, _LEVEL)


@dataclass(frozen=True, slots=True)
class Mirrored:
    """Pairs of a mirrored request and what it repeats, compared.

    Attributes:
        failures: Of both: the candidate failed, or the old release.
        refusals: The same of answers that decline; here and below, of requests for which an engine
            was asked, since Driftgate declined the others itself.
        latency: Ratio of the 95th percentiles of the durations, of requests that both answered.
        length: Ratio of the median answers' lengths.
        quantiles: p50 and p95 of the durations in seconds, with their intervals, by release.
    """

    n: int
    failures: Pairs
    refusals: Pairs
    latency: Interval
    length: Interval
    quantiles: dict[str, dict[str, Interval]]

    def harm(self, latency_ratio: float, length_ratio: float) -> str | None:
        """Return what is certainly worse than it may be, or None."""
        for name, pairs in (("fails", self.failures), ("declines", self.refusals)):
            # Pairs count what was right; a loss is a request that the candidate alone failed.
            if pairs.n and p_less(pairs, 0.0) < _ALPHA:
                return (
                    f"The candidate {name} where the old release does not: {pairs.losses} of "
                    f"{pairs.n} requests, the other way round {pairs.gains}."
                )
        if self.latency.low > latency_ratio:
            return (
                f"The candidate is too slow: the 95th percentile is {self.latency.value:.2f} times "
                f"the old release's (at least {self.latency.low:.2f}, {latency_ratio:g} may be)."
            )
        if self.length.low > length_ratio or self.length.high < 1 / length_ratio:
            return (
                f"The candidate's answers are {self.length.value:.2f} times as long (between "
                f"{self.length.low:.2f} and {self.length.high:.2f}, {length_ratio:g} may be)."
            )
        return None

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "requests": self.n,
            "failures": _pairs(self.failures),
            "refusals": _pairs(self.refusals),
            "latency_ratio": _interval(self.latency),
            "length_ratio": _interval(self.length),
            "duration_s": {
                release: {name: _interval(found) for name, found in each.items()}
                for release, each in self.quantiles.items()
            },
        }


def mirrored(pairs: Sequence[tuple[Request, Request]]) -> Mirrored:
    """Compare requests: each the candidate's, and what it repeats."""
    both = [
        (c, o) for c, o in pairs if c.outcome == "done" and o.outcome == "done" and not _said_so(o)
    ]
    durations = [c.duration_s for c, _ in both], [o.duration_s for _, o in both]
    lengths = [(len(c.answer), len(o.answer)) for c, o in both if c.answer and o.answer]
    return Mirrored(
        n=len(pairs),
        failures=_outcomes([_failed(c, o) for c, o in pairs]),
        refusals=_outcomes([(is_refused(c), is_refused(o)) for c, o in both]),
        latency=ratio(*durations, 0.95),
        length=ratio([float(c) for c, _ in lengths], [float(o) for _, o in lengths], 0.5),
        quantiles={
            name: {"p50": quantile(values, 0.5), "p95": quantile(values, 0.95)}
            for name, values in zip(("candidate", "control"), durations, strict=True)
        },
    )


def _failed(candidate: Request, control: Request) -> tuple[bool, bool]:
    """Return who failed; to decline what Driftgate itself declined is nobody's failure."""
    if _said_so(control):
        return bool(failure(candidate)) and not is_refused(candidate), False
    return bool(failure(candidate)), bool(failure(control))


def _said_so(request: Request) -> bool:
    return request.retrieval is not None and request.retrieval.get("outcome") == "said_so"


def _outcomes(failed: Sequence[tuple[bool, bool]]) -> Pairs:
    gains = sum(control and not candidate for candidate, control in failed)
    losses = sum(candidate and not control for candidate, control in failed)
    return Pairs(len(failed), gains, losses)


def _pairs(pairs: Pairs) -> dict[str, int]:
    return {"requests": pairs.n, "candidate_only": pairs.losses, "control_only": pairs.gains}


def _interval(found: Interval) -> dict[str, float | None]:
    values = {"value": found.value, "low": found.low, "high": found.high}
    return {name: round(v, 4) if math.isfinite(v) else None for name, v in values.items()}
