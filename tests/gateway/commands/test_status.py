"""`driftgate status`: one screen, and the same as JSON."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.commands.status import app
from gateway.store.database import Database
from gateway.store.engines import Engine, Engines, EngineState
from gateway.store.health import Healths
from gateway.store.keys import KeyLimits, Keys
from gateway.store.ledger import DAY, Lease, Ledger
from gateway.store.monitoring import Monitoring, MonitorState
from gateway.store.releases import Release, Releases, Target
from gateway.store.retraining import Retraining
from gateway.store.rollouts import Rollout, Rollouts
from gateway.store.vector_stores import VectorStore, VectorStores
from tests.gateway.running import RunningGateway

_HOUR = 3600.0


@pytest.fixture
def busy(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A store with something of everything; no gateway runs."""
    shutil.copy(empty_store, tmp_path / "driftgate.db")
    monkeypatch.setenv("DRIFTGATE_HOME", str(tmp_path))
    monkeypatch.setenv("DRIFTGATE_PORT", "1")
    database = Database(f"sqlite:///{tmp_path / 'driftgate.db'}")
    releases = Releases(database)
    now = time.time()
    for name in ("old", "new"):
        releases.register(Release(name, "stub", "r1", "", {}, now))
    releases.point("production", [Target("old", 0.9, "live"), Target("new", 0.1, "live")])
    Engines(database).put(
        Engine("blue", "box", "old", "unix:x", EngineState.READY, 1, 0, None, now - 2 * _HOUR)
    )
    Healths(database).put("production", "WARN", {"release": "old"})
    return database


def _status(*arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    return done.output


def test_what_is_under_way_is_on_the_screen(busy: Database) -> None:
    rollout = Rollouts(busy).add(Rollout("rlt-1", "production", "new", "old", {}, stage="shadow"))
    text = _status()
    assert "Driftgate away" in text
    for line in (
        ("production", "WARN", "new", "10% live, no engine is ready"),
        ("old", "90% live"),
        ("box blue", "ready", "old", "2 h"),
        (rollout.id, "running", "new → production: shadow"),
    ):
        assert any(all(part in shown for part in line) for shown in text.splitlines()), line
    assert "vector store" not in text  # nothing is shown of what there is nothing of
    seen = json.loads(_status("--json"))
    assert seen["gateway"]["status"] == "away"
    assert seen["rollouts"][0]["id"] == rollout.id
    assert seen["last_hour"] == {"requests": 0, "failed": 0, "p95_s": None}


def test_what_waits_and_what_is_nearly_used_up_is_shown(busy: Database) -> None:
    Retraining(busy).open("production", "old", "answers got worse", "act", {})
    VectorStores(busy).add(VectorStore("vs_1", None, time.time(), "handbook"))
    signals: dict[str, dict[str, Any]] = {
        "all": {"kind": "drift", "evidence": 3.25, "threshold": 20.0},
        "probes": {"kind": "harm", "evidence": None, "threshold": 20.0},
    }
    Monitoring(busy).write(MonitorState("production", "old", windows=7, signals=signals))
    keys = Keys(busy)
    full, _ = keys.create("nearly", ("inference",), KeyLimits(tokens_per_day=100))
    keys.create("fresh", ("inference",), KeyLimits(tokens_per_day=100))
    today = int(time.time() // 86_400 * 86_400)
    Ledger(busy).book(
        {full.prefix: {(DAY, today): 90}}, Lease("test", time.time(), time.time() + 60)
    )
    text = _status()
    for part in ("answers got worse", "vs_1", "handbook", "all 3.25 of 20"):
        assert part in text
    assert "probes" not in text  # nothing is known of it yet
    (line,) = [line for line in text.splitlines() if "tokens a day" in line]
    assert "nearly" in line
    assert "90%" in line


def test_a_running_gateway_answers(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTGATE_HOME", str(gateway.home))
    monkeypatch.setenv("DRIFTGATE_PORT", gateway.url.rpartition(":")[2])
    seen = json.loads(_status("--json"))
    assert seen["gateway"]["status"] == "ready"
    assert seen["gateway"]["store"] == "up"
    assert seen["aliases"][0]["targets"][0]["ready_engines"] == 1
