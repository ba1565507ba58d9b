"""A world for rollouts, on a store of its own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store import health, releases, rollouts
from gateway.store.database import Database
from tests.training.rollout.world import World


@pytest.fixture
def world(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    shutil.copy(empty_store, tmp_path / "driftgate.db")
    database = Database(f"sqlite:///{tmp_path / 'driftgate.db'}")
    made = World(database)
    for module in (health, releases, rollouts):
        monkeypatch.setattr(module, "time", made.fake_time())
    yield made
    database.close()
