"""Every command of every package: an example that parses, JSON where it ends."""

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main
from typer.testing import CliRunner

from gateway.cli import EXIT_STATUS, build

ROOT = Path(__file__).parents[3]
# Processes that run until they are stopped, and what writes votes as JSON Lines or CSV.
_NO_JSON = {
    "gateway", "serve", "worker", "engines run", "monitor run", "retrieval serve", "compare export",
}  # fmt: skip


def _leaves(command: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        return [(path, command)]
    return [
        leaf for name, each in command.commands.items() for leaf in _leaves(each, (*path, name))
    ]


COMMANDS = dict(_leaves(typer.main.get_command(build()), ()))
every_command = pytest.mark.parametrize("path", sorted(COMMANDS), ids=" ".join)


@every_command
def test_the_help_ends_with_an_example_that_parses(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    shown = re.fullmatch(r"Example: (?:[A-Z_]+=\S+ )*driftgate (.+)", command.epilog or "")
    assert shown is not None, f"driftgate {' '.join(path)} has no example"
    words = shlex.split(shown[1])
    assert tuple(words[: len(path)]) == path
    problem = _problem(command, words[len(path) :])
    assert problem is None or "does not exist" in problem  # the example's files are not here


def _problem(command: Any, words: list[str]) -> str | None:
    try:
        with command.make_context("command", words):
            return None
    except click.UsageError as error:
        return error.format_message()


@every_command
def test_what_ends_tells_it_as_json_too(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    if "as JSON" not in command.help:
        has_json = any("--json" in parameter.opts for parameter in command.params)
        assert has_json != (" ".join(path) in _NO_JSON)


def test_the_exit_status_is_told_in_help_and_readme() -> None:
    done = CliRunner().invoke(build(), ["--help"], env={"COLUMNS": "300", "TERM": "dumb"})
    assert done.exit_code == 0
    assert EXIT_STATUS in " ".join(done.output.split())
    assert EXIT_STATUS in " ".join((ROOT / "README.md").read_text().split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shell: str) -> None:
    shown = CliRunner().invoke(
        build(), [], env={"_DRIFTGATE_COMPLETE": f"source_{shell}"}, prog_name="driftgate"
    )
    assert shown.exit_code == 0
    assert "driftgate" in shown.output
    words = {
        "bash": {"COMP_WORDS": "driftgate do", "COMP_CWORD": "1"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "driftgate do"},
        "fish": {"_TYPER_COMPLETE_ARGS": "driftgate do", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    completed = CliRunner().invoke(
        build(), [], env={"_DRIFTGATE_COMPLETE": f"complete_{shell}", **words},
        prog_name="driftgate",
    )  # fmt: skip
    assert "doctor" in completed.output
    assert "serve" not in completed.output
