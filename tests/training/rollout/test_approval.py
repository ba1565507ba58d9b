"""A promotion that people must agree to by comparing answers blindly."""

from dataclasses import replace

import pytest

from gateway.rating.desk import Desk
from gateway.store.comparisons import Comparison, Comparisons, Item
from gateway.store.raters import Raters, Vote
from gateway.store.rollouts import Rollouts
from tests.training.rollout.world import World
from training.certificate import describe

_ITEMS = [Item(0, [{"role": "user", "content": "?"}], "old", "new") for _ in range(40)]


def _comparison(world: World, **values: object) -> Comparison:
    made = Comparison(name="c", baseline="old-1", candidate="new-1")
    return Comparisons(world.database).add(replace(made, **values), _ITEMS)  # type: ignore[arg-type]


def _vote(world: World, comparison: Comparison, choices: str) -> None:
    """Three raters say the same of each item: `c`andidate, `b`aseline or `t`ie."""
    words = {"c": "candidate", "b": "baseline", "t": "tie"}
    for item, letter in enumerate(choices):
        for rater in ("a", "b", "c"):
            vote = Vote(comparison.id, item, rater, "baseline", words[letter], at=float(item))
            Raters(world.database).vote(vote)
    Desk(world.database).reckon(comparison.id)


@pytest.mark.parametrize(
    ("choices", "status", "said"),
    [("c" * 20, "promoted", "new-1 is "), ("b" * 20, "rolled_back", "new-1 is worse")],
)
def test_the_verdict_of_the_comparison_decides(
    world: World, choices: str, status: str, said: str
) -> None:
    world.start(approval="comparison")
    _vote(world, made := _comparison(world), choices)
    world.roll()
    row = world.row()
    assert row.status == status
    told = row.evidence["approval"]
    assert f"People compared blindly ({made.id})" in told["reason"]
    assert said in told["reason"]
    kept = told["comparison"]
    assert (kept["id"], kept["people"], kept["people_counted"], kept["items"]) == (
        made.id,
        3,
        3,
        40,
    )
    assert kept["verdict"] == ("PASS" if status == "promoted" else "FAIL")
    statement = describe(world.database, "new-1")
    assert statement["rollout"]["evidence"]["approval"]["comparison"] == kept


def test_it_waits_for_a_comparison_then_for_votes(world: World) -> None:
    world.start(approval="comparison")
    waits: list[str] = []
    made: list[Comparison] = []

    def follow(now: World) -> None:
        if now.row().stage != "approval":
            return
        Rollouts(now.database).approve("rlt-1", "ada")  # one person is not enough
        waits.append(str(now.row().evidence["approval"].get("missing")))
        assert now.row().status in ("running", "waiting")
        if len(waits) == 3:
            made.append(_comparison(now))
        elif len(waits) == 5:
            _vote(now, made[0], "cbt")
        elif len(waits) == 7:
            _vote(now, made[0], "cbt" + "c" * 25)

    world.on_sleep = follow
    world.roll()
    assert world.row().status == "promoted"
    assert "driftgate compare create production --candidate new-1" in waits[2]
    assert "needs more votes: nobody has voted yet" in waits[4]
    assert f"{made[0].id} needs more votes: Nothing is shown yet" in waits[6]


def test_a_comparison_that_is_closed_without_a_verdict_is_told(world: World) -> None:
    world.start(approval="comparison")
    _vote(world, made := _comparison(world), "cbt")
    Comparisons(world.database).close(made.id, by="ada", why="enough")
    waits: list[str] = []

    def follow(now: World) -> None:
        if now.row().stage == "approval":
            waits.append(str(now.row().evidence["approval"].get("missing")))
            if len(waits) == 3:
                Rollouts(now.database).ask("rlt-1", "abort", "ada")

    world.on_sleep = follow
    world.roll()
    assert world.row().status == "aborted"
    assert "is closed without a verdict; make another" in waits[-1]


def test_the_newest_comparison_counts_and_earlier_ones_are_told(world: World) -> None:
    world.start(approval="comparison")
    _vote(world, failed := _comparison(world, created_at=1.0), "b" * 20)
    _vote(world, _comparison(world, created_at=2.0), "c" * 20)
    world.roll()
    assert world.row().status == "promoted"
    (told,) = world.row().evidence["approval"]["earlier_comparisons"]
    assert (told["id"], told["verdict"]) == (failed.id, "FAIL")


def test_harm_ends_the_wait_for_votes(world: World) -> None:
    world.start(approval="comparison")
    _comparison(world)

    def turn_bad(now: World) -> None:
        if now.row().stage == "approval":
            now.answers["new-1"].fails = 0.5

    world.on_sleep = turn_bad
    world.roll()
    assert world.row().status == "rolled_back"
