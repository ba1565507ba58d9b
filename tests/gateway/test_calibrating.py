"""A release is calibrated against a scripted service and a scripted engine."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gateway.calibrating import CalibrationFailed, Options, lower, reference_name, run, upper
from gateway.commands.grounding import app
from gateway.settings import Settings
from gateway.store.calibrations import Calibrations
from gateway.store.database import Database
from retrieval.records import Entry, Found, Search
from tests.gateway.grounding.scripted import ScriptedEngine
from tests.gateway.running import serve_release


@pytest.fixture
def settings(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DRIFTGATE_HOME", str(tmp_path))
    shutil.copy(empty_store, tmp_path / "driftgate.db")
    return Settings()


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.resolved_database_url())
    yield database
    database.close()


class _Client:
    """A service in memory; how usual a prompt is comes from its number."""

    added: dict[str, list[Entry]]

    def __init__(self, path: Path) -> None:
        type(self).added = {}

    async def drop(self, collection: str) -> None:
        self.added.pop(collection, None)

    async def add_entries(self, collection: str, entries: list[Entry], **_: Any) -> None:
        self.added.setdefault(collection, []).extend(entries)

    async def search(self, search: Search, *, deadline_s: float) -> Found:
        assert search.reference is not None
        known = {entry.passages[0].text for entry in self.added[search.reference]}
        assert search.query not in known  # or the nearest would be itself
        return Found(hits=(), reference_similarity=0.5 + int(search.query.split()[-1]) / 1000)

    async def close(self) -> None: ...


def _rows(folder: Path, count: int) -> Path:
    path = folder / "rows.jsonl"
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"question number {n}"},
                {"role": "assistant", "content": "yes"},
            ],
            "created_at": 1000.0 + n,
        }
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_limits_come_from_prompts_set_aside(
    settings: Settings, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.calibrating.RetrievalClient", _Client)
    engine = ScriptedEngine(logprob=-0.7)
    with engine.running() as address:
        serve_release(database, "m-1", address)
        done = run(database, settings, "m", _rows(tmp_path, 200), Options(quantile=0.9, answers=15))
    assert done.release == "m-1"
    assert done.data_cutoff == 1199.0
    assert done.prompts == 40
    assert done.nll_ceiling == pytest.approx(0.7)
    assert done.similarity_floor is not None
    assert 0.5 <= done.similarity_floor < 0.6
    assert done.reference == reference_name("m-1")
    assert len(_Client.added[done.reference]) == 200
    assert all(body["max_tokens"] == 64 for body in engine.bodies)
    assert Calibrations(database).all() == [done]


def test_what_is_missing_is_named(
    settings: Settings, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = _rows(tmp_path, 100)
    with pytest.raises(CalibrationFailed, match="no release m"):
        run(database, settings, "m", rows, Options())
    serve_release(database, "m-1", "unix:/nowhere")
    with pytest.raises(CalibrationFailed, match="retrieval service"):
        run(database, settings, "m", rows, Options())
    with pytest.raises(CalibrationFailed, match="ISO date"):
        run(database, settings, "m", rows, Options(cutoff="last week"))
    with pytest.raises(CalibrationFailed, match="too few"):
        run(database, settings, "m", _rows(tmp_path, 5), Options())
    (tmp_path / "rows.jsonl").write_text("{}\n")
    with pytest.raises(CalibrationFailed, match="line 1"):
        run(database, settings, "m", rows, Options())
    monkeypatch.setattr("gateway.calibrating.RetrievalClient", _Client)
    with pytest.raises(CalibrationFailed, match="engine"):
        run(database, settings, "m", _rows(tmp_path, 100), Options())


def test_conformal_limits_know_when_there_are_too_few_values() -> None:
    values = [float(n) for n in range(1, 20)]
    assert upper(values, 0.95) == 19.0
    assert upper(values[:-1], 0.95) is None
    assert lower(values, 0.05) == 1.0
    assert upper([], 0.5) is None


def test_policies_and_health_by_command(settings: Settings, database: Database) -> None:
    command = CliRunner()
    root: typer.Typer = app
    done = command.invoke(root, ["policy", "set", "--alias", "m", "--mode", "auto", "--store", "v"])
    assert done.exit_code == 0, done.output
    assert command.invoke(root, ["policy", "set", "--alias", "m", "--mode", "x"]).exit_code == 2
    assert command.invoke(root, ["policy", "set", "--mode", "auto"]).exit_code == 2
    (shown,) = json.loads(command.invoke(root, ["policy", "list", "--json"]).stdout)
    assert shown["fields"] == {"mode": "auto", "vector_store_ids": ["v"]}
    assert command.invoke(root, ["policy", "clear", "--alias", "m"]).exit_code == 0
    assert command.invoke(root, ["policy", "clear", "--alias", "m"]).exit_code == 2
    assert command.invoke(root, ["health", "m", "warn"]).exit_code == 0
    assert command.invoke(root, ["health", "m", "ill"]).exit_code == 2
    (health,) = json.loads(command.invoke(root, ["health", "--json"]).stdout)
    assert health["state"] == "WARN"
    assert json.loads(command.invoke(root, ["topics", "--json"]).stdout) == []
