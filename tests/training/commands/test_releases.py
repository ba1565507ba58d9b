import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.signing import SigningKey, public_path
from gateway.store.database import Database
from tests.training.releases import BASE, TUNED, registered
from training.commands.releases import app


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DRIFTGATE_HOME", str(tmp_path))
    monkeypatch.delenv("DRIFTGATE_DATABASE_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    database = Database(f"sqlite:///{tmp_path / 'driftgate.db'}")
    database.migrate()
    registered(database, tmp_path)
    database.close()
    return tmp_path


def _run(*arguments: str, status: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == status, result.output
    return result


def _listed() -> dict[str, Any]:
    return {row["release"]: row["certificate"] for row in json.loads(_run("list", "--json").stdout)}


def test_certify_verify_and_list() -> None:
    assert _listed() == {BASE: "none", TUNED: "none"}
    assert f"{TUNED} is certified by key " in _run("certify", TUNED).stdout
    again = json.loads(_run("certify", TUNED, "--json").stdout)
    assert again["release"] == TUNED
    assert _listed() == {BASE: "none", TUNED: "signed"}
    shown = _run("verify", TUNED).stdout
    assert "✗" not in shown
    assert f"{TUNED} ← {BASE}" in shown
    assert TUNED in _run("list").stdout
    assert json.loads(_run("show", TUNED).stdout)["statement"]["subject"] == TUNED


def test_a_changed_file_ends_with_1_and_is_named(home: Path) -> None:
    _run("certify", TUNED)
    (home / TUNED / "config.json").write_text("{} ")
    told = _run("verify", TUNED, status=1).stdout
    assert "config.json: changed" in told
    found = json.loads(_run("verify", TUNED, "--json", status=1).stdout)
    assert found["holds"] is False
    assert [c["check"] for c in found["checks"] if not c["passed"]] == ["files"]


def test_another_hosts_certificate_is_verified_by_its_public_key(home: Path) -> None:
    _run("certify", TUNED)
    theirs = home / "theirs.pub"
    (home / "signing.pub").rename(theirs)
    (home / "signing.key").unlink()
    SigningKey.load_or_make(home / "signing.key")
    assert "give its public half by --key" in _run("verify", TUNED, status=1).stdout
    assert _listed()[TUNED].startswith("by another key")
    _run("verify", TUNED, "--key", str(theirs))


def test_the_key_may_lie_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = home / "secrets" / "release.key"
    monkeypatch.setenv("DRIFTGATE_SIGNING_KEY", str(elsewhere))
    _run("certify", TUNED)
    assert elsewhere.exists()
    assert public_path(elsewhere).exists()
    assert not (home / "signing.key").exists()
    _run("verify", TUNED)


@pytest.mark.parametrize("command", ["show", "verify", "certify"])
def test_what_is_unknown_is_told(command: str) -> None:
    _run("certify", TUNED)
    assert "There is no release 'x'." in _run(command, "x", status=2).stderr


def test_a_release_without_a_certificate_is_told() -> None:
    assert f"driftgate releases certify {BASE}" in _run("show", BASE, status=1).stderr
    assert "signing.pub cannot be read" in _run("verify", BASE, status=2).stderr
    _run("certify", TUNED)
    assert "there is none" in _run("verify", BASE, status=1).stdout
