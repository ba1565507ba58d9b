"""The tutorial's rows pass the commands that it gives them to; its Python is Python."""

import ast
import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import build

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"
TEXT = PAGE.read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_the_rows_are_checked_and_split_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (rows,) = _blocks("jsonl")
    (tmp_path / "rows.jsonl").write_text(rows)
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^\$ driftgate (data .+)$", TEXT, re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["check", "split"]
    for command in commands:
        done = CliRunner().invoke(build(), shlex.split(command))
        assert done.exit_code == 0, done.output
    assert "<html" in (tmp_path / "data.html").read_text()
    parts = {path.name: path.read_text().splitlines() for path in (tmp_path / "data").glob("*l")}
    assert set(parts) == {"train.jsonl", "valid.jsonl", "test.jsonl"}
    assert sum(len(part) for part in parts.values()) == len(rows.splitlines())
    for line in rows.splitlines():
        json.loads(line)


def test_what_the_client_is_asked_to_do_exists() -> None:
    import openai

    blocks = _blocks("python")
    assert len(blocks) == 3
    with openai.OpenAI(api_key="x") as client:
        for block in blocks:
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("client."):
                    found: object = client
                    for name in ast.unparse(node.func).split(".")[1:]:
                        found = getattr(found, name)
                    assert callable(found)
