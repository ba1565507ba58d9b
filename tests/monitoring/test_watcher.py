"""The watch of a release: from traffic in the store to evidence and health in the store."""

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.store.database import Database, StoreError
from gateway.store.health import Healths
from gateway.store.monitoring import Monitoring, MonitorState
from gateway.store.releases import Release, Releases, Target
from gateway.store.traffic import Traffic, TrafficRecord
from monitoring.monitor import Monitor, MonitorRunning, alone
from monitoring.reference import ReferenceUnusable, Vectors
from monitoring.replay import replayed
from monitoring.settings import MonitorSettings
from monitoring.watcher import Watcher
from retrieval.client import RetrievalUnavailable

from .traffic import TopicEmbedder, record

_NOW = 1_000_000.0
_WORDS = ("please", "could", "you", "tell", "me", "how", "this", "works", "today", "since", "it")


class World:
    """A store, a clock, and traffic that goes on."""

    def __init__(self, database: Database, home: Path, **settings: Any) -> None:
        self.database, self.now = database, 0.0
        self.settings = MonitorSettings.model_construct(
            home=home, monitor_reference_rows=400, monitor_window=50, monitor_settle_s=0.0,
            monitor_false_alarm_windows=1000.0, monitor_baseline=200, monitor_tolerance=0.05,
            monitor_harm_alpha=0.01, monitor_keep_days=90.0, monitor_window_every_s=0.0,
            **settings,
        )  # fmt: skip
        self.store, self.healths = Monitoring(database), Healths(database)
        self.rng = np.random.default_rng(0)
        self.sent = 0

    def watcher(self, embedder: Any = None, **values: Any) -> Watcher:
        return Watcher(
            "m", "r", self.store, self.healths, embedder or TopicEmbedder(), self.settings,
            clock=lambda: self.now, **values,
        )  # fmt: skip

    def send(
        self, count: int, topics: str = "card loan rate", **values: Any
    ) -> list[TrafficRecord]:
        """Let requests of random topics come, a second apart."""
        found = []
        for _ in range(count):
            topic = str(self.rng.choice(topics.split()))
            words = " ".join(self.rng.choice(_WORDS, self.rng.poisson(6) + 3))
            self.now += 1.0
            self.sent += 1
            found.append(record(f"c{self.sent:05}", self.now, f"{topic} {words}", **values))
        Traffic(self.database).add(found)
        self.now += 1.0
        return found

    def state(self) -> MonitorState:
        found = self.store.state("m", "r")
        assert found is not None
        return found

    def health(self) -> str:
        found = self.healths.get("m")
        return "HEALTHY" if found is None else found.state


@pytest.fixture
def database(empty_store: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(empty_store, tmp_path / "x.db")
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    yield database
    database.close()


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path)


def _steps(watcher: Watcher) -> list[MonitorState]:
    async def all_of_them() -> list[MonitorState]:
        found = []
        while (state := await watcher.step()) is not None:
            found.append(state)
        return found

    return asyncio.run(all_of_them())


def test_the_first_requests_become_the_reference_and_the_next_are_judged(world: World) -> None:
    watcher = world.watcher()
    world.send(399)
    assert [state.stage for state in _steps(watcher)] == ["no_reference"]
    assert not watcher.folder.exists()
    world.send(121)
    states = _steps(watcher)
    assert [state.windows for state in states] == [1, 2, 3]  # the reference, then two windows
    assert (watcher.folder / "manifest.json").is_file()
    state = world.state()
    assert (state.stage, state.reference_rows, state.requests) == ("watching", 400, 100)
    assert state.descriptors["prompt_words"]["now"] == pytest.approx(10, abs=2)
    assert set(state.signals) >= {"far", "crowded", "length", "all"}
    assert _steps(watcher) == []
    assert world.health() == "HEALTHY"


def test_usual_traffic_is_no_alarm_and_a_new_topic_is(world: World) -> None:
    watcher = world.watcher()
    world.send(400 + 1500)
    _steps(watcher)
    assert world.health() == "HEALTHY"
    assert world.state().signals["all"]["evidence"] < 50
    world.send(600, "card loan rate crypto")
    _steps(watcher)
    assert world.health() == "WARN"
    now = world.healths.get("m")
    assert now is not None
    assert any("new: crypto" in news for news in now.evidence["topics"])
    alarm = world.healths.transitions("m")[0].evidence["alarm"]
    assert alarm["evidence"] >= 1000
    assert 28 <= alarm["began"] <= alarm["window"] <= 40  # the new topic came with window 31
    world.send(2500)
    _steps(watcher)
    assert world.health() == "HEALTHY"
    assert [change.after for change in world.healths.transitions("m")] == ["HEALTHY", "WARN"]


def test_drift_that_lasts_alarms_again(world: World) -> None:
    watcher = world.watcher()
    world.send(400)
    world.send(1500, "card loan rate crypto")
    _steps(watcher)
    alarms = [
        window.number
        for window in world.store.windows("m", "r")
        if window.evidence.get("all", 0) >= 1000
    ]
    assert len(alarms) >= 2
    assert world.health() == "WARN"


def test_worse_answers_degrade_and_stay_so_until_somebody_clears(world: World) -> None:
    watcher = world.watcher()
    world.send(800, parameters={"response_format": {"type": "json_object"}}, answer="{}")
    _steps(watcher)
    assert world.state().signals["format"]["limit"] is not None
    world.send(200, parameters={"response_format": {"type": "json_object"}}, answer="no JSON")
    _steps(watcher)
    assert world.health() == "DEGRADED"
    world.send(200, parameters={"response_format": {"type": "json_object"}}, answer="{}")
    _steps(watcher)
    assert world.health() == "DEGRADED"
    assert watcher.restart("the template was wrong") is not None
    assert world.health() == "HEALTHY"
    world.send(100, parameters={"response_format": {"type": "json_object"}}, answer="{}")
    _steps(watcher)
    assert world.health() == "HEALTHY"
    stored = list(replayed(world.store, "m", "r", world.settings.levels()))
    assert [each.window.number for each in stored] == list(range(world.state().windows))
    assert all(each.equal for each in stored)


