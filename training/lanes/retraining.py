"""The lane of retrainings: those that were taken up, and open requests that may be."""

import time
from pathlib import Path

from gateway.store.database import Database
from gateway.store.retraining import TAKEN, Retraining
from training.lanes.rows import Lane
from training.retraining import ending
from training.triggers import Triggers

_LOOK_S = 2.0


def lane(database: Database, home: Path) -> Lane:
    """Return the lane.

    Args:
        database: The store.
        home: The folder of jobs.
    """
    requests, triggers = Retraining(database), Triggers(database, home)
    ready: list[str] = []
    looked = -_LOOK_S

    def up() -> list[str]:
        nonlocal ready, looked
        if time.monotonic() - looked >= _LOOK_S:
            looked = time.monotonic()
            ready = triggers.check()
        taken = [request.id for request in requests.all(status=TAKEN, limit=1000)]
        return [*taken, *(id for id in ready if id not in taken)]

    return Lane(
        name="retraining",
        module="training.retraining.process",
        up=up,
        give_up=lambda id, reason: ending.give_up(database, id, reason),
        log="retraining.log",
        tidy=lambda: ending.tidy(database),
    )
