import json
import stat
from pathlib import Path
from typing import Any

import pytest

from gateway.store.examples import Example, read_jsonl
from tests.training.data import planted
from tests.training.data.conftest import CHATML, save_tokenizer
from training.data import manifest
from training.data.findings import DataRejected
from training.data.pipeline import Prepared, prepare


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Path]:
    """The planted data set without the rows that cannot be read, and its evaluation set."""
    train, evaluation, _ = planted.write(tmp_path, tokens=True)
    usable = [row for row in read_jsonl(train) if isinstance(row, Example)]
    train.write_text("".join(json.dumps(row.as_dict()) + "\n" for row in usable))
    return train, evaluation


def run(train: Path, evaluation: Path | None, out: Path, model: Path, **other: Any) -> Prepared:
    settings: dict[str, Any] = {"max_length": 400, "valid_share": 0.2, "seed": 1} | other
    return prepare(train, evaluation, out, model=model, **settings)


def answers(path: Path) -> list[str]:
    return [row.answer for row in read_jsonl(path) if isinstance(row, Example)]


def test_faulty_rows_are_left_out_or_set_aside(
    data: tuple[Path, Path], tmp_path: Path, tokenizer_folder: Path
) -> None:
    made = run(*data, tmp_path / "out", tokenizer_folder)
    kept = answers(made.train)
    assert len([a for a in kept if a.startswith("Gladly")]) == 12
    for gone in ("At 9:00.", "It is.", "Charged.", "Jupiter.", "Amazon.", "No."):
        assert gone not in kept
    assert answers(made.valid) == ["Jupiter", "Amazon", "Two."]
    aside = [json.loads(line) for line in made.quarantine.read_text().splitlines()]
    assert {row["quarantined"][0].split(":")[0] for row in aside} == {
        "contradiction",
        "secret",
        "personal_data",
        "control_token",
    }
    assert all("AKIA" not in q for row in aside for q in row["quarantined"])
    assert any("AKIA" in json.dumps(row["messages"]) for row in aside)
    assert stat.S_IMODE(made.quarantine.stat().st_mode) == 0o600
    frozen = manifest.read(tmp_path / "out")
    assert frozen.verify(tmp_path / "out") == []
    assert frozen.filters["secret:quarantine"] == 2
    assert [record.rows for record in frozen.files] == [len(kept), 3, len(aside)]
    assert "<svg" in made.report.read_text()
    assert made.findings


def test_without_an_evaluation_set_a_share_is_taken(
    data: tuple[Path, Path], tmp_path: Path, tokenizer_folder: Path
) -> None:
    made = run(data[0], None, tmp_path / "out", tokenizer_folder)
    train, valid = answers(made.train), answers(made.valid)
    assert len(valid) == pytest.approx(0.2 * (len(train) + len(valid)), abs=1.5)
    assert not set(train) & set(valid) - {"Chlorophyll absorbs it."}


@pytest.mark.slow
def test_a_second_run_does_nothing_and_a_changed_file_is_made_again(
    data: tuple[Path, Path], tmp_path: Path, tokenizer_folder: Path
) -> None:
    out = tmp_path / "out"
    first = run(*data, out, tokenizer_folder)
    before = first.manifest.stat()
    again = run(*data, out, tokenizer_folder)
    assert again == first
    assert first.manifest.stat() == before
    original = first.train.read_bytes()
    first.train.write_bytes(original[:-20])
    run(*data, out, tokenizer_folder)
    assert first.train.read_bytes() == original
    assert first.manifest.stat().st_ino != before.st_ino
    run(*data, out, tokenizer_folder, seed=2)
    assert manifest.read(out).settings["seed"] == 2
    assert not list(tmp_path.glob(".*"))


def test_rows_that_cannot_be_read_forbid_training(tmp_path: Path, tokenizer_folder: Path) -> None:
    train, evaluation, faults = planted.write(tmp_path)
    with pytest.raises(DataRejected) as caught:
        run(train, evaluation, tmp_path / "out", tokenizer_folder)
    assert {(f.line, f.check) for f in caught.value.findings} == {
        fault for fault in faults if fault[1] == "schema"
    }
    assert "line 2: this is not JSON" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_template_that_does_not_end_turns_forbids_training(
    data: tuple[Path, Path], tmp_path: Path
) -> None:
    endless = save_tokenizer(tmp_path / "model", CHATML.replace("<|im_end|>", ""))
    with pytest.raises(DataRejected, match="no end-of-turn token into the loss"):
        run(*data, tmp_path / "out", endless)


def test_an_interrupted_run_leaves_nothing(
    data: tuple[Path, Path],
    tmp_path: Path,
    tokenizer_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("training.data.report.write_report", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(*data, tmp_path / "out", tokenizer_folder)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))
    assert run(*data, tmp_path / "out", tokenizer_folder).train.is_file()


def test_data_of_nothing_but_faults_is_rejected(tmp_path: Path, tokenizer_folder: Path) -> None:
    train = tmp_path / "train.jsonl"
    train.write_text(planted.row("Write to a.b@example.com", "Done.") + "\n")
    with pytest.raises(DataRejected, match="no row is left to train on"):
        run(train, None, tmp_path / "out", tokenizer_folder)
