"""What others write to a store is seen; what nobody writes costs no read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.changes import Changes
from gateway.store.database import Database
from gateway.store.keys import Keys


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'driftgate.db'}")
    opened.migrate()
    yield opened
    opened.close()


def test_a_write_is_seen_once(database: Database, tmp_path: Path) -> None:
    changes = Changes(database)
    assert changes.any()  # nothing is known yet
    assert not changes.any()
    Keys(database).create("one", {"inference"})
    assert changes.any()
    assert not changes.any()
    other = Database(f"sqlite:///{tmp_path / 'driftgate.db'}")  # as another process would
    Keys(other).create("two", {"inference"})
    other.close()
    assert changes.any()
    changes.close()
    assert changes.any()  # from anew
    changes.close()


def test_a_store_that_cannot_be_asked_may_have_changed(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    database = Database(f"sqlite:///{folder / 'driftgate.db'}")
    folder.rmdir()
    changes = Changes(database)
    assert changes.any()
    assert changes.any()


@pytest.mark.services
def test_postgresql_does_not_tell(postgres_url: str) -> None:
    database = Database(postgres_url)
    changes = Changes(database)
    assert changes.any()
    assert changes.any()
    database.close()
