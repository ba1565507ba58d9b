"""Files of cases: what is wrong is named with file, line and field."""

import json
from pathlib import Path

import pytest

from training.evaluation.cases import CaseError, read_cases, read_truth


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


def test_rows_become_cases(tmp_path: Path) -> None:
    path = write(
        tmp_path / "test.jsonl",
        {"prompt": "a", "completion": "b"},
        "",
        {"instruction": "i", "input": "j", "output": "o", "slice": "new"},
    )
    first, second = read_cases(path)
    assert (first.id, first.text, first.reference, first.slice) == ("test:1", "a", "b", "all")
    assert (second.id, second.text, second.slice) == ("test:3", "i\n\nj", "new")


def test_bad_rows_are_all_named(tmp_path: Path) -> None:
    good = {"prompt": "a", "completion": "b"}
    path = write(tmp_path / "test.jsonl", good, "{", {"prompt": "a"}, *[{}] * 30)
    with pytest.raises(CaseError) as caught:
        read_cases(path)
    text = str(caught.value)
    assert "32 rows cannot be used" in text
    assert "line 2: this is not JSON" in text
    assert "line 3: a row needs" in text
    assert text.endswith("and 12 more")


@pytest.mark.parametrize("reader", [read_cases, read_truth])
def test_a_missing_or_empty_file(tmp_path: Path, reader: object) -> None:
    assert callable(reader)
    with pytest.raises(CaseError, match=r"none\.jsonl cannot be read: No such file"):
        reader(tmp_path / "none.jsonl")
    with pytest.raises(CaseError, match="cannot be read: Is a directory"):
        reader(tmp_path)
    with pytest.raises(CaseError, match="has no rows"):
        reader(write(tmp_path / "empty.jsonl"))


def test_truth_rows(tmp_path: Path) -> None:
    first, second = read_truth(
        write(
            tmp_path / "truth.jsonl",
            {"question": "When?", "accepted": ["10 pm"], "forbidden": ["9 pm"], "slice": "hours"},
            {"messages": [{"role": "user", "content": "Who?"}], "unanswerable": True, "id": "w"},
        )
    )
    assert (first.id, first.accepted, first.slice) == ("truth:1", ("10 pm",), "hours")
    assert (second.id, second.text, second.unanswerable) == ("truth:w", "Who?", True)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"question": "q"}, "line 1: nothing to judge by"),
        ({"question": "q", "accepted": "a"}, "`accepted` must be a list of texts"),
        ({"question": "q", "facts": [1]}, "`facts` must be a list of texts"),
        ({"question": "q", "accepted": ["a"], "unanswerable": "no"}, "`unanswerable` must be"),
        ({"question": " ", "accepted": ["a"]}, "`question` must be text"),
        ({"messages": [{"role": "assistant", "content": "x"}], "facts": ["a"]}, "`question` must"),
        ({"question": "q", "answers": ["a"]}, "unknown field `answers`; known: accepted, context"),
        ([1], "line 1: a row must be a JSON object"),
    ],
)
def test_bad_truth_rows(tmp_path: Path, row: object, named: str) -> None:
    with pytest.raises(CaseError, match=named):
        read_truth(write(tmp_path / "truth.jsonl", row))
