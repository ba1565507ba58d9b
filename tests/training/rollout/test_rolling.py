"""Whole rollouts in a world of their own."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.store.engines import Engine, Engines, EngineState
from gateway.store.health import Healths
from gateway.store.releases import Release, Target
from gateway.store.rollouts import Rollout, Rollouts
from gateway.store.traffic import Traffic
from tests.training.rollout.world import Killed, World
from training.rollout.ending import cool_down, give_up

OLD, NEW = (Target("old-1", 1.0, "live"),), (Target("new-1", 1.0, "live"),)


def verdicts(row: Rollout) -> dict[str, str]:
    return {name: stage.get("verdict") for name, stage in row.evidence.items() if name != "warm"}


def test_a_good_candidate_is_promoted(world: World) -> None:
    world.start()
    states: list[str] = []
    world.on_sleep = lambda w: states.append(w.health())
    world.roll()
    row = world.row()
    assert (row.status, row.stage) == ("promoted", "promote"), row.reason
    stages = ("start", "staging", "shadow", "canary-10", "canary-50", "approval", "promote")
    assert verdicts(row) == dict.fromkeys(stages, "passed")
    assert world.releases.aliases() == {"production": NEW, "previous": OLD}
    assert world.health() == "HEALTHY"
    assert "CANARY" in states
    moved = [move.why for move in reversed(world.releases.moves("production"))]
    assert [why.split(" ")[0] for why in moved] == ["", "shadow", "canary", "canary", "new-1"]
    canary = row.evidence["canary-50"]
    assert canary["requests"] >= 40
    assert canary["failure"]["promote"] >= 20
    assert canary["failure"]["candidate"]["mean"] == 0.0
    assert canary["started_at"] < canary["ended_at"]
    assert row.evidence["shadow"]["requests"] == 30
    assert {model for model, _ in world.asked} == {"candidate", "old-1"}


def test_the_old_release_is_warm_for_a_while(world: World) -> None:
    world.start()
    world.roll()
    cool_down(world.database, world.now + 599)
    assert world.releases.aliases()["previous"] == OLD
    cool_down(world.database, world.now + 601)
    assert "previous" not in world.releases.aliases()
    ended = world.row().evidence["warm"]
    ledger = world.row().evidence["dependence"]
    assert (ledger["before"], ledger["after"], ledger["may_leave"]) == ("old-1", "new-1", [])
    cool_down(world.database, world.now + 700)
    assert world.row().evidence["warm"] == ended


def test_another_previous_is_not_cooled_down(world: World) -> None:
    world.start()
    world.roll()
    world.releases.point("previous", NEW)
    cool_down(world.database, world.now + 601)
    assert world.releases.aliases()["previous"] == NEW
    assert world.row().evidence["warm"]["reason"] == "the alias was moved"


def test_one_that_turns_bad_in_the_canary_is_rolled_back(world: World) -> None:
    world.start()
    Healths(world.database).put("production", "DEGRADED", {"harm": 1})
    Healths(world.database).put("production", "RETRAINING", {})

    def turn_bad(now: World) -> None:
        if now.row().stage == "canary-50":
            now.answers["new-1"].fails = 0.4

    world.on_sleep = turn_bad
    world.roll()
    row = world.row()
    assert row.status == "rolled_back"
    assert row.reason is not None
    assert "fails more often" in row.reason
    assert world.releases.aliases() == {"production": OLD}
    health = Healths(world.database).get("production")
    assert health is not None
    assert (health.state, health.evidence) == ("DEGRADED", {"harm": 1})


@pytest.mark.parametrize(
    ("how", "stage", "words"),
    [
        ({"text": "  "}, "staging", "the answer is empty"),
        ({"fails": 1.0}, "staging", "http 503"),
        ({"duration_s": 2.0}, "staging", "too slow"),
        ({"text": "I'm sorry, but I can't help with that."}, "shadow", "fails where"),
        ({"text": "so " * 400}, "shadow", "times as long"),
    ],
)
def test_a_bad_candidate_never_meets_a_client(
    world: World, how: dict[str, Any], stage: str, words: str
) -> None:
    world.answers["new-1"] = replace(world.answers["new-1"], **how)
    world.start()
    world.roll()
    row = world.row()
    assert (row.status, row.stage) == ("rolled_back", stage)
    assert row.reason is not None
    assert words in row.reason
    assert world.releases.aliases() == {"production": OLD}
    assert world.health() == "HEALTHY"
    live = [move for move in world.releases.moves("production") if move.by == "rlt-1"]
    assert not any(t.release == "new-1" and t.mode == "live" for m in live for t in m.after)


def test_a_candidate_whose_engine_answers_less_than_its_share_is_rolled_back(world: World) -> None:
    world.start(late_s=5.0)
    arrive = world.arrive

    def less(requests: int, **fields: Any) -> Any:
        # The gateway lets the old release answer while the candidate's engine is away.
        share = [t.weight for t in world.releases.aliases()["production"] if t.release == "new-1"]
        if world.row().stage == "canary-50" and share:
            Traffic(world.database).add([world.answered("old-1") for _ in range(40)])
            return []
        return arrive(requests, **fields)

    world.arrive = less  # type: ignore[method-assign]
    world.roll()
    assert world.row().status == "rolled_back"
    assert "less than its share" in (world.row().reason or "")


def test_a_stage_that_takes_too_long_is_rolled_back(world: World) -> None:
    world.requests = 0
    world.start(stage_timeout_s=200.0)
    world.roll()
    assert world.row().status == "rolled_back"
    assert world.row().reason == "Not within 200 s: 0 of 30 mirrored requests"


def test_an_engine_that_does_not_start_in_time(world: World) -> None:
    Engines(world.database).remove("h", "B")
    world.start(start_timeout_s=100.0)
    world.roll()
    assert world.row().reason == "Not within 100 s: its engine is not ready"


def test_an_engine_that_failed_is_named(world: World) -> None:
    broken = Engine("B", "h", "new-1", "unix:x", EngineState.FAILED, None, 5, "no memory", 1.0)
    Engines(world.database).put(broken)
    world.start()
    world.roll()
    assert world.row().reason == "Its engine does not start: no memory"


def test_files_that_are_not_what_was_registered_get_no_traffic(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    digests = {"model.safetensors": digest}
    world.releases.register(Release("new-2", "m", "r", str(tmp_path), digests, 1.0, ""))
    rollouts = Rollouts(world.database)
    rollouts.add(Rollout("rlt-1", "production", "new-2", "old-1", {}))
    world.roll()
    row = world.row()
    assert row.status == "rolled_back"
    assert "`model.safetensors` of new-2 is not what was registered" in (row.reason or "")
    assert digest in (row.reason or "")
    assert world.releases.moves("candidate") == []


def test_a_plan_that_cannot_be_used_is_named(world: World) -> None:
    world.start(margin="small")
    world.roll()
    assert world.row().status == "rolled_back"
    assert "`margin`" in (world.row().reason or "")


def test_a_person_aborts(world: World) -> None:
    world.start()

    def abort(now: World) -> None:
        if now.row().stage == "canary-10":
            Rollouts(now.database).ask("rlt-1", "abort", "ada")

    world.on_sleep = abort
    world.roll()
    assert (world.row().status, world.row().reason) == ("aborted", "Aborted by ada.")
    assert world.releases.aliases() == {"production": OLD}


def test_a_paused_rollout_stands_still_and_its_clock_too(world: World) -> None:
    world.start(stage_timeout_s=2000.0)
    rollouts = Rollouts(world.database)
    seen: list[tuple[str, str]] = []
    paused_at: list[float] = []

    def pause(now: World) -> None:
        row = now.row()
        seen.append((row.status, row.stage))
        if row.stage == "canary-10" and not paused_at:
            paused_at.append(now.now)
            rollouts.ask("rlt-1", "pause", "ada")
            now.requests = 0
        if paused_at and now.now > paused_at[0] + 5000:
            rollouts.ask("rlt-1", None, "ada")
            now.requests = 60

    world.on_sleep = pause
    world.roll()
    assert world.row().status == "promoted", world.row().reason
    paused = [stage for status, stage in seen if status == "paused"]
    assert len(paused) > 240
    assert set(paused) == {"canary-10"}
    assert world.row().evidence["canary-10"]["paused_s"] > 4900


def test_harm_ends_a_paused_rollout_too(world: World) -> None:
    world.start()

    def pause(now: World) -> None:
        if now.row().stage == "canary-10":
            Rollouts(now.database).ask("rlt-1", "pause", "ada")
            now.answers["new-1"].fails = 0.5

    world.on_sleep = pause
    world.roll()
    assert world.row().status == "rolled_back"


def test_a_promotion_waits_for_a_person(world: World) -> None:
    world.start(approval="human")
    waited: list[str] = []

    def approve(now: World) -> None:
        if now.row().stage == "approval":
            waited.append(now.row().status)
            if len(waited) == 10:
                Rollouts(now.database).approve("rlt-1", "ada")

    world.on_sleep = approve
    world.roll()
    assert world.row().status == "promoted"
    assert set(waited[1:]) == {"waiting"}
    assert world.row().evidence["approval"]["reason"] == "Approved by ada."


def test_harm_ends_the_wait_for_a_person(world: World) -> None:
    world.start(approval="human")

    def turn_bad(now: World) -> None:
        if now.row().stage == "approval":
            now.answers["new-1"].fails = 0.5

    world.on_sleep = turn_bad
    world.roll()
    assert world.row().status == "rolled_back"


def test_an_alias_that_a_person_moved_is_left_alone(world: World) -> None:
    world.start()
    third = (Target("third", 1.0, "live"),)
    world.releases.register(Release("third", "m", "r", "", {}, 1.0, ""))

    def move(now: World) -> None:
        if now.row().stage == "canary-50":
            now.on_sleep = None
            now.answers["third"] = now.answers["old-1"]
            now.releases.point("production", third, by="ada")

    world.on_sleep = move
    world.roll()
    row = world.row()
    assert row.status == "rolled_back"
    assert "moved by somebody else" in (row.reason or "")
    assert world.releases.aliases() == {"production": third}
    assert world.health() == "HEALTHY"


def test_two_rollouts_go_one_after_the_other(world: World) -> None:
    world.start()
    world.now += 1
    world.releases.point("other", OLD)
    Rollouts(world.database).add(Rollout("rlt-2", "other", "new-1", "old-1", world.row().plan))
    kept: list[dict[str, Any]] = []

    def end_the_first(now: World) -> None:
        now.requests = 0
        kept.append(now.row("rlt-2").evidence["start"])
        if len(kept) == 3:
            Rollouts(now.database).write("rlt-1", status="aborted")
            raise Killed

    world.on_sleep = end_the_first
    with pytest.raises(Killed):
        world.roll("rlt-2")
    assert kept[-1]["missing"] == "rlt-1 is rolled out before it"
    assert "candidate" not in world.releases.aliases()


def test_a_process_that_cannot_live_is_given_up(world: World) -> None:
    world.start()
    world.releases.point("candidate", NEW, by="rlt-1")
    give_up(world.database, "rlt-1", "its process ended 5 times")
    assert world.row().status == "rolled_back"
    assert "ended 5 times" in (world.row().reason or "")
    assert world.releases.aliases() == {"production": OLD}
    give_up(world.database, "rlt-1", "again")
    assert "again" not in (world.row().reason or "")
