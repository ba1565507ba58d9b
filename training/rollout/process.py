"""The durable workflow of one rollout, in a light process of its own.

    python -m training.rollout.process < setup        # a worker starts it, see `training.leash`

The stages are in the rollout's plan: start → staging → shadow → canary-1 → canary-5 → canary-25 →
approval → promote. Where one does not pass, the old release serves alone again. What a stage found
is in the rollout's row before the next one begins, so that the row alone tells where to go on, on
another host too.
"""

import sys
from pathlib import Path
from typing import Any

from gateway.store.claims import Claims
from gateway.store.database import Database, StoreError
from gateway.store.rollouts import Rollout
from training.asking import GatewayAsker
from training.certificate import attempt
from training.durable import Step, run
from training.leash import Setup, end_group, told
from training.rollout.approval import Approval
from training.rollout.canary import Canary
from training.rollout.evidence import Evidence
from training.rollout.plan import PlanInvalid, canary_name
from training.rollout.promote import Promote
from training.rollout.rolling import FAILED, PASSED, Course, Rolling, Stage, Tools
from training.rollout.shadow import Shadow
from training.rollout.staging import Staging
from training.rollout.start import Start


class Stages:
    """Makes the stages of one rollout; those of the canary share their evidence."""

    def __init__(self) -> None:
        self._evidence: Evidence | None = None

    def __call__(self, course: Course, name: str) -> Stage:
        """Return a stage by its name.

        Raises:
            LookupError: There is no such stage in the plan.
        """
        if name == "start":
            return Start(course)
        if name == "staging":
            return Staging(course)
        if name == "shadow":
            return Shadow(course)
        if name == "promote":
            return Promote(course)
        if self._evidence is None:
            self._evidence = Evidence(course.tools.database, course.rollout, course.plan)
        if name == "approval":
            return Approval(course, self._evidence)
        for share in course.plan.shares:
            if canary_name(share) == name:
                return Canary(course, share, self._evidence)
        raise LookupError(f"there is no stage {name}")


def roll_out(rolling: Rolling, step: Step) -> dict[str, Any]:
    """Do the stages in a line; returns how it ended.

    Args:
        rolling: The rollout.
        step: Does a stage by its name, or ends the rollout: `end`, the verdict, the reason.
    """
    try:
        stages = rolling.stages()
    except PlanInvalid as error:
        return step("end", FAILED, f"The plan cannot be used: {error}")
    outcome: dict[str, Any] = {}
    for name in stages:
        outcome = step(name)
        if outcome["verdict"] != PASSED:
            return step("end", outcome["verdict"], outcome["reason"])
    return outcome


def tools(setup: Setup, database: Database) -> Tools:
    """Return what a rollout's stages work with in a process of its own."""
    claims = Claims(database)

    def check() -> None:
        try:
            held = claims.holds(setup.id, setup.claim)
        except StoreError:
            return  # nothing can be written either
        if not held:
            end_group()

    def certify(rollout: Rollout) -> None:
        untold = attempt(database, Path(setup.home), rollout.candidate, rollout)
        if untold is not None:
            print(untold, flush=True)

    return Tools(
        database,
        lambda: GatewayAsker(database, setup.gateway_url, setup.id),
        check=check,
        certify=certify,
    )


def main() -> int:
    """Roll out what standard input names; returns the exit status."""
    setup = told()
    if setup is None:
        return 1
    database = Database(setup.database_url)
    rolling = Rolling(setup.id, tools(setup, database), Stages())

    def do(name: str, *arguments: str) -> dict[str, Any]:
        return rolling.end(*arguments) if name == "end" else rolling.do(name)

    run(setup.id, setup.workflow_url, "roll_out", do, lambda step: roll_out(rolling, step))
    database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
