"""What the gateway reads of the store for grounding."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.grounding.reading import BooksReader
from gateway.store.database import Database
from gateway.store.health import Healths


@pytest.fixture
def database(empty_store: Path, tmp_path: Path) -> Iterator[Database]:
    (tmp_path / "driftgate.db").write_bytes(empty_store.read_bytes())
    opened = Database(f"sqlite:///{tmp_path / 'driftgate.db'}")
    yield opened
    opened.close()


def test_an_alias_is_grounded_as_before_while_it_is_retrained(database: Database) -> None:
    healths, reader = Healths(database), BooksReader(database, dict)
    for state in ("WARN", "DEGRADED", "RETRAINING", "CANARY"):
        healths.put("production", state, {"why": state})
    healths.put("fresh", "RETRAINING", {})
    assert reader.read().books.health == {"production": "DEGRADED", "fresh": "HEALTHY"}
    assert healths.settled("production").evidence == {"why": "DEGRADED"}
    healths.put("production", "HEALTHY", {})
    assert reader.read().books.health["production"] == "HEALTHY"
    assert healths.settled("unknown").state == "HEALTHY"
