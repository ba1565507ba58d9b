"""The lane of rollouts: all that are under way."""

import time

from gateway.store.database import Database
from gateway.store.rollouts import LIVE, Rollouts
from training.lanes.rows import Lane
from training.rollout import ending

_TIDY_S = 5.0


def lane(database: Database) -> Lane:
    """Return the lane."""
    rollouts = Rollouts(database)
    tidied = 0.0

    def tidy() -> None:
        nonlocal tidied
        if time.monotonic() - tidied > _TIDY_S:
            tidied = time.monotonic()
            ending.cool_down(database)

    return Lane(
        name="rollouts",
        module="training.rollout.process",
        up=lambda: [rollout.id for rollout in rollouts.all(among=LIVE)],
        give_up=lambda id, reason: ending.give_up(database, id, reason),
        log="rollout.log",
        tidy=tidy,
    )
