"""`driftgate alias`: what it shows, where it points, how it goes back."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.commands.alias import app
from gateway.store.database import Database
from gateway.store.engines import Engine, Engines, EngineState
from gateway.store.releases import Release, Releases, Target
from gateway.store.rollouts import Rollout, Rollouts, rollout_id


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setenv("DRIFTGATE_HOME", str(tmp_path))
    monkeypatch.delenv("DRIFTGATE_DATABASE_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("LOGNAME", "ada")
    opened = Database(f"sqlite:///{tmp_path / 'driftgate.db'}")
    opened.migrate()
    for id in ("m-1", "m-2"):
        Releases(opened).register(Release(id, "m", "r", "", {}, time.time()))
        engine = Engine(id, "h", id, "unix:/x", EngineState.READY, None, 0, None, time.time())
        Engines(opened).put(engine)
    yield opened
    opened.close()


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def _json(*arguments: str) -> Any:
    result = _run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def _refused(*arguments: str) -> str:
    result = _run(*arguments)
    assert result.exit_code == 2, result.output
    return result.stderr


def test_point_and_show_who_moved_it(database: Database) -> None:
    assert _run("point", "production", "m-1").exit_code == 0
    moved = _run("point", "production", "m-1=0.9", "m-2=0.1", "--reason", "a canary by hand")
    assert "m-2 0.1 live" in moved.stdout
    assert Releases(database).aliases()["production"] == (
        Target("m-1", 0.9, "live"),
        Target("m-2", 0.1, "live"),
    )
    shown = _json("show", "production")
    assert [target["ready_engines"] for target in shown["targets"]] == [1, 1]
    assert shown["moves"][0]["by"] == "ada (command line)"
    assert shown["moves"][0]["why"] == "a canary by hand"
    table = _run("show", "production").stdout
    assert "m-2 0.1 live" in table
    assert "a canary by hand" in table


def test_a_shadow_gets_copies_alone(database: Database) -> None:
    assert _run("point", "production", "m-1", "--shadow", "m-2=0.2").exit_code == 0
    assert Releases(database).aliases()["production"][1] == Target("m-2", 0.2, "shadow")


def test_list_shows_what_is_wrong_and_what_is_on_its_way(database: Database) -> None:
    _run("point", "production", "m-1")
    made = Rollouts(database).add(Rollout(rollout_id(), "production", "m-2", "m-1", {}))
    Engines(database).remove("h", "m-1")
    (shown,) = _json("list")
    assert shown["rollout"] == {"id": made.id, "stage": "start", "status": "running"}
    table = _run("list").stdout
    assert "no engine is ready" in table
    assert made.id in table
    assert made.id in _run("point", "production", "m-2").stderr, "it ends"


def test_rollback(database: Database) -> None:
    _run("point", "production", "m-1")
    _run("point", "production", "m-2")
    assert "m-1 1 live" in _run("rollback", "production", "--reason", "worse").stdout
    assert Releases(database).aliases()["production"] == (Target("m-1", 1.0, "live"),)
    assert Releases(database).moves("production")[0].by == "ada (command line)"
    assert "was rolled back at" in _refused("rollback", "production", "--reason", "worse")
    again = _json("rollback", "production", "--reason", "worse", "--release", "m-2")
    assert again["moved"] is False


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "nope"], "There is no alias `nope`. Known: `production`."),
        (["point", "production", "nope"], "There is no release `nope`"),
        (["point", "production", "m-1=much"], "'much' is no share"),
        (["point", "production", "m-1=2"], "a weight is between 0 and 1"),
        (["point", "production", "m-1", "--shadow", "m-1"], "named twice"),
        (["rollback", "nope", "--reason", "x"], "There is no alias `nope`."),
        (["rollback", "production", "--reason", "x"], "served nothing before `m-1`"),
    ],
)
def test_mistakes_are_told(database: Database, arguments: list[str], told: str) -> None:
    Releases(database).point("production", [Target("m-1", 1.0, "live")])
    assert told in _refused(*arguments)
    assert Releases(database).aliases()["production"] == (Target("m-1", 1.0, "live"),)
