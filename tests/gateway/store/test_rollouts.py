import pytest

from gateway.store.database import Database
from gateway.store.rollouts import (
    ABORTED,
    PAUSED,
    PROMOTED,
    RUNNING,
    Rollout,
    Rollouts,
    RolloutUnderWay,
    rollout_id,
)


def _rollout(alias: str = "m", **values: object) -> Rollout:
    every = {"id": rollout_id(), "alias": alias, "candidate": "r-2", "previous": "r-1"}
    return Rollout(**every | {"plan": {"stages": [1, 5, 25]}} | values)  # type: ignore[arg-type]


def test_a_rollout_is_read_back_as_it_was_made(database: Database) -> None:
    rollouts = Rollouts(database)
    made = rollouts.add(_rollout(job="ftjob-1"))
    assert rollouts.get(made.id) == made
    assert made.status == RUNNING
    assert made.created_at > 0
    assert rollouts.add(made) == made
    assert rollouts.get("rlt-0") is None


def test_an_alias_has_one_rollout_under_way(database: Database) -> None:
    rollouts = Rollouts(database)
    first = rollouts.add(_rollout())
    with pytest.raises(RolloutUnderWay):
        rollouts.add(_rollout())
    rollouts.add(_rollout("n"))
    assert rollouts.write(first.id, status=PROMOTED, reason="better")
    second = rollouts.add(_rollout())
    assert rollouts.live("m") == second
    assert [r.id for r in rollouts.all("m")] == [second.id, first.id]
    assert [r.id for r in rollouts.all("m", {PROMOTED})] == [first.id]


def test_what_is_over_is_written_to_no_more(database: Database) -> None:
    rollouts = Rollouts(database)
    made = rollouts.add(_rollout())
    assert rollouts.write(made.id, stage="shadow", evidence={"staging": {"p50": 1.0}})
    assert rollouts.write(made.id, status=ABORTED)
    ended = rollouts.get(made.id)
    assert ended is not None
    assert ended.finished_at == ended.updated_at
    assert ended.evidence == {"staging": {"p50": 1.0}}
    assert not rollouts.write(made.id, status=PROMOTED)
    assert not rollouts.ask(made.id, "pause", "ada")
    assert not rollouts.approve(made.id, "ada")


def test_people_ask_and_approve(database: Database) -> None:
    rollouts = Rollouts(database)
    made = rollouts.add(_rollout(status=PAUSED))
    assert rollouts.ask(made.id, "pause", "ada")
    assert rollouts.ask(made.id, None, "ada")
    assert rollouts.approve(made.id, "ada")
    assert not rollouts.approve(made.id, "ben")  # the first one stands
    assert rollouts.ask(made.id, "abort", "ben")
    assert not rollouts.ask(made.id, None, "ada")  # an abort stands
    after = rollouts.get(made.id)
    assert after is not None
    assert (after.wish, after.wished_by, after.approved_by) == ("abort", "ben", "ada")
    with pytest.raises(ValueError, match="a wish is one of"):
        rollouts.ask(made.id, "faster", "ada")
