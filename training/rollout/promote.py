"""Promotion: the candidate serves alone, and the old release stays warm for a while."""

from dataclasses import replace
from typing import Any

from gateway.store.rollouts import PROMOTED, RUNNING, Rollout, Rollouts
from training.rollout.ground import PREVIOUS, alone
from training.rollout.rolling import PASSED, Course, Outcome


class Promote:
    """Moves the aliases; each step may be done again."""

    status, timeout_s, busy = RUNNING, None, False

    def __init__(self, course: Course) -> None:
        self._course = course

    def begin(self) -> None:
        return

    def look(self, row: Rollout) -> Outcome | None:
        if row.wish == "pause":
            return None
        ground, now = self._course.ground, self._course.tools.clock()
        why = f"{row.candidate} is promoted"
        # First the old release gets its own name, so that its engine is wanted all the time.
        ground.releases.point(PREVIOUS, alone(row.previous), by=row.id, why=why)
        ground.put(alone(row.candidate), why)
        ground.drop_candidate(why)
        ground.put_health("HEALTHY", {"release": row.candidate})
        reason = f"{row.candidate} serves `{row.alias}`."
        ended = {"verdict": PASSED, "reason": reason, "ended_at": now}
        # All at once: nothing is written of a rollout that is over.
        promoted = row.evidence["promote"] | ended
        evidence = row.evidence | {"promote": promoted, "warm": {"started_at": now}}
        over = replace(row, status=PROMOTED, evidence=evidence, reason=reason, finished_at=now)
        self._course.tools.certify(over)
        rollouts = Rollouts(self._course.tools.database)
        rollouts.write(row.id, status=PROMOTED, evidence=evidence, reason=reason)
        return Outcome(PASSED, reason)

    def told(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        return
