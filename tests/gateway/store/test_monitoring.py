"""The monitor's states, windows and transitions of health in the store."""

import shutil
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.store.database import Database, StoreError
from gateway.store.feedback import Feedback, FeedbackLog
from gateway.store.health import AliasHealth, Healths
from gateway.store.monitoring import (
    ChangedMeanwhile,
    Monitoring,
    MonitorState,
    Place,
    StoredWindow,
)
from gateway.store.traffic import Traffic, TrafficRecord

pytestmark = pytest.mark.services


@pytest.fixture(params=["sqlite", "postgresql"])
def database(
    request: pytest.FixtureRequest, empty_store: Path, tmp_path: Path
) -> Iterator[Database]:
    if request.param == "sqlite":
        shutil.copy(empty_store, tmp_path / "x.db")
        database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    else:
        database = Database(request.getfixturevalue("postgres_url"))
        database.migrate()
    yield database
    database.close()


def _window(number: int, **evidence: float) -> StoredWindow:
    return StoredWindow("m", "r", number, 1.0, 2.0, ["a"], {"far": [0.5]}, evidence, float(number))


def _record(id: str, at: float, **values: Any) -> TrafficRecord:
    every: dict[str, Any] = {field.name: None for field in fields(TrafficRecord)}
    every |= {
        "completion_id": id, "created_at": at, "operation": "chat", "alias": "m", "release": "r",
        "duration_s": 1.0, "outcome": "done", "status": 200, "metadata": {},
    }  # fmt: skip
    return TrafficRecord(**every | values)


def test_a_state_its_windows_and_the_health_are_written_together(database: Database) -> None:
    monitoring = Monitoring(database)
    first = monitoring.write(MonitorState("m", "r", windows=1), [_window(0, far=2.0)])
    assert monitoring.state("m", "r") == first
    assert first.version == 1
    warn = AliasHealth("m", "WARN", {"drift": 50_000.0}, 7.0)
    monitoring.write(replace(first, windows=2), [_window(1, far=3.0)], warn)
    assert [window.evidence for window in monitoring.windows("m", "r")] == [
        {"far": 2.0}, {"far": 3.0},
    ]  # fmt: skip
    assert Healths(database).get("m") == warn
    (change,) = Healths(database).transitions("m")
    assert (change.before, change.after, change.at) == ("HEALTHY", "WARN", 7.0)


def test_two_monitors_do_not_count_a_window_twice(database: Database) -> None:
    monitoring = Monitoring(database)
    with pytest.raises(StoreError):  # the window's number is taken: nothing of it is written
        monitoring.write(MonitorState("m", "r"), [_window(0), _window(0)])
    read = monitoring.write(MonitorState("m", "r"))
    monitoring.write(replace(read, windows=1), [_window(0)])
    with pytest.raises(ChangedMeanwhile):
        monitoring.write(replace(read, windows=1), [_window(0)], AliasHealth("m", "WARN", {}, 1.0))
    with pytest.raises(ChangedMeanwhile):
        monitoring.write(MonitorState("m", "r"))
    assert len(monitoring.windows("m", "r")) == 1
    assert Healths(database).all() == []


def test_arrivals_come_in_order_and_each_once(database: Database) -> None:
    Traffic(database).add(
        [_record("b", 2.0), _record("a", 2.0), _record("late", 9.0), _record("first", 1.0)]
    )
    Traffic(database).add([_record("other", 2.0, release="s"), _record("another", 2.0, alias="n")])
    monitoring = Monitoring(database)
    two = monitoring.arrivals("m", "r", Place(0.0, ""), 5.0, 2)
    assert [record.completion_id for record in two] == ["first", "a"]
    rest = monitoring.arrivals("m", "r", Place(2.0, "a"), 5.0, 10)
    assert [record.completion_id for record in rest] == ["b"]
    known = {record.completion_id for record in monitoring.requests(["b", "gone"])}
    assert known == {"b"}


def test_scores_are_read_by_the_time_of_the_feedback(database: Database) -> None:
    Traffic(database).add([_record("a", 1.0), _record("b", 2.0)])
    for number, (completion, score) in enumerate([("b", 0.2), ("a", None), ("a", 1.0)]):
        said = Feedback(f"f{number}", completion, None, 10.0 + number, score, None, None, None, {})
        FeedbackLog(database).add(said)
    found = Monitoring(database).scores("m", "r", Place(0.0, ""), 100.0, 10)
    assert [(id, score) for _, id, score in found] == [("b", 0.2), ("a", 1.0)]
    assert Monitoring(database).scores("m", "r", found[-1][0], 100.0, 10) == []


def test_a_state_that_goes_on_is_no_transition(database: Database) -> None:
    healths = Healths(database)
    began = healths.put("m", "WARN", {"drift": 1.0}).since
    assert healths.put("m", "WARN", {"drift": 2.0}).since == began
    assert len(healths.transitions()) == 1
    healths.put("m", "HEALTHY", {})
    assert [(c.before, c.after) for c in healths.transitions()] == [
        ("WARN", "HEALTHY"), ("HEALTHY", "WARN"),
    ]  # fmt: skip


def test_old_windows_are_deleted(database: Database) -> None:
    Monitoring(database).write(MonitorState("m", "r"), [_window(0), _window(1), _window(2)])
    assert Monitoring(database).purge(2.0) == 2
    assert [window.number for window in Monitoring(database).windows("m", "r")] == [2]
