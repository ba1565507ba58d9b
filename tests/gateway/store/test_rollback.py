"""What an alias goes back to, and what else ends with that."""

import time
from collections.abc import Callable

import pytest

from gateway.store.database import Database
from gateway.store.engines import Engine, Engines, EngineState
from gateway.store.releases import MovedMeanwhile, Release, Releases, Target
from gateway.store.rollback import CannotRollBack, Rollback
from gateway.store.rollouts import PROMOTED, ROLLED_BACK, Rollout, Rollouts, rollout_id

ReleaseMaker = Callable[..., Release]


@pytest.fixture
def releases(database: Database, release: ReleaseMaker) -> Releases:
    """Releases a to d, each with an engine that is ready."""
    made, engines = Releases(database), Engines(database)
    for id in "abcd":
        made.register(release(id))
        engines.put(Engine(id, "h", id, "unix:/x", EngineState.READY, None, 0, None, time.time()))
    return made


def _live(**weights: float) -> list[Target]:
    return [Target(release, weight, "live") for release, weight in weights.items()]


def _promote(releases: Releases, old: str, new: str) -> None:
    """As a rollout does it, from shadow to the end."""
    releases.point("m", [*_live(**{old: 1.0}), Target(new, 0.5, "shadow")])
    for share in (0.01, 0.25):
        releases.point("m", _live(**{old: 1 - share, new: share}))
    releases.point("m", _live(**{new: 1.0}))


def _rollout(database: Database, previous: str, candidate: str, alias: str = "m") -> Rollout:
    return Rollouts(database).add(Rollout(rollout_id(), alias, candidate, previous, {}))


def _roll_back(
    database: Database, release: str | None = None, *, force: bool = False
) -> tuple[Target, ...]:
    done = Rollback(database).roll_back("m", by="me", why="bad", release=release, force=force)
    assert Releases(database).aliases()["m"] == done.targets
    return done.targets


def _refused(database: Database, release: str | None = None) -> str:
    before = Releases(database).aliases()
    with pytest.raises(CannotRollBack) as caught:
        Rollback(database).roll_back("m", by="me", why="bad", release=release)
    assert Releases(database).aliases() == before
    return caught.value.code


def test_a_promotion_is_taken_back(database: Database, releases: Releases) -> None:
    releases.point("m", _live(a=1.0))
    rollout = _rollout(database, "a", "b")
    _promote(releases, "a", "b")
    releases.point("previous", _live(a=1.0))
    Rollouts(database).write(rollout.id, status=PROMOTED, reason="better")
    done = Rollback(database).roll_back("m", by="me", why="it got worse")
    assert done.targets == (Target("a", 1.0, "live"),)
    assert (done.gone, done.undone, done.aborted) == ("b", rollout.id, None)
    after = Rollouts(database).get(rollout.id)
    assert after is not None
    assert (after.status, after.reason) == (ROLLED_BACK, "it got worse")
    assert "previous" not in releases.aliases()
    move = releases.moves("m")[0]
    assert (move.by, move.why) == ("me", "it got worse")


def test_two_who_roll_back_go_back_once(database: Database, releases: Releases) -> None:
    releases.point("m", _live(a=1.0))
    _promote(releases, "a", "b")
    _promote(releases, "b", "c")
    assert _roll_back(database) == tuple(_live(b=1.0))
    assert _refused(database) == "rolled_back_already"
    # Who names what is to go may ask as often as wanted.
    assert _roll_back(database, "c") == tuple(_live(b=1.0))
    assert _roll_back(database, "b") == tuple(_live(a=1.0))
    assert _roll_back(database, "b") == tuple(_live(a=1.0))
    assert _refused(database, "a") == "nothing_to_roll_back"


def test_what_was_gone_back_from_is_not_gone_back_to(
    database: Database, releases: Releases
) -> None:
    releases.point("m", _live(a=1.0))
    _promote(releases, "a", "b")
    _roll_back(database)
    _promote(releases, "a", "c")
    assert _roll_back(database) == tuple(_live(a=1.0))


