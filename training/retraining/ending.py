"""How a retraining ends: its request is closed, and the health is what it was.

Safe to be done again, and by whoever finds that it must be done: the retraining's process, or its
worker where that process cannot run.
"""

from gateway.store.database import Database
from gateway.store.health import Healths
from gateway.store.jobs import CANCELLED, LIVE, PAUSED, Jobs
from gateway.store.retraining import CLOSED, Retraining
from gateway.store.rollouts import Rollouts


def settle(database: Database, id: str, outcome: str, told: str) -> None:
    """Close a request, and put the health back; one that was closed before stays as it is.

    Args:
        database: The store.
        id: The request.
        outcome: One of `store.retraining.OUTCOMES`.
        told: The outcome in words.
    """
    requests = Retraining(database)
    request = requests.get(id)
    if request is None:
        return
    restore_health(database, request.alias, id, promoted=outcome == "promoted")
    requests.close(id, outcome, told)


def take_back(database: Database, id: str) -> None:
    """End what a request that a person closed has started: its job, its rollout, its state."""
    request = Retraining(database).get(id)
    if request is None:
        return
    by = "the retraining was taken back"
    if request.job is not None:
        Jobs(database).move(request.job, CANCELLED, LIVE | {PAUSED})
    if request.rollout is not None:
        Rollouts(database).ask(request.rollout, "abort", by)
    restore_health(database, request.alias, id)


def give_up(database: Database, id: str, reason: str) -> None:
    """End a retraining whose process does not live long enough to do so."""
    take_back(database, id)
    settle(database, id, "failed", f"It could not be worked on: {reason}.")


def restore_health(database: Database, alias: str, id: str, promoted: bool = False) -> None:
    """Put back what the health was before; after a promotion it is new."""
    healths = Healths(database)
    now = healths.get(alias)
    if now is None or now.state != "RETRAINING" or now.evidence.get("request") != id:
        return  # a rollout has its own word, and the monitor too
    if promoted:
        healths.put(alias, "HEALTHY", {"request": id})
        return
    before = healths.settled(alias)
    healths.put(alias, before.state, before.evidence)


def tidy(database: Database) -> None:
    """Settle requests that were closed while no process worked on them."""
    requests = Retraining(database)
    for health in Healths(database).all():
        id = health.evidence.get("request")
        if health.state == "RETRAINING" and isinstance(id, str):
            request = requests.get(id)
            if request is not None and request.status == CLOSED:
                take_back(database, id)
