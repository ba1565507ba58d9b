import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from training.commands.worker import app


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "MODELS_DIR", "DATABASE_URL"):
        monkeypatch.delenv(f"DRIFTGATE_{name}", raising=False)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield CliRunner()
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _stop_soon(path: Path) -> None:
    """Send SIGTERM once the worker has made its folder."""

    def send() -> None:
        while not (path / "jobs").exists():
            threading.Event().wait(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=send, daemon=True).start()


def test_a_worker_waits_until_it_is_told_to_stop(runner: CliRunner, tmp_path: Path) -> None:
    _stop_soon(tmp_path / "home")
    done = runner.invoke(app, ["--home", str(tmp_path / "home")])
    assert (done.exit_code, done.output) == (0, "waiting for jobs\n")
    assert (tmp_path / "home" / "driftgate.db").exists()


def test_the_settings_of_the_gateway_are_the_workers(runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "driftgate.env").write_text("DRIFTGATE_HOME=elsewhere\n")
    _stop_soon(tmp_path / "elsewhere")
    assert runner.invoke(app, []).exit_code == 0


def test_a_store_that_cannot_be_opened_ends_it(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTGATE_DATABASE_URL", "postgresql+psycopg://u:hush@/d?host=/nowhere")
    done = runner.invoke(app, [])
    assert done.exit_code == 2
    assert "cannot run" in done.output
    assert "hush" not in done.output


def test_a_home_that_cannot_be_made_ends_it(runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = runner.invoke(app, ["--home", str(tmp_path / "file" / "home")])
    assert done.exit_code == 2
    assert "cannot run" in done.output


def test_a_lane_that_there_is_not_is_named(runner: CliRunner) -> None:
    done = runner.invoke(app, ["--lane", "jobs", "--lane", "highway"])
    assert done.exit_code == 2
    assert "--lane: highway is none of jobs, rollouts" in done.output


def test_a_worker_of_one_lane_makes_no_room_for_others(runner: CliRunner, tmp_path: Path) -> None:
    _stop_soon(tmp_path / "home")
    done = runner.invoke(app, ["--home", str(tmp_path / "home"), "--lane", "jobs"])
    assert done.exit_code == 0
    assert not (tmp_path / "home" / "rollouts").exists()