def test_another_release_begins_healthy(world: World) -> None:
    world.healths.put("m", "DEGRADED", {"release": "older"})
    world.send(500)
    _steps(world.watcher())
    assert world.health() == "HEALTHY"


def test_a_retraining_under_way_is_not_written_over(world: World) -> None:
    world.healths.put("m", "CANARY", {"release": "r"})
    world.send(500)
    _steps(world.watcher())
    assert world.health() == "CANARY"
    assert world.state().windows == 3


def test_a_release_that_does_not_lead_leaves_the_health_alone(world: World) -> None:
    world.send(500)
    _steps(world.watcher(leads=False))
    assert world.healths.all() == []


def test_a_monitor_that_is_killed_in_any_window_loses_and_repeats_nothing(
    database: Database, tmp_path: Path
) -> None:
    def evidence(home: Path, *, killed: bool) -> list[dict[str, float]]:
        home.mkdir()
        shutil.copy(tmp_path / "x.db", home / "x.db")
        own = Database(f"sqlite:///{home / 'x.db'}")
        world = World(own, home)
        world.send(400 + 60)
        watcher = world.watcher()
        _steps(watcher)
        for number in range(8):
            if killed:
                watcher = world.watcher(_Failing(world, number))
                with pytest.raises((StoreError, RetrievalUnavailable)):
                    world.send(50, "card loan rate crypto")
                    _steps(watcher)
                watcher = world.watcher()  # what a monitor starts with
                watcher._embedder = TopicEmbedder()
            else:
                world.send(50, "card loan rate crypto")
            _steps(watcher)
        found = [window.evidence for window in world.store.windows("m", "r")]
        own.close()
        return found

    straight, halting = (evidence(tmp_path / n, killed=n == "b") for n in ("a", "b"))
    assert len(straight) == 10
    assert halting == straight


class _Failing:
    """Fails at embedding, or makes the writing fail."""

    def __init__(self, world: World, number: int) -> None:
        self._world, self._number = world, number

    async def vectors(self, texts: Any) -> Vectors:
        if self._number % 2 and len(texts) == 50:
            raise RetrievalUnavailable("gone")
        if len(texts) == 50:  # another monitor was faster: this one must not write
            state = self._world.state()
            self._world.store.write(state)
        return await TopicEmbedder().vectors(texts)


def test_prompts_that_are_not_kept_are_a_state_of_their_own(world: World) -> None:
    for _ in range(300):
        world.now += 1
        world.sent += 1
        Traffic(world.database).add([record(f"c{world.sent}", world.now, None)])
    world.now += 1
    watcher = world.watcher()
    _steps(watcher)
    assert world.state().stage == "no_text"
    assert world.health() == "HEALTHY"
    world.send(460)
    _steps(watcher)
    assert world.state().stage == "watching"


def test_a_damaged_reference_is_told_and_not_replaced(world: World) -> None:
    world.send(500)
    watcher = world.watcher()
    _steps(watcher)
    (watcher.folder / "rows.jsonl").write_text("")
    with pytest.raises(ReferenceUnusable, match="not what was frozen"):
        _steps(world.watcher())


def test_losses_beside_the_windows_count_without_requests(world: World) -> None:
    world.send(400)
    watcher = world.watcher()
    _steps(watcher)
    watcher.add_losses("probes", [0.0] * 200)
    _steps(watcher)
    watcher.add_losses("probes", [1.0] * 30)
    _steps(watcher)
    assert world.health() == "DEGRADED"
    assert world.state().requests == 0


def test_the_monitor_looks_at_every_live_release_and_goes_on_past_a_failure(world: World) -> None:
    releases = Releases(world.database)
    for id in ("r", "s"):
        releases.register(Release(id, "model", "1", "/x", {}, 0.0))
    releases.point("m", [Target("r", 0.9, "live"), Target("s", 0.1, "live")])
    releases.point("n", [Target("s", 1.0, "live")])
    world.send(500)
    Traffic(world.database).add(
        [replace(each, completion_id=f"n{each.completion_id}", alias="n", release="s")
         for each in world.send(500)]
    )  # fmt: skip
    monitor = Monitor(world.settings, world.database, TopicEmbedder(), clock=lambda: world.now)
    written = asyncio.run(monitor.cycle())
    assert {(state.alias, state.release) for state in written} == {
        ("m", "r"),
        ("m", "s"),
        ("n", "s"),
    }
    assert {(a, r): w.leads for (a, r), w in monitor.watchers.items()} == {
        ("m", "r"): True, ("m", "s"): False, ("n", "s"): True,
    }  # fmt: skip
    shutil.rmtree(monitor.watchers["m", "r"].folder)
    (monitor.watchers["m", "r"].folder).mkdir()
    world.send(100)
    again = Monitor(world.settings, world.database, TopicEmbedder(), clock=lambda: world.now)
    asyncio.run(again.cycle())
    assert set(again.failures) == {"m"}
    assert world.health() == "HEALTHY"
    releases.point("n", [Target("r", 1.0, "live")])
    asyncio.run(again.cycle())
    assert ("n", "s") not in again.watchers


def test_one_monitor_works_in_a_folder(tmp_path: Path) -> None:
    with alone(tmp_path):
        with pytest.raises(MonitorRunning), alone(tmp_path):
            pass
    with alone(tmp_path):
        pass
