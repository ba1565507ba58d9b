import json
from pathlib import Path
from typing import Any

import pytest

from tests.training import tiny_model
from training.rows import IGNORED, RowsError, tokenise


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_model.tokenizer()


def _file(path: Path, *turns: tuple[str, str]) -> Path:
    rows = [
        {
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ]
        }
        for question, answer in turns
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_answer_and_its_end_are_trained_and_nothing_else(
    tokenizer: Any, tmp_path: Path
) -> None:
    file = _file(tmp_path / "rows.jsonl", ("a b", "c d"))
    (row,) = tokenise(file, tokenizer, tmp_path, max_length=50).rows
    trained = [label for label in row.labels if label != IGNORED]
    assert tokenizer.convert_ids_to_tokens(trained) == ["c", "d", "<end>"]
    assert row.ids[-1] == trained[-1]  # what follows the end is cut: nothing reads it
    assert tokenizer.convert_ids_to_tokens(row.ids[: row.prompt])[-1] == "<assistant>"


def test_an_end_that_is_not_trained_is_refused_with_its_line(
    tokenizer: Any, tmp_path: Path
) -> None:
    file = _file(tmp_path / "rows.jsonl", ("a", "b"), ("a", "no end"))
    with pytest.raises(RowsError, match=r"1 row cannot .*\n  line 2: the end-of-turn token"):
        tokenise(file, tokenizer, tmp_path, max_length=50)


def test_a_long_row_is_refused_or_counted_but_never_cut(tokenizer: Any, tmp_path: Path) -> None:
    file = _file(tmp_path / "rows.jsonl", ("a", "b"), ("a b c d a b c d", "c"))
    with pytest.raises(RowsError, match="line 2: 13 tokens, more than `max_length` 8"):
        tokenise(file, tokenizer, tmp_path, max_length=8)
    rows = tokenise(file, tokenizer, tmp_path, max_length=8, drop_long=True)
    assert (len(rows.rows), rows.dropped) == (1, (2,))
    assert rows.counts()["dropped_too_long"] == 1


def test_broken_rows_are_named_and_all_counted(tokenizer: Any, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("no json\n" * 12 + '{"prompt": "a"}\n')
    with pytest.raises(RowsError) as error:
        tokenise(file, tokenizer, tmp_path, max_length=50)
    told = str(error.value)
    assert "13 rows cannot" in told
    assert "line 1: this is not JSON" in told
    assert "and 3 more" in told


def test_a_file_without_rows_or_without_itself(tokenizer: Any, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    with pytest.raises(RowsError, match="no row is left"):
        tokenise(empty, tokenizer, tmp_path, max_length=50)
    with pytest.raises(RowsError, match="No such file"):
        tokenise(tmp_path / "none.jsonl", tokenizer, tmp_path, max_length=50)
