"""What opens requests to retrain, on both databases; and which may be taken up."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.store.database import Database
from gateway.store.feedback import Feedback, FeedbackLog
from gateway.store.health import Healths
from gateway.store.loops import Loops
from gateway.store.monitoring import Monitoring, MonitorState, StoredWindow
from gateway.store.releases import Release, Releases, Target
from gateway.store.retraining import OPEN, Retraining, RetrainingRequest
from gateway.store.rollouts import Rollout, Rollouts
from gateway.store.traffic import Traffic
from tests.training.data.test_harvest import record
from training.triggers import Triggers

_SUNDAY = 1_700_967_600.0  # 2023-11-26 03:00 UTC


@dataclasses.dataclass
class World:
    """A store with the alias `production`, and a clock."""

    database: Database
    triggers: Triggers
    now: list[float]

    def loop(self, **fields: Any) -> None:
        Loops(self.database).put("production", {"least_rows": 5, "warn_windows": 3, **fields})

    def open(self) -> list[RetrainingRequest]:
        return Retraining(self.database).all("production", OPEN)

    def health(self, state: str, **evidence: Any) -> float:
        return Healths(self.database).put("production", state, evidence).since

    def corrected(self, first: int, last: int) -> None:
        for n in range(first, last):
            Traffic(self.database).add([record(n, f"question {n} of {n * 7919}", "wrong")])
            said = Feedback(
                f"f{n}", f"chatcmpl-{n}", "keyannaa", 1.0, None, None, f"a{n}", None, {}
            )
            FeedbackLog(self.database).add(said)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    url = (
        str(request.getfixturevalue("postgres_url"))
        if request.param == "postgresql"
        else f"sqlite:///{tmp_path / 'driftgate.db'}"
    )
    database = Database(url)
    database.migrate()
    releases = Releases(database)
    for id in ("m-1", "m-2"):
        releases.register(Release(id, "m", "r", "", {}, 1.0))
    releases.point("production", [Target("m-1", 1.0, "live")])
    now = [_SUNDAY - 60]
    yield World(database, Triggers(database, tmp_path, lambda: now[0]), now)
    database.close()


def test_harm_asks_once(world: World) -> None:
    world.loop()
    assert world.triggers.check() == []
    world.health("DEGRADED", harm={"probes": 1})
    (id,) = world.triggers.check()
    (request,) = world.open()
    assert (request.id, request.source, request.release) == (id, "act", "m-1")
    assert request.evidence == {"harm": {"probes": 1}}
    assert world.triggers.check() == [id]
    Retraining(world.database).close(id, "rejected", "no better")
    assert world.triggers.check() == []  # the same harm does not ask again
    world.health("RETRAINING")
    assert world.triggers.check() == []
    world.health("DEGRADED")  # as after a retraining that led to nothing
    world.now[0] = Healths(world.database).settled("production").since
    assert world.triggers.check() == []
    (request,) = world.open()
    assert "led to no promotion once, last to `rejected`" in (request.told or "")
    world.now[0] += 2 * 86_400
    assert world.triggers.check() == [request.id]


def test_without_a_loop_nothing_is_opened_and_an_alert_waits(world: World) -> None:
    world.health("DEGRADED")
    assert world.triggers.check() == []
    assert world.open() == []
    Retraining(world.database).open("production", "m-1", "x", "alert", {})
    assert world.triggers.check() == []
    (request,) = world.open()
    assert "no loop" in (request.told or "")
    world.loop()
    assert world.triggers.check() == [request.id]


def test_a_loop_that_cannot_be_used_is_told_once(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.loop(least_rows="many")
    world.health("DEGRADED")
    assert world.triggers.check() == world.triggers.check() == []
    assert capsys.readouterr().err.count("`least_rows`") == 1


def windows(world: World, count: int, since: float) -> None:
    store = Monitoring(world.database)
    state = store.state("production", "m-1") or MonitorState("production", "m-1")
    first = state.windows
    store.write(
        dataclasses.replace(state, windows=first + count),
        [
            StoredWindow("production", "m-1", n, 0.0, 0.0, [], {}, {}, since + n)
            for n in range(first, first + count)
        ],
    )


def test_drift_asks_once_it_lasts_and_there_are_rows(world: World) -> None:
    world.loop()
    world.corrected(0, 4)
    windows(world, 10, 0.0)  # before the drift
    since = world.health("WARN", alarm={"window": 9})
    windows(world, 2, since)
    assert world.triggers.check() == []
    windows(world, 1, since)
    assert world.triggers.check() == []
    assert world.open() == []  # four rows are too few
    world.corrected(4, 9)
    assert world.triggers.check() == []  # counted a moment ago
    world.now[0] += 600
    (id,) = world.triggers.check()
    (request,) = world.open()
    assert (request.id, request.source) == (id, "warn")
    assert (request.evidence["windows"], request.evidence["rows"]) == (3, 9)


def test_a_timetable_asks_once_each_time_it_is_due(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.loops.time.time", lambda: _SUNDAY - 3600)
    world.loop(schedule="0 3 * * 0", cool_down_s=0.0)
    assert world.triggers.check() == []  # the Sunday before it was set does not count
    world.now[0] = _SUNDAY
    (id,) = world.triggers.check()
    assert world.open()[0].source == "schedule"
    Retraining(world.database).close(id, "promoted")
    world.now[0] = _SUNDAY + 86_400
    assert world.triggers.check() == []
    world.now[0] = _SUNDAY + 8 * 86_400
    (later,) = world.triggers.check()
    assert later != id


def test_sources_that_are_left_out_ask_nothing(world: World) -> None:
    world.loop(sources=["alert"], schedule="* * * * *")
    world.health("DEGRADED")
    assert world.triggers.check() == []
    assert world.open() == []


def test_what_was_asked_of_a_release_that_went_is_closed(world: World) -> None:
    world.loop()
    requests = Retraining(world.database)
    alert, _ = requests.open("production", "m-1", "x", "alert", {})
    Releases(world.database).point("production", [Target("m-2", 1.0, "live")])
    assert world.triggers.check() == []
    found = requests.get(alert.id)
    assert found is not None
    assert found.outcome == "cancelled"
    assert "does not serve m-1 any more" in (found.told or "")
    person, _ = requests.open("production", "m-1", "x", "person", {})
    assert world.triggers.check() == [person.id]
    Releases(world.database).drop("production")
    assert world.triggers.check() == []
    found = requests.get(person.id)
    assert found is not None
    assert "no alias" in (found.told or "")


def test_a_rollout_under_way_is_waited_for(world: World) -> None:
    rollouts = Rollouts(world.database)
    rollouts.add(Rollout("rlt-1", "production", "m-2", "m-1", {}))
    person, _ = Retraining(world.database).open("production", "m-1", "x", "person", {})
    assert world.triggers.check() == []
    assert "rlt-1 is under way" in (world.open()[0].told or "")
    rollouts.write("rlt-1", status="aborted")
    assert world.triggers.check() == [person.id]
    assert Retraining(world.database).take(person.id)
    found = Retraining(world.database).get(person.id)
    assert found is not None
    assert found.told is None
