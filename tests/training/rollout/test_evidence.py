"""Evidence as a fold over the log: what counts, in which order, and that it comes out the same."""

import json
import uuid
from dataclasses import replace

import pytest

from gateway.store.feedback import Feedback, FeedbackLog
from gateway.store.releases import Target
from gateway.store.traffic import Traffic, TrafficRecord
from tests.training.rollout.world import Answering, World
from training.rollout.evidence import Evidence
from training.rollout.plan import RolloutPlan


def canary(world: World, share: float = 0.5) -> None:
    targets = [Target("old-1", 1 - share, "live"), Target("new-1", share, "live")]
    world.releases.point("production", targets, by="rlt-1")


def evidence(world: World) -> Evidence:
    row = world.row()
    return Evidence(world.database, row, RolloutPlan.of(row.plan))


def score(world: World, record: TrafficRecord, value: float, later_s: float = 0.0) -> None:
    id, at = uuid.uuid4().hex, world.now + later_s
    FeedbackLog(world.database).add(
        Feedback(id, record.completion_id, None, at, value, None, None, None, {})
    )


def test_a_fold_that_begins_anew_is_the_same_as_one_that_went_on(world: World) -> None:
    world.start()
    world.answers["new-1"].fails = world.answers["old-1"].fails = 0.1
    canary(world, 0.1)
    whole = evidence(world)
    for number in range(12):
        if number == 6:
            canary(world, 0.5)
        world.sleep(20.0)
        whole.read(world.now)
    anew = evidence(world)
    anew.read(world.now)
    assert anew.failure.counts == whole.failure.counts
    assert anew.failure.counts[0] > 100
    assert anew.failure.promote == pytest.approx(whole.failure.promote)
    assert anew.failure.rollback_peak == pytest.approx(whole.failure.rollback_peak)
    assert anew.seen("canary-10") == whole.seen("canary-10") > 0
    assert anew.seen("canary-50") == whole.seen("canary-50") > 0
    assert anew.share.peak == pytest.approx(whole.share.peak)
    json.dumps(whole.told())
    assert len(whole.told()["curve"]) > 5


def test_what_is_no_draw_of_the_canary_is_left_out(world: World) -> None:
    world.start()
    before = world.answered("old-1", conversation="k-old")
    Traffic(world.database).add([before])
    world.now += 10
    canary(world)
    begin = world.now
    world.now += 100
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 2
    log = [
        world.answered("new-1"),
        world.answered("old-1"),
        world.answered("old-1", created_at=begin - 1),  # before
        world.answered("old-1", created_at=begin + 1),  # not every worker knows yet
        world.answered("old-1", conversation="k-old", messages=turns),
        world.answered("new-1", alias="candidate"),
        replace(world.answered("new-1"), shadow_of="c-1"),
    ]
    Traffic(world.database).add(log)
    found = evidence(world)
    found.read(world.now)
    assert found.failure.counts == (0, 0)  # perhaps not all of them are in the log yet
    found.read(world.now + 10)
    assert found.failure.counts == (1, 1)
    found.read(world.now + 20)
    assert found.failure.counts == (1, 1)


def test_a_client_that_waited_in_vain_saw_a_failure(world: World) -> None:
    world.start()
    canary(world)
    world.now += 100
    log = [
        world.answered("new-1", outcome="cancelled", ttft_s=None, answer=None),
        world.answered("new-1", outcome="cancelled", ttft_s=0.1),
        world.answered("new-1", outcome="error", status=400),
        world.answered("new-1", outcome="truncated"),
        world.answered("new-1", parameters={"response_format": {"type": "json_object"}}),
        world.answered("new-1"),
    ]
    Traffic(world.database).add(log)
    found = evidence(world)
    found.read(world.now + 10)
    assert found.failure.counts == (6, 0)
    assert found.failure.means[0] == 0.5


def test_people_who_score_worse_stop_a_candidate_that_never_fails(world: World) -> None:
    world.start(least_scores=20)
    canary(world)
    found = evidence(world)
    for _ in range(10):
        world.now += 20
        for record in world.arrive(60):
            good = record.release == "old-1" or world.rng.random() < 0.5
            score(world, record, 1.0 if good else 0.0)
            score(world, record, 0.0, later_s=0.1)  # a second one of the same answer
        found.read(world.now)
    found.read(world.now + 10)
    assert found.score.means[1] == 0.0
    assert found.harm() is not None
    assert "is scored worse" in str(found.harm())


def test_scores_must_speak_for_a_promotion_where_there_are_enough(world: World) -> None:
    world.start(least_scores=20)
    canary(world)
    found = evidence(world)
    for _ in range(8):
        world.sleep(20.0)
        found.read(world.now)
    assert found.missing() is None  # no scores, and no failures
    for record in world.arrive(60):
        score(world, record, 0.9)
    found.read(world.now + 10)
    assert found.score.counts[0] >= 20
    assert str(found.missing()).startswith("score: e-value")


def test_answers_that_people_score_less_often_cannot_be_compared(world: World) -> None:
    world.start(least_scores=20)
    world.answers["new-1"] = Answering()
    canary(world)
    found = evidence(world)
    for _ in range(20):
        world.now += 20
        for record in world.arrive(60):
            if record.release == "old-1" or world.rng.random() < 0.2:
                score(world, record, 0.9)
        found.read(world.now)
    assert found.harm() is None
    assert "less often" in str(found.missing())
