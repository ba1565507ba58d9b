import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from training.commands.advise import app

_ANSWERS = """
format: strict
knowledge: judgement
freshness: never
citations: none
documents: none
examples: hundreds
prompting: wrong_form
latency: tight
volume: low
budget: cpu
"""


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_answers_from_a_file_and_from_options(tmp_path: Path) -> None:
    file = tmp_path / "answers.yaml"
    file.write_text(_ANSWERS)
    result = _run("--answers", str(file))
    assert result.exit_code == 0, result.output
    assert "Recommendation: fine-tune" in result.stdout
    assert "examples = none → prompt only" in result.stdout
    changed = _run("--answers", str(file), "--answer", "examples=none", "--json")
    shown = json.loads(changed.stdout)
    assert shown["advice"] == "prompt only"
    assert shown["answers"]["examples"] == "none"
    assert shown["blocked"] == ["fine_tune", "retrieve"]


def test_what_is_not_answered_is_named_where_nobody_can_be_asked() -> None:
    result = _run("--answer", "format=strict")
    assert result.exit_code == 2
    assert "not answered: knowledge" in result.stderr
    for wrong in ("format=odd", "colour=red", "format"):
        assert _run("--answer", wrong).exit_code == 2


def test_a_person_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "answers.yaml"
    file.write_text(_ANSWERS.replace("budget: cpu\n", ""))
    monkeypatch.setattr("training.commands.advise._is_terminal", lambda: True)
    result = CliRunner().invoke(app, ["--answers", str(file)], input="9\n3\n")
    assert result.exit_code == 0, result.output
    assert "What is there to train on?" in result.stdout
    assert "Recommendation: prompt only" in result.stdout


def test_the_rules_can_be_seen() -> None:
    result = _run("--questions")
    assert result.exit_code == 0
    assert "From 3 points on" in result.stdout
    assert "only a retrieved passage can be cited" in result.stdout


def test_measured_systems(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    base = {"system": "base", "score": 0.05, "low": 0.03, "high": 0.09, "n": 200}
    tuned = {"system": "fine-tuned", "score": 0.735, "low": 0.67, "high": 0.79, "n": 200}
    file.write_text(json.dumps([base, tuned]))
    result = _run("--measured", str(file))
    assert result.exit_code == 0, result.output
    assert "Take fine-tuned." in result.stdout
    file.write_text(json.dumps([base, {**base, "system": "fine-tuned"}]))
    result = _run("--measured", str(file))
    assert result.exit_code == 1
    assert "Not decided whether fine-tuned is better" in result.stdout
    shown = json.loads(_run("--measured", str(file), "--json").stdout)
    assert (shown["take"], shown["decided"]) == ("base", False)
    assert shown["differences"][0]["missing"] > 0


def test_measured_systems_that_are_all_too_slow(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    slow = {"system": "base", "score": 0.5, "low": 0.4, "high": 0.6, "n": 9, "latency_p95_s": 3}
    file.write_text(json.dumps([slow]))
    result = _run("--measured", str(file), "--latency-p95-s", "2")
    assert result.exit_code == 1
    assert "No system answers within 2.0 s" in result.stdout
    file.write_text("[]")
    assert _run("--measured", str(file)).exit_code == 2
