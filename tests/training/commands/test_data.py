import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.training.data import planted
from tests.training.data.conftest import save_tokenizer
from training.commands.data import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def clean(folder: Path) -> Path:
    path = folder / "clean.jsonl"
    path.write_text("\n".join(planted.clean()))
    return path


def test_check_names_lines_and_says_no(tmp_path: Path) -> None:
    train, evaluation, faults = planted.write(tmp_path)
    result = run("check", train, "--eval", evaluation, "--json", "--report", tmp_path / "r.html")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert {(f["line"], f["check"]) for f in told["findings"] if f["line"]} == faults
    assert "<svg" in (tmp_path / "r.html").read_text()
    table = run("check", train, "--eval", evaluation)
    assert table.exit_code == 1
    assert "contradiction" in table.stdout
    assert "Not checked: token lengths" in table.stdout


def test_check_of_clean_rows_says_yes(tmp_path: Path) -> None:
    result = run("check", clean(tmp_path))
    assert result.exit_code == 0
    assert "12 rows, 0 of them (0.00%)" in result.stdout


@pytest.mark.parametrize("command", ["check", "convert", "split", "prepare"])
def test_an_absent_file_ends_with_its_name(command: str, tmp_path: Path) -> None:
    options = [] if command == "check" else ["--out", tmp_path / "out.jsonl"]
    options += ["--model", tmp_path] if command == "prepare" else []
    result = run(command, tmp_path / "absent.jsonl", *options)
    assert result.exit_code == 2
    assert "absent.jsonl: there is no such file" in result.stderr


def test_wrong_options_are_explained(tmp_path: Path) -> None:
    rows = clean(tmp_path)
    assert "give both" in run("check", rows, "--serving", tmp_path).stderr
    assert "no such folder" in run("check", rows, "--model", tmp_path / "none").stderr
    much = run("split", rows, "--out", tmp_path / "o", "--valid", 0.5, "--test", 0.5)
    assert (much.exit_code, "leave no row" in much.stderr) == (2, True)
    store = run("curate", "--home", tmp_path / "none", "--out", tmp_path / "o")
    assert (store.exit_code, "no such store" in store.stderr) == (2, True)


def test_convert_writes_rows_and_names_the_others(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw.jsonl", tmp_path / "rows.jsonl"
    raw.write_text('{"prompt": "Q", "completion": "A"}\n{"prompt": "Q"}\n')
    result = run("convert", raw, "--out", out, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["rows"] == 1
    assert "line 2: a row needs" in result.stderr
    assert len((tmp_path / "rows.rejected.jsonl").read_text().splitlines()) == 1


def test_split_and_prepare_write_folders(tmp_path: Path) -> None:
    rows = clean(tmp_path)
    parts = run("split", rows, "--out", tmp_path / "parts", "--seed", 1, "--json")
    assert parts.exit_code == 0, parts.output
    assert sum(json.loads(parts.stdout).values()) == 12
    model = save_tokenizer(tmp_path / "model")
    made = run("prepare", rows, "--out", tmp_path / "set", "--model", model, "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["files"]["quarantine.jsonl"] == 0
    train, _, _ = planted.write(tmp_path)
    refused = run("prepare", train, "--out", tmp_path / "bad", "--model", model)
    assert refused.exit_code == 1
    assert "line 2: this is not JSON" in refused.stderr
