import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.commands.keys import app


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DRIFTGATE_HOME", str(tmp_path))
    monkeypatch.delenv("DRIFTGATE_DATABASE_URL", raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def _json(*arguments: str) -> Any:
    result = _run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_create_prints_only_the_key_on_stdout() -> None:
    result = _run("create", "--name", "me")
    assert result.exit_code == 0
    assert re.fullmatch(r"dg-[0-9a-f]{8}-[A-Za-z0-9_-]{43}\n", result.stdout)
    (key,) = _json("list")
    assert key["name"] == "me"
    assert key["scopes"] == ["feedback", "inference"]
    assert result.stdout.startswith(f"dg-{key['prefix']}-")


def test_scopes_are_repeatable() -> None:
    made = _json("create", "--name", "x", "--scope", "admin", "--scope", "feedback")
    assert made["scopes"] == ["admin", "feedback"]
    assert made["key"].startswith(f"dg-{made['prefix']}-")


def test_the_secret_is_nowhere_in_the_list_or_in_the_files(home: Path) -> None:
    secret = _json("create", "--name", "x")["key"][12:]
    assert secret not in _run("list").output + _run("list", "--json").output
    assert all(secret.encode() not in f.read_bytes() for f in home.iterdir() if f.is_file())


def test_list_shows_names_as_they_are() -> None:
    made = _json("create", "--name", "[red]team[/nope]")
    shown = _run("list").stdout
    assert "[red]team[/nope]" in shown
    assert made["prefix"] in shown


def test_revoke() -> None:
    prefix = _json("create", "--name", "x")["prefix"]
    result = _run("revoke", prefix)
    assert result.exit_code == 0
    assert prefix in result.stdout
    revoked_at = _json("list")[0]["revoked_at"]
    assert revoked_at is not None
    assert _json("revoke", prefix)["revoked_at"] == revoked_at


def test_limits_are_set_changed_and_cleared() -> None:
    made = _json("create", "--name", "x", "--requests-per-minute", "60", "--tokens-per-day", "5")
    prefix = made["prefix"]
    assert _json("list")[0]["limits"] == {
        "requests_per_minute": 60,
        "tokens_per_minute": None,
        "max_concurrency": None,
        "tokens_per_day": 5,
        "tokens_per_month": None,
    }
    limits = _json("limit", prefix, "--max-concurrency", "4", "--tokens-per-day", "7000")["limits"]
    assert (limits["requests_per_minute"], limits["max_concurrency"]) == (60, 4)
    shown = _run("list").stdout
    for limit in ("60 requests/min", "4 at once", "7,000 tokens/day"):
        assert limit in shown
    result = _run("limit", prefix, "--clear", "--tokens-per-month", "9", "--tokens-per-minute", "8")
    assert result.stdout == f"Limits of {prefix}: 8 tokens/min, 9 tokens/month.\n"
    assert _run("limit", prefix, "--clear").stdout == f"Limits of {prefix}: none.\n"


_LIMIT = ("requests-per-minute", "tokens-per-minute", "max-concurrency", "tokens-per-day",
          "tokens-per-month")  # fmt: skip


@pytest.mark.parametrize("option", _LIMIT)
@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", "1000000000000001"])
def test_a_wrong_limit_names_its_option(option: str, value: str) -> None:
    for command in (["create", "--name", "x"], ["limit", "0123abcd"]):
        result = _run(*command, f"--{option}", value)
        assert result.exit_code == 2
        assert option in result.stderr
    assert _json("list") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "--name", "x", "--scope", "root"], "admin, feedback, inference"),
        (["create", "--name", " "], "printable"),
        (["create", "--name", "a\x00"], "printable"),
        (["create", "--name", "x" * 201], "200"),
        (["revoke", "ffffffff"], "no key"),
        (["limit", "ffffffff", "--tokens-per-day", "1"], "no key"),
        (["limit", "ffffffff"], "--clear"),
    ],
)
def test_wrong_input_is_explained_on_stderr(arguments: list[str], words: str) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""
    assert _json("list") == []


def test_a_pasted_key_is_not_repeated() -> None:
    text = _json("create", "--name", "x")["key"]
    result = _run("revoke", text)
    assert result.exit_code == 2
    assert text not in result.output


def test_a_store_that_cannot_be_opened_is_explained(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("DRIFTGATE_HOME", str(home / "file"))
    result = _run("list")
    assert result.exit_code == 2
    assert "store cannot be opened" in result.stderr
