"""Values of settings from files, as containers mount secrets."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic_settings import SettingsError

from gateway.settings import Settings
from monitoring.settings import MonitorSettings
from tests.gateway.running import ROOT


def test_a_file_gives_the_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql+psycopg://a:b@c/d\n")
    monkeypatch.setenv("DRIFTGATE_DATABASE_URL_FILE", str(secret))
    assert Settings().database_url == "postgresql+psycopg://a:b@c/d"
    assert MonitorSettings().database_url == "postgresql+psycopg://a:b@c/d"
    assert Settings(database_url="sqlite:///x").database_url == "sqlite:///x"


def test_secrets_of_the_monitor_come_from_files_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("dg-secret\n")
    monkeypatch.setenv("DRIFTGATE_MONITOR_API_KEY_FILE", str(tmp_path / "key"))
    assert MonitorSettings().monitor_api_key.get_secret_value() == "dg-secret"
    # This one is a setting of its own, a path.
    monkeypatch.setenv("DRIFTGATE_MONITOR_TOKEN_FILE", str(tmp_path / "token"))
    assert MonitorSettings().monitor_token_file == tmp_path / "token"


def test_both_at_once_and_a_missing_file_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTGATE_LEDGER_URL_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match=r"DRIFTGATE_LEDGER_URL_FILE=.*No such file"):
        Settings()
    monkeypatch.setenv("DRIFTGATE_LEDGER_URL", "redis://x")
    with pytest.raises(SettingsError, match="both set"):
        Settings()


def test_a_command_ends_with_2_and_the_reason(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "keys", "list"],
        cwd=ROOT, capture_output=True, text=True,
        env={"DRIFTGATE_DATABASE_URL_FILE": str(tmp_path / "none"), "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("DRIFTGATE_DATABASE_URL_FILE=")
