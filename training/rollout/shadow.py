"""Shadow: the candidate is asked a share of the requests again, and nobody sees its answers."""

from typing import Any

from gateway.store.releases import Target
from gateway.store.rollouts import RUNNING, Rollout
from gateway.store.traffic import Traffic
from monitoring.requests import of_record
from training.rollout.comparing import mirrored
from training.rollout.rolling import FAILED, PASSED, Course, Outcome


class Shadow:
    """Waits for so many mirrored requests, then compares each with what it repeats, once.

    Once, so that the tests need not hold at every look.
    """

    status, busy = RUNNING, False

    def __init__(self, course: Course) -> None:
        self._course = course
        self.timeout_s = course.plan.stage_timeout_s
        self._told: dict[str, Any] = {}

    def begin(self) -> None:
        rollout, share = self._course.rollout, self._course.plan.shadow_share
        targets = (
            Target(rollout.previous, 1.0, "live"),
            Target(rollout.candidate, share, "shadow"),
        )
        if set(self._course.ground.placed()) != set(targets):
            self._course.ground.put(targets, f"shadow of {share:g} of the requests")

    def look(self, row: Rollout) -> Outcome | None:
        plan = self._course.plan
        since = next(m.at for m in self._course.ground.moves() if _has_shadow(m.after))
        log = Traffic(self._course.tools.database)
        records = log.mirrored(row.alias, row.candidate, since, plan.shadow_requests)
        self._told["requests"] = len(records)
        self._told["missing"] = f"{len(records)} of {plan.shadow_requests} mirrored requests"
        if len(records) < plan.shadow_requests:
            return None
        found = mirrored([(of_record(copy), of_record(first)) for copy, first in records])
        self._told |= found.as_dict() | {"missing": None}
        harm = found.harm(plan.latency_ratio, plan.length_ratio)
        if harm is not None:
            return Outcome(FAILED, harm)
        return Outcome(PASSED, f"No harm in {found.n} mirrored requests.")

    def told(self) -> dict[str, Any]:
        return self._told

    def close(self) -> None:
        return


def _has_shadow(targets: tuple[Target, ...]) -> bool:
    return any(target.mode == "shadow" for target in targets)
