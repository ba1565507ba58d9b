"""`driftgate rollout`: start, follow and steer; what it refuses."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.commands.rollout import app
from gateway.store.database import Database
from gateway.store.releases import Release, Releases, Target
from gateway.store.rollouts import PROMOTED, Rollouts


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setenv("DRIFTGATE_HOME", str(tmp_path))
    monkeypatch.delenv("DRIFTGATE_DATABASE_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("LOGNAME", "ada")
    opened = Database(f"sqlite:///{tmp_path / 'driftgate.db'}")
    opened.migrate()
    releases = Releases(opened)
    for id in ("m-1", "m-2"):
        releases.register(Release(id, "m", "r", "", {}, time.time()))
    releases.point("production", [Target("m-1", 1.0, "live")])
    yield opened
    opened.close()


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def _json(*arguments: str) -> Any:
    result = _run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def _start(*more: str) -> str:
    result = _run("start", "production", "m-2", *more)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_a_plan_comes_from_a_file_and_from_fields(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"shares": [0.1, 0.5], "warm_s": 60}')
    id = _start("--plan", str(plan), "--set", "approval=human", "--set", "warm_s=30.5")
    shown = _json("show", id)
    assert shown["plan"] == {"shares": [0.1, 0.5], "warm_s": 30.5, "approval": "human"}
    assert (shown["alias"], shown["candidate"], shown["previous"]) == ("production", "m-2", "m-1")
    assert shown["evidence"] == {"asked": {"by": "ada (command line)"}}


def test_list_and_show_print_where_it_is(database: Database) -> None:
    id = _start()
    evidence = {"shadow": {"requests": 200, "verdict": "as good"}}
    Rollouts(database).write(id, stage="canary-5", evidence=evidence)
    assert [each["id"] for each in _json("list")] == [id]
    assert _json("list", "--alias", "other") == []
    table = _run("list").stdout
    assert id in table
    assert "canary-5, running" in table
    shown = _run("show", "production").stdout  # the alias's name will do
    assert "verdict: as good" in shown
    assert "requests: 200" in shown


def test_it_is_steered_by_id_or_by_alias(database: Database) -> None:
    id = _start()
    rollouts = Rollouts(database)

    def wish() -> tuple[str | None, str | None]:
        found = rollouts.get(id)
        assert found is not None
        return found.wish, found.approved_by

    assert "ada (command line) wants it to pause" in _run("pause", "production").stdout
    assert wish() == ("pause", None)
    assert _run("resume", id).exit_code == 0
    assert _run("approve", id).exit_code == 0
    assert wish() == (None, "ada (command line)")
    assert _run("abort", id).exit_code == 0
    assert wish() == ("abort", "ada (command line)")
    assert "being aborted" in _run("resume", id).stderr
    rollouts.write(id, status=PROMOTED, reason="as good as before")
    told = _run("abort", id)
    assert told.exit_code == 2
    assert "promoted (as good as before)" in told.stderr
    assert "as good as before" in _run("show", id).stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["start", "nope", "m-2"], "There is no alias `nope`."),
        (["start", "production", "nope"], "There is no release `nope`."),
        (["start", "production", "m-1"], "serves `m-1` already"),
        (["start", "production", "m-2", "--set", "approval"], "give it as name=value"),
        (["start", "production", "m-2", "--plan", "/nowhere"], "/nowhere: "),
        (["show", "nope"], "There is no rollout `nope`"),
        (["abort", "production"], "There is no rollout `production`"),
    ],
)
def test_mistakes_are_told(database: Database, arguments: list[str], told: str) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2, result.output
    assert told in result.stderr
    assert Rollouts(database).all() == []


@pytest.mark.parametrize("text", ["[1]", "{", '{"margin": NaN}'])
def test_a_file_that_is_no_plan_is_named(tmp_path: Path, text: str) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(text)
    result = _run("start", "production", "m-2", "--plan", str(plan))
    assert result.exit_code == 2
    assert "plan.json: " in result.stderr


def test_a_second_one_names_the_first() -> None:
    id = _start()
    result = _run("start", "production", "m-2")
    assert result.exit_code == 2
    assert id in result.stderr
