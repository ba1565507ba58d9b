import json
from pathlib import Path

import pytest

from tests.training.data import planted
from training.data.check import Options, check
from training.data.findings import Finding
from training.data.source import SourceError


def named(findings: tuple[Finding, ...]) -> set[tuple[int, str]]:
    return {(f.line, f.check) for f in findings if f.line and not f.file}


def test_every_planted_fault_is_named_with_its_line_and_no_clean_row_is(tmp_path: Path) -> None:
    train, evaluation, faults = planted.write(tmp_path)
    checked = check(train, evaluation)
    assert named(checked.findings) == faults
    assert checked.flagged() == len({line for line, _ in faults})
    assert checked.rows == len(train.read_text().splitlines())


def test_faults_of_tokens_are_named_too(tmp_path: Path, tokenizer_folder: Path) -> None:
    train, evaluation, faults = planted.write(tmp_path, tokens=True)
    checked = check(train, evaluation, Options(tokenizer_folder, tokenizer_folder, 400))
    assert named(checked.findings) == faults
    whole = {f.check for f in checked.findings if f.line == 0}
    assert {"length", "loss_share", "language"} <= whole


def test_clean_rows_of_banking77_are_hardly_flagged(banking: Path) -> None:
    checked = check(banking)
    assert checked.rows == 2000
    assert checked.count("error") == 0
    assert checked.flagged() < 0.01 * checked.rows
    assert len(checked.labels) == 77


def test_reasons_repeat_no_secret(tmp_path: Path) -> None:
    train, evaluation, _ = planted.write(tmp_path)
    told = json.dumps(check(train, evaluation).as_dict())
    for secret in ("AKIAIOSFODNN7EXAMPLE", "hunter2", "jane.doe", "901820", "DE89", "4111"):
        assert secret not in told


def test_what_was_not_checked_is_said(tmp_path: Path) -> None:
    train, _, _ = planted.write(tmp_path)
    assert [left.split(" (")[0] for left in check(train).left_out] == [
        "token lengths, loss share and end-of-turn token",
        "leaks into the evaluation set",
    ]


def test_unreadable_rows_of_the_evaluation_set_are_named_with_its_file(tmp_path: Path) -> None:
    train, evaluation, _ = planted.write(tmp_path)
    with evaluation.open("a") as file:
        file.write("{broken\n")
    found = [f for f in check(train, evaluation).findings if f.file]
    assert [(f.line, f.check, f.forbids) for f in found] == [(4, "schema", True)]
    assert "eval.jsonl, line 4" in str(found[0])


def test_a_file_that_is_no_rows_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"absent\.jsonl: there is no such file"):
        check(tmp_path / "absent.jsonl")
