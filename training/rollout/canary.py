"""Canary: the candidate answers a share of the conversations, while two bets are running.

A stage ends when the candidate has answered its requests and no harm is shown; the last one also
needs what a promotion needs. Then `approval` waits, where a person must agree, and goes on
watching.
"""

from typing import Any

from gateway.store.releases import Target
from gateway.store.rollouts import RUNNING, WAITING, Rollout
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


class Approval:
    """A person agrees, where the plan asks for one; the canary goes on meanwhile."""

    busy, timeout_s = False, None

    def __init__(self, course: Course, evidence: Evidence) -> None:
        self._course, self._evidence = course, evidence
        self._is_human = course.plan.approval == "human"
        self.status = WAITING if self._is_human else RUNNING
        self._told: dict[str, Any] = {"approval": course.plan.approval}

    def begin(self) -> None:
        return

    def look(self, row: Rollout) -> Outcome | None:
        if not self._is_human:
            return Outcome(PASSED, "No approval is asked for.")
        self._evidence.read(self._course.tools.clock())
        self._told |= self._evidence.told()
        harm = self._evidence.harm()
        if harm is not None:
            return Outcome(FAILED, harm)
        if row.approved_by is None:
            return None
        self._told["approved_by"] = row.approved_by
        return Outcome(PASSED, f"Approved by {row.approved_by}.")

    def told(self) -> dict[str, Any]:
        return self._told

    def close(self) -> None:
        return
