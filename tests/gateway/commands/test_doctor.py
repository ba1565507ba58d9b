"""`driftgate doctor` on an empty folder, on a running Driftgate, and on broken ones."""

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.commands.doctor import MonitorPlace, app
from gateway.signing import SigningKey
from gateway.store.database import Database
from monitoring.settings import MonitorSettings
from tests.gateway.running import RunningGateway


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home of its own, without an engine to look for."""
    home = tmp_path / "home"
    home.mkdir()
    for name, value in {
        "HOME": str(home), "ENGINE": "echo", "EMBEDDER": "", "PORT": "0", "MONITOR_PORT": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"DRIFTGATE_{name}", value)
    return home


def _doctor() -> tuple[int, dict[str, dict[str, Any]]]:
    done = CliRunner().invoke(app, ["--json"])
    return done.exit_code, {each["name"]: each for each in json.loads(done.output)}


def test_an_empty_folder_can_serve_and_is_told_how() -> None:
    status, found = _doctor()
    assert found["database"]["state"] == "warn"
    assert "make serve" in found["database"]["todo"]
    assert found["gateway"]["found"] == "not running"
    assert {name for name, each in found.items() if each["state"] == "fail"} <= {"CPU flags"}
    assert status == int("fail" in {each["state"] for each in found.values()})
    for each in found.values():
        assert bool(each["todo"]) == (each["state"] != "ok")


def test_a_running_driftgate_is_well(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTGATE_HOME", str(gateway.home))
    monkeypatch.setenv("DRIFTGATE_PORT", gateway.url.rpartition(":")[2])
    _, found = _doctor()
    for name in ("database", "keys", "engines", "gateway"):
        assert found[name]["state"] == "ok", found[name]
    assert "production-1" in found["engines"]["found"]


def test_what_fails_ends_with_1_and_says_what_to_do(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SigningKey.load_or_make(small / "signing.key")
    (small / "signing.key").chmod(0o644)
    monkeypatch.setenv("DRIFTGATE_DATABASE_URL", "postgresql+psycopg://a:secret@127.0.0.1:1/x")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("DRIFTGATE_PORT", str(port))
        status, found = _doctor()
    assert status == 1
    assert found["signing key"]["todo"] == f"chmod 600 {small / 'signing.key'}"
    assert found[f"port {port}"]["state"] == "fail"
    assert found["database"]["state"] == "fail"
    assert "secret" not in json.dumps(found)


def test_an_old_schema_is_told(small: Path) -> None:
    database = Database(f"sqlite:///{small / 'driftgate.db'}")
    database.ping()
    database.close()
    _, found = _doctor()
    assert found["database"]["state"] == "warn"
    assert "driftgate db migrate" in found["database"]["todo"]


def test_a_gateway_that_others_reach_needs_a_key(
    small: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_store, small / "driftgate.db")
    assert _doctor()[1]["keys"]["state"] == "warn"
    monkeypatch.setenv("DRIFTGATE_HOST", "0.0.0.0")
    assert _doctor()[1]["keys"]["state"] == "fail"


def test_people_get_a_table() -> None:
    done = CliRunner().invoke(app, [], env={"COLUMNS": "200"})
    assert "→ `make serve` starts it" in done.output


def test_the_monitor_is_looked_for_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRIFTGATE_MONITOR_PORT")
    place, settings = MonitorPlace(), MonitorSettings()
    assert (place.monitor_host, place.monitor_port) == (
        settings.monitor_host,
        settings.monitor_port,
    )
    monkeypatch.setenv("DRIFTGATE_MONITOR_HOST", "0.0.0.0")
    assert MonitorPlace().url() == f"http://127.0.0.1:{settings.monitor_port}"