def test_what_is_promoted_again_can_be_taken_back_again(
    database: Database, releases: Releases
) -> None:
    releases.point("m", _live(a=1.0))
    for new in ("b", "c", "a"):
        releases.point("m", _live(**{new: 1.0}))
    assert _roll_back(database) == tuple(_live(c=1.0))


def test_a_canary_goes_first_and_its_rollout_with_it(
    database: Database, releases: Releases
) -> None:
    releases.point("m", _live(a=1.0))
    _promote(releases, "a", "b")
    rollout = _rollout(database, "b", "c")
    releases.point("m", _live(b=0.75, c=0.25))
    done = Rollback(database).roll_back("m", by="me", why="bad")
    assert done.targets == tuple(_live(b=1.0))
    assert (done.gone, done.aborted) == ("c", rollout.id)
    after = Rollouts(database).get(rollout.id)
    assert after is not None
    assert (after.wish, after.wished_by) == ("abort", "me")
    # The second of two, while the worker has not seen the wish, and afterwards.
    assert _refused(database) == "rolled_back_already"
    assert _roll_back(database, "b") == tuple(_live(a=1.0))


def test_a_shadow_goes_as_a_canary_does(database: Database, releases: Releases) -> None:
    releases.point("m", _live(a=1.0))
    _rollout(database, "a", "b")
    releases.point("m", [*_live(a=1.0), Target("b", 1.0, "shadow")])
    assert _roll_back(database) == tuple(_live(a=1.0))


def test_a_rollout_that_has_not_reached_the_alias_is_aborted_beside(
    database: Database, releases: Releases
) -> None:
    releases.point("m", _live(a=1.0))
    _promote(releases, "a", "b")
    rollout = _rollout(database, "b", "c")
    named = Rollback(database).roll_back("m", by="me", why="bad", release="c")
    assert (named.targets, named.moved, named.aborted) == (tuple(_live(b=1.0)), False, rollout.id)
    assert _roll_back(database) == tuple(_live(a=1.0))


def test_a_promotion_beyond_half_is_one_step(database: Database, releases: Releases) -> None:
    releases.point("m", _live(a=1.0))
    releases.point("m", _live(a=0.4, b=0.6))
    releases.point("m", _live(b=1.0))
    assert _roll_back(database) == tuple(_live(a=1.0))


def test_an_experiment_comes_back_as_it_was(database: Database, releases: Releases) -> None:
    releases.point("m", _live(a=0.6, b=0.2))
    releases.point("m", _live(a=0.3, b=0.1, c=0.4))
    releases.point("m", _live(c=1.0))
    targets = _roll_back(database)
    assert {target.release: round(target.weight, 6) for target in targets} == {"a": 0.75, "b": 0.25}


def test_a_release_without_a_ready_engine_must_be_forced(
    database: Database, releases: Releases
) -> None:
    releases.point("m", _live(a=1.0))
    releases.point("m", _live(b=1.0))
    Engines(database).remove("h", "a")
    assert _refused(database) == "release_not_ready"
    assert _roll_back(database, force=True) == tuple(_live(a=1.0))


def test_what_cannot_be_rolled_back_says_why(database: Database, releases: Releases) -> None:
    assert _refused(database) == "alias_not_found"
    releases.point("m", _live(a=1.0))
    assert _refused(database) == "nothing_to_roll_back"
    assert _refused(database, "z") == "release_not_found"
    releases.point("m", _live(a=0.4, b=0.6))
    assert _refused(database, "a") == "release_not_leading"


def test_an_alias_that_moves_all_the_time_is_left_alone(
    database: Database, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases.point("m", _live(a=1.0))
    releases.point("m", _live(b=1.0))

    def moved(*_: object, **__: object) -> None:
        raise MovedMeanwhile("m")

    monkeypatch.setattr(Releases, "point", moved)
    assert _refused(database) == "moved_meanwhile"
