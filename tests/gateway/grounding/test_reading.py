"""What the gateway reads of the store for grounding."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.grounding.books import Standing
from gateway.grounding.reading import BooksReader
from gateway.store.database import Database
from gateway.store.health import Healths
from retrieval.records import Area


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
    health = reader.read().books.health
    assert health == {"production": Standing("DEGRADED"), "fresh": Standing("HEALTHY")}
    assert healths.settled("production").evidence == {"why": "DEGRADED"}
    healths.put("production", "HEALTHY", {})
    assert reader.read().books.health["production"] == Standing("HEALTHY")
    assert healths.settled("unknown").state == "HEALTHY"


def test_what_drifted_is_known_of_an_alias_that_is_warned_of(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    healths, reader = Healths(database), BooksReader(database, dict)
    drifted = [{"middle": [0.6, 0.8], "least": 0.5}]
    healths.put("production", "WARN", {"release": "r-1", "drifted": drifted})
    healths.put("worse", "DEGRADED", {"drifted": drifted})
    healths.put("old", "WARN", {"topics": ["new: lost cards"]})
    healths.put("broken", "WARN", {"drifted": [{"middle": "north"}]})
    found = reader.read().books.health
    warned = Standing("WARN", "r-1", (Area((0.6, 0.8), 0.5),))
    assert found["production"] == warned
    assert (found["worse"].drifted, found["old"].drifted, found["broken"].drifted) == ((), (), ())
    assert "what drifted of broken" in caplog.text
    healths.put("production", "RETRAINING", {})
    assert reader.read().books.health["production"] == warned
    healths.put("production", "CANARY", {"rollout": "rlt-1"})
    assert reader.read().books.health["production"] == warned
