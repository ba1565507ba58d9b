"""The evidence of the canary, over all of its stages: a fold over traffic and feedback.

Nothing of it is kept but what is shown. A process that goes on where another was killed reads the
log again from the first canary stage on, in the same order, so nothing is counted twice or left
out. Requests count in the order in which they ended, scores in the order in which they came.
"""

from typing import Any

import numpy as np

from gateway.store.database import Database
from gateway.store.monitoring import Monitoring, Place
from gateway.store.rollouts import Rollout
from gateway.store.traffic import Traffic, TrafficRecord
from monitoring.requests import of_record
from training.rollout.arms import REMEMBERED_S, Draws, Segment, segments
from training.rollout.betting import Comparison, ShareTest
from training.rollout.ground import Ground
from training.rollout.losses import failure
from training.rollout.plan import RolloutPlan, canary_name

_PAGE = 2000
_SIGNALS = 3  # failure, score, share: each has its part of alpha_rollback
_MOST_POINTS = 200
_SHOWN = 1e9

Counted = tuple[bool, float]


class Evidence:
    """What the canary of one rollout has shown.

    Args:
        database: The store.
        rollout: The rollout.
        plan: Its plan.
    """

    def __init__(self, database: Database, rollout: Rollout, plan: RolloutPlan) -> None:
        self._traffic, self._scores = Traffic(database), Monitoring(database)
        self._ground = Ground(database, rollout)
        self._rollout, self._plan = rollout, plan
        self._level = _SIGNALS / plan.alpha_rollback
        self.failure = Comparison(plan.margin, plan.tolerance)
        self.score = Comparison(plan.margin, plan.tolerance)
        self.share, self.share_of_scores = ShareTest(), ShareTest()
        self._draws: Draws | None = None
        self._cursor = (0.0, "")
        self._score_cursors = {r: Place(0.0, "") for r in (rollout.candidate, rollout.previous)}
        self._counted: dict[str, Counted] = {}
        self._young: list[tuple[float, Counted]] = []
        self._scored: set[str] = set()
        self._by_stage: dict[str, int] = {}
        self._curve: list[list[float]] = []
        self._every = 1
        self._reads = 0

    def read(self, now: float) -> None:
        """Take in what came since, and is old enough to be in the log whole.

        Raises:
            StoreError: The store is away; what was taken in stays, the rest comes the next time.
        """
        found = segments(self._ground.moves(), self._rollout.candidate, now)
        if not found:
            return
        before = now - self._plan.settle_s
        self._read_traffic(found, before)
        self._read_scores(found[0].begin, before)
        self._note()

    def seen(self, stage: str) -> int:
        """Return how many requests that count the candidate has answered in a stage."""
        return self._by_stage.get(stage, 0)

    def harm(self) -> str | None:
        """Return why the candidate must be rolled back, or None."""
        for name, what in (("failure", "fails"), ("score", "is scored worse")):
            comparison: Comparison = getattr(self, name)
            if comparison.rollback_peak >= self._level:
                candidate, control = comparison.means
                return (
                    f"The candidate {what} more often than chance allows: mean loss "
                    f"{_shown(candidate)} against {_shown(control)} (e-value of {name}: "
                    f"{comparison.rollback_peak:.0f}, limit {self._level:.0f})."
                )
        if self.share.peak >= self._level:
            return (
                "The candidate answers less than its share of the requests: its engine is not "
                f"ready at times, or answers do not end (e-value: {self.share.peak:.0f}, limit "
                f"{self._level:.0f})."
            )
        return None

    def missing(self) -> str | None:
        """Return what is still to be shown before a promotion, or None."""
        needed = 1 / self._plan.alpha_promote
        if self.failure.promote < needed:
            return f"failure: e-value {self.failure.promote:.2f} of {needed:.0f}"
        if self.score.counts[0] < self._plan.least_scores:
            return None
        if self.share_of_scores.peak >= self._level:
            return "score: people score the candidate's answers less often, so they cannot compare"
        if self.score.promote < needed:
            return f"score: e-value {self.score.promote:.2f} of {needed:.0f}"
        return None

    def told(self) -> dict[str, Any]:
        """Return the evidence so far, as plain JSON."""
        return {
            "failure": _comparison(self.failure),
            "score": _comparison(self.score),
            "share": _finite(self.share.peak),
            "share_of_scores": _finite(self.share_of_scores.peak),
            "needed": {"promote": 1 / self._plan.alpha_promote, "rollback": self._level},
            "missing": self.missing(),
            "curve": self._curve,
            "curve_columns": ["requests", "failure_promote", "failure_rollback",
                              "score_promote", "score_rollback"],
        }  # fmt: skip

    def _read_traffic(self, found: list[Segment], before: float) -> None:
        begun = found[0].begin + self._plan.settle_s
        if self._draws is None:
            alias = self._rollout.alias
            since = found[0].begin - REMEMBERED_S
            self._draws = Draws(self._traffic.conversations(alias, since, begun))
            self._cursor = (begun, "")
        releases = (self._rollout.candidate, self._rollout.previous)
        more = True
        while more:
            records = self._traffic.ended(
                self._rollout.alias, releases, begun=begun, after=self._cursor, before=before,
                limit=_PAGE,
            )  # fmt: skip
            self._take(records, found, self._draws)
            more = len(records) == _PAGE
        late = before - self._plan.late_s
        old = [counted for at, counted in self._young if at < late]
        self._young = [(at, counted) for at, counted in self._young if at >= late]
        self.share.observe(*_arrays(old))

    def _take(self, records: list[TrafficRecord], found: list[Segment], draws: Draws) -> None:
        taken: list[Counted] = []
        losses: list[float] = []
        for record in records:
            drawn = draws.is_drawn(record)
            segment = self._segment(found, record.created_at)
            if not drawn or segment is None:
                continue
            candidate = record.release == self._rollout.candidate
            counted = (candidate, segment.share)
            self._counted[record.completion_id] = counted
            self._young.append((record.created_at, counted))
            if candidate:
                stage = canary_name(segment.share)
                self._by_stage[stage] = self.seen(stage) + 1
            taken.append(counted)
            losses.append(failure(of_record(record)))
        candidates, shares = _arrays(taken)
        self.failure.observe(candidates, np.asarray(losses), shares)
        if records:
            last = records[-1]
            self._cursor = (last.created_at + last.duration_s, last.completion_id)

    def _segment(self, found: list[Segment], at: float) -> Segment | None:
        for segment in reversed(found):
            if segment.begin <= at < segment.end:
                return segment if at >= segment.begin + self._plan.settle_s else None
        return None

    def _read_scores(self, since: float, before: float) -> None:
        fresh: list[tuple[Place, str, float]] = []
        cursors = dict(self._score_cursors)
        for release, cursor in self._score_cursors.items():
            after = max(cursor, Place(since, ""))
            page = self._scores.scores(self._rollout.alias, release, after, before, 5 * _PAGE)
            fresh += page
            cursors[release] = page[-1][0] if page else after
        self._score_cursors = cursors
        taken: list[Counted] = []
        losses: list[float] = []
        for _, id, score in sorted(fresh):
            counted = self._counted.get(id)
            if counted is not None and id not in self._scored and 0 <= score <= 1:
                self._scored.add(id)  # the first score of an answer counts
                taken.append(counted)
                losses.append(1 - score)
        candidates, shares = _arrays(taken)
        self.score.observe(candidates, np.asarray(losses), shares)
        self.share_of_scores.observe(candidates, shares)

    def _note(self) -> None:
        """Keep a point of the curve; every other one is dropped where there are too many."""
        requests = self.failure.counts[0]
        if self._curve and self._curve[-1][0] == requests:
            return
        self._reads += 1
        if self._reads % self._every == 0:
            both = (self.failure, self.score)
            values = [value for each in both for value in (each.promote, each.rollback)]
            self._curve.append([requests, *map(_finite, values)])
        if len(self._curve) > _MOST_POINTS:
            self._curve = self._curve[::2]
            self._every *= 2


def _arrays(taken: list[Counted]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    candidates = np.asarray([candidate for candidate, _ in taken], bool)
    return candidates, np.asarray([share for _, share in taken], float)


def _comparison(of: Comparison) -> dict[str, Any]:
    candidate, control = of.means
    return {
        "candidate": {"requests": of.counts[0], "mean": candidate},
        "control": {"requests": of.counts[1], "mean": control},
        "promote": _finite(of.promote),
        "rollback": _finite(of.rollback_peak),
    }


def _finite(value: float) -> float:
    return round(min(value, _SHOWN), 4)


def _shown(mean: float | None) -> str:
    return "none" if mean is None else f"{mean:.3f}"
