"""Canary: the candidate answers a share of the conversations, while two bets are running.

A stage ends when the candidate has answered its requests and no harm is shown; the last one also
needs what a promotion needs.
"""

from typing import Any

from gateway.store.releases import Target
from gateway.store.rollouts import RUNNING, Rollout
from training.rollout.evidence import Evidence
from training.rollout.plan import canary_name
from training.rollout.rolling import FAILED, PASSED, Course, Outcome


class Canary:
    """One share of the conversations."""

    status, busy = RUNNING, False

    def __init__(self, course: Course, share: float, evidence: Evidence) -> None:
        self._course, self._share, self._evidence = course, share, evidence
        self._name = canary_name(share)
        self.timeout_s = course.plan.stage_timeout_s

    def begin(self) -> None:
        rollout = self._course.rollout
        targets = (
            Target(rollout.previous, 1 - self._share, "live"),
            Target(rollout.candidate, self._share, "live"),
        )
        if set(self._course.ground.placed()) != set(targets):
            self._course.ground.put(targets, f"canary with {self._share:.4g} of the conversations")
        self._course.ground.put_health("CANARY", {"share": self._share})

    def look(self, row: Rollout) -> Outcome | None:
        self._evidence.read(self._course.tools.clock())
        harm = self._evidence.harm()
        if harm is not None:
            return Outcome(FAILED, harm)
        seen = self._evidence.seen(self._name)
        if seen < self._course.plan.stage_requests or self._missing() is not None:
            return None
        return Outcome(PASSED, f"{seen} requests, no harm.")

    def told(self) -> dict[str, Any]:
        seen, needed = self._evidence.seen(self._name), self._course.plan.stage_requests
        missing = f"{seen} of {needed} requests" if seen < needed else self._missing()
        return {"requests": seen, "share": self._share, **self._evidence.told(), "missing": missing}

    def close(self) -> None:
        return

    def _missing(self) -> str | None:
        is_last = self._share == self._course.plan.shares[-1]
        return self._evidence.missing() if is_last else None
