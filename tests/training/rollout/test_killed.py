"""Rollouts that are killed, or lose the store, around any transaction."""

import contextlib
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from gateway.store.database import Database, StoreError
from gateway.store.releases import Target
from tests.training.rollout.world import Killed, World

OLD, NEW = (Target("old-1", 1.0, "live"),), (Target("new-1", 1.0, "live"),)


class _Deadly(Database):
    """A store whose user is killed, or which goes away, around the nth transaction."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.left = -1
        self.after = False
        self.error: BaseException = Killed()

    @contextlib.contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise self.error
        with super().begin() as connection:
            yield connection
        if self.left == 0:
            raise self.error


@pytest.mark.parametrize("every", [3, 7, 13, 29, 61])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", [Killed, StoreError])
def test_killed_again_and_again_it_ends_as_if_nothing_was(
    world: World, every: int, after: bool, kind: type[BaseException]
) -> None:
    world.start()
    database = _Deadly(str(world.database.engine.url))
    database.after = after
    deaths = 0
    while True:
        # A little longer each time, so that it gets on although it begins anew.
        database.left, database.error = every + deaths, kind()
        deaths += 1
        if kind is StoreError and deaths % 2:
            database.left = every  # goes away while it works, more than once
        try:
            world.roll(database=database)
            break
        except Killed:
            continue
    database.close()
    row = world.row()
    assert row.status == "promoted", row.reason
    assert world.releases.aliases() == {"production": NEW, "previous": OLD}
    assert world.health() == "HEALTHY"
    moved = [move.why.split(" ")[0] for move in reversed(world.releases.moves("production"))]
    assert moved == ["", "shadow", "canary", "canary", "new-1"]
    if kind is Killed:
        assert deaths > 3
