import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.store.database import Database
from gateway.store.releases import MovedMeanwhile, Release, Releases, Target, release_id

Make = Callable[..., Release]


def test_the_id_is_made_of_the_digests_whatever_their_order() -> None:
    one = release_id("m", {"a": "1", "b": "2"})
    assert one == release_id("m", {"b": "2", "a": "1"})
    assert one.startswith("m-")
    assert len(one) == len("m-") + 8
    others = {release_id("m", {"a": "2", "b": "1"}), release_id("m", {"a": "1"})}
    assert one not in others
    assert len(others) == 2


def test_a_release_comes_back_as_it_went_in(database: Database, release: Make) -> None:
    releases = Releases(database)
    full = release(
        "m-2",
        created_at=2.0,
        source="hub",
        base_release="m-1",
        dataset="d",
        adapter_path="/a",
        recipe={"rank": 8},
        evaluation={"score": 0.5},
        trigger="drift",
        job="j",
    )
    first = release("m-1")
    assert releases.register(full) == full
    assert releases.register(first) == first
    assert releases.all() == [first, full]
    assert releases.get("m-2") == full
    assert releases.get("m-3") is None


def test_a_release_never_changes(database: Database, release: Make) -> None:
    releases = Releases(database)
    first = releases.register(release("m-1"))
    assert releases.register(release("m-1", path="/elsewhere")) == first
    assert releases.all() == [first]


def test_many_may_register_the_same_release(database: Database, release: Make) -> None:
    releases = Releases(database)
    barrier = threading.Barrier(4)

    def register(i: int) -> Release:
        barrier.wait(10)
        return releases.register(release("m-1", path=f"/{i}"))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(register, range(4)))
    assert found == releases.all() * 4


def test_an_alias_points_at_releases(database: Database, release: Make) -> None:
    releases = Releases(database)
    for id in ("m-1", "m-2", "m-3"):
        releases.register(release(id))
    mixed = (Target("m-1", 0.9, "live"), Target("m-2", 0.1, "live"), Target("m-3", 0.5, "shadow"))
    releases.point("production", mixed)
    releases.point("candidate", [Target("m-3", 1.0, "live")])
    assert releases.aliases() == {
        "candidate": (Target("m-3", 1.0, "live"),),
        "production": mixed,
    }
    releases.point("production", [Target("m-2", 1.0, "live")])
    assert releases.aliases()["production"] == (Target("m-2", 1.0, "live"),)


def test_an_unknown_release_leaves_the_alias_as_it_was(database: Database, release: Make) -> None:
    releases = Releases(database)
    releases.register(release("m-1"))
    before = [Target("m-1", 1.0, "live")]
    releases.point("production", before)
    with pytest.raises(KeyError, match="m-9"):
        releases.point("production", [Target("m-1", 0.5, "live"), Target("m-9", 0.5, "live")])
    assert releases.aliases() == {"production": tuple(before)}


@pytest.mark.parametrize(
    "targets",
    [
        [],
        [Target("m-1", -0.1, "live")],
        [Target("m-1", float("nan"), "live")],
        [Target("m-1", float("inf"), "live")],
        [Target("m-1", 0.0, "live")],
        [Target("m-1", 1.0, "shadow")],
        [Target("m-1", 1.0, "dark")],
        [Target("m-1", 0.5, "live"), Target("m-1", 0.5, "live")],
    ],
)
def test_wrong_targets_are_refused(
    database: Database, release: Make, targets: list[Target]
) -> None:
    releases = Releases(database)
    releases.register(release("m-1"))
    with pytest.raises(ValueError, match=r"mode|weight|twice|live"):
        releases.point("production", targets)
    assert releases.aliases() == {}


@pytest.mark.parametrize("alias", ["", "a\x00", "a\n", "x" * 201])
def test_a_wrong_alias_is_refused(database: Database, alias: str) -> None:
    with pytest.raises(ValueError, match="alias"):
        Releases(database).point(alias, [Target("m-1", 1.0, "live")])


def test_aliases_pointed_at_once_are_never_mixed(database: Database, release: Make) -> None:
    releases = Releases(database)
    wanted = [(Target(f"m-{i}", 1.0, "live"),) for i in range(4)]
    for (target,) in wanted:
        releases.register(release(target.release))
    for _ in range(5):
        barrier = threading.Barrier(4)

        def point(targets: tuple[Target, ...], barrier: threading.Barrier = barrier) -> None:
            barrier.wait(10)
            releases.point("production", targets)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(point, wanted))
        assert releases.aliases()["production"] in wanted


def test_moves_of_an_alias_are_noted_with_who_and_why(database: Database, release: Make) -> None:
    releases = Releases(database)
    for id in ("m-1", "m-2"):
        releases.register(release(id))
    one, two = [Target("m-1", 1.0, "live")], [Target("m-2", 1.0, "live")]
    releases.point("production", one)
    releases.point("production", one)  # no move
    releases.point("production", two, by="rlt-1", why="better")
    releases.drop("production", by="ada")
    assert not releases.drop("production")
    last, moved, first = releases.moves("production")
    assert (first.before, first.after) == ((), tuple(one))
    assert (moved.before, moved.after, moved.by, moved.why) == (
        tuple(one), tuple(two), "rlt-1", "better",
    )  # fmt: skip
    assert (last.after, last.by) == ((), "ada")
    assert releases.moves("candidate") == []
    assert releases.aliases() == {}


def test_an_alias_moved_meanwhile_is_left_alone(database: Database, release: Make) -> None:
    releases = Releases(database)
    for id in ("a", "b", "c"):
        releases.register(release(id))
    split = [Target("b", 0.25, "live"), Target("a", 0.75, "live")]
    releases.point("p", [Target("a", 1.0, "live")])
    releases.point("p", split, expected=[Target("a", 1.0, "live")])
    for expected in ([Target("a", 1.0, "live")], [], [split[0]]):
        with pytest.raises(MovedMeanwhile):
            releases.point("p", [Target("c", 1.0, "live")], expected=expected)
        with pytest.raises(MovedMeanwhile):
            releases.drop("p", expected=expected)
    assert set(releases.aliases()["p"]) == set(split)
    assert len(releases.moves("p")) == 2
    assert releases.drop("p", expected=split[::-1])  # in whatever order
    with pytest.raises(MovedMeanwhile):
        releases.drop("p", expected=split)
    releases.point("p", [Target("c", 1.0, "live")], expected=[])
    assert releases.aliases()["p"] == (Target("c", 1.0, "live"),)
