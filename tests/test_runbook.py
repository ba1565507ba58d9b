"""The runbook has what its alerts point to, and its commands and settings exist."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main
import yaml

from gateway.cli import build
from gateway.settings import Settings
from monitoring.settings import MonitorSettings

ROOT = Path(__file__).parents[1]
RULES = sorted((ROOT / "monitoring" / "prometheus" / "rules").glob("*.yml"))
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "howto").glob("*.md")])
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()


def _alerts() -> dict[str, dict[str, Any]]:
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    return {r["alert"]: r for group in groups for r in group["rules"] if "alert" in r}


def test_every_alert_has_its_section_and_no_section_is_without_one() -> None:
    sections = dict(re.findall(r"^## (\w+)\n\*(\w+)\.\*", RUNBOOK, re.MULTILINE))
    assert sections == {name: rule["labels"]["severity"] for name, rule in _alerts().items()}


def test_the_alerts_point_to_their_sections() -> None:
    anchors = {title.lower() for title in re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)}
    for name, rule in _alerts().items():
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert (ROOT / page).is_file()
        assert anchor == name.lower()
        assert anchor in anchors
    assert set(re.findall(r"\]\(#(\w+)\)", RUNBOOK)) <= anchors
    boards = (ROOT / "grafana" / "dashboards").glob("*.json")
    titles = {json.loads(board.read_text())["title"] for board in boards}
    assert set(re.findall(r"dashboard \*([^*]+)\*", RUNBOOK)) <= titles


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_settings_of_a_page_exist(page: Path) -> None:
    text = page.read_text()
    for line in _commands(text):
        _check(line)
    fields = {*Settings.model_fields, *MonitorSettings.model_fields}
    for variable in re.findall(r"\bDRIFTGATE_([A-Z_]*[A-Z])\b", text):
        known = variable == "API_KEY" or any(f.startswith(variable.lower()) for f in fields)
        assert known, variable
    for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link
    for target in re.findall(r"`make ([a-z-]+)", text):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target


def test_what_is_wrong_would_be_noticed() -> None:
    for wrong in ("driftgate monitr run", "driftgate keys limit a --token-per-day 3"):
        with pytest.raises((AssertionError, click.UsageError)):
            _check(wrong)


def _commands(text: str) -> list[str]:
    joined = text.replace("\\\n", " ")
    found = re.findall(r"^\$ (?:[A-Z_]+=\S+ )*(driftgate .+?)(?:\s{2,}#.*)?$", joined, re.MULTILINE)
    return found + [" ".join(c.split()) for c in re.findall(r"`(driftgate [^`]+)`", joined)]


def _check(line: str) -> None:
    """Walk the command tree; a command that is named without its arguments is fine."""
    line = re.split(r" [|>&#] ?", line)[0].replace("…", "x")
    command: Any = typer.main.get_command(build())
    words = shlex.split(line)[1:]
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"{line}: no command {words[0]}"
        command = command.commands[words.pop(0)]
    options = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
    for word in words:
        if word.startswith("--"):
            known = word.partition("=")[0] in options or "completion" in word or word == "--help"
            if not known:
                raise click.NoSuchOption(f"{line}: {word}")
