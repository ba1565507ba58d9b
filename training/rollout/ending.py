"""How a rollout ends, other than by a promotion; and what is left to do after one.

Safe to be done again, and by whoever finds that it must be done: the rollout's process, or its
worker where that process cannot run.
"""

import time
from typing import Any

from gateway.store.database import Database
from gateway.store.releases import MovedMeanwhile, Releases
from gateway.store.rollouts import LIVE, OVER, PROMOTED, ROLLED_BACK, Rollout, Rollouts
from monitoring.dependence import dependence
from training.rollout.ground import PREVIOUS, Ground, alone
from training.rollout.plan import RolloutPlan


def step_back(database: Database, rollout: Rollout, status: str, reason: str) -> None:
    """Serve the old release alone, and write that the rollout is over.

    Args:
        database: The store.
        rollout: What ends.
        status: `rolled_back` or `aborted`.
        reason: Why, for people.
    """
    if not Ground(database, rollout).back(reason):
        reason = f"{reason} The alias was moved by somebody else meanwhile and stays as it is."
    Rollouts(database).write(rollout.id, status=status, reason=reason)


def give_up(database: Database, id: str, reason: str) -> None:
    """End a rollout whose process does not live long enough to do so."""
    rollout = Rollouts(database).get(id)
    if rollout is not None and rollout.status in LIVE:
        step_back(database, rollout, ROLLED_BACK, f"It could not be worked on: {reason}")


def cool_down(database: Database, now: float | None = None) -> None:
    """Let go of releases that were kept warm for long enough after a promotion.

    What a promoted release has needed its documents for meanwhile is kept with the rollout.
    """
    now = time.time() if now is None else now
    rollouts, releases = Rollouts(database), Releases(database)
    for rollout in rollouts.all(among={PROMOTED, ROLLED_BACK}, limit=50):
        warm = rollout.evidence.get("warm")
        if warm is None or "ended_at" in warm:
            continue
        if now < warm["started_at"] + RolloutPlan.of(rollout.plan).warm_s:
            continue
        why = "kept warm for long enough"
        try:
            releases.drop(PREVIOUS, by=rollout.id, why=why, expected=alone(rollout.previous))
        except MovedMeanwhile:
            why = "the alias was moved"
        ended: dict[str, Any] = {"warm": {**warm, "ended_at": now, "reason": why}}
        if rollout.status == PROMOTED:
            ended["dependence"] = dependence(
                database, rollout.alias, rollout.previous, rollout.candidate
            )
        rollouts.write(rollout.id, OVER, evidence={**rollout.evidence, **ended})
