import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.store.comparison_files import (
    LineInvalid,
    jsonl,
    read_golds,
    read_items,
    read_questions,
    rows,
    table,
)
from gateway.store.comparisons import Item
from gateway.store.raters import Vote
from tests.gateway.comparing.voting import comparison, votes

_ITEMS = [
    Item(0, [{"role": "user", "content": "=1+1"}], "=HYPERLINK(\"http://x\")", "@new,\n\"two\""),
    Item(1, [{"role": "user", "content": "?"}], "bad", "good", True),
]  # fmt: skip
_NAMES = {"ada": "-Ada", "bob": "Bob"}
_COMPARISON = comparison(criteria=["accuracy", "+tone"], standing={"items": {"0": "split"}})


def _votes() -> list[Vote]:
    given = votes("ada 0 c", "bob 0 b")
    noted = Vote("cmp-1", 0, "eve", "baseline", "tie", {"+tone": "tie"}, "\tcmd|' /C calc'!A0", 9.0)
    return [*given, noted]


def test_each_vote_is_a_line_with_its_item() -> None:
    found = [json.loads(line) for line in jsonl(rows(_COMPARISON, _ITEMS, _votes(), _NAMES))]
    assert [(row["item"], row["rater"], row["choice"]) for row in found] == [
        (0, "-Ada", "candidate"), (0, "Bob", "baseline"), (0, None, "tie"), (1, None, None),
    ]  # fmt: skip
    assert [row["consensus"] for row in found] == ["split", "split", "split", None]
    assert found[2]["criteria"] == {"+tone": "tie"}
    assert found[3]["gold"]
    assert found[0]["baseline"] == '=HYPERLINK("http://x")'


def test_no_cell_of_a_spreadsheet_begins_like_a_formula() -> None:
    text = b"".join(table(rows(_COMPARISON, _ITEMS, _votes(), _NAMES), _COMPARISON.criteria))
    found = list(csv.DictReader(io.StringIO(text.decode(), newline="")))
    assert len(found) == 4
    for row in found:
        for name, value in row.items():
            assert not value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")), (name, value)
            assert not name.startswith(("=", "+", "-", "@"))
    assert found[0]["baseline"] == '\'=HYPERLINK("http://x")'
    assert found[0]["candidate"] == '\'@new,\n"two"'
    assert found[0]["rater"] == "'-Ada"
    assert found[2]["criterion: +tone"] == "tie"
    assert json.loads(found[0]["messages"]) == _ITEMS[0].messages


def test_items_gold_items_and_questions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(
        '{"prompt": "a?", "baseline": "1", "candidate": "2", "good": "3", "bad": "4"}\n\n'
        '{"messages": [{"role": "user", "content": "b?"}], "baseline": "", "candidate": "5", '
        '"good": "6", "bad": ""}\n'
    )
    asked = [[{"role": "user", "content": text}] for text in ("a?", "b?")]
    assert read_items(path) == [Item(0, asked[0], "1", "2"), Item(0, asked[1], "", "5")]
    assert read_golds(path) == [
        Item(0, asked[0], "4", "3", True), Item(0, asked[1], "", "6", True)
    ]  # fmt: skip
    assert read_questions(path) == asked


@pytest.mark.parametrize(
    ("line", "read", "said"),
    [
        (b"{", read_items, "line 2: this is not JSON"),
        (b"\xff", read_items, "line 2: this is not JSON"),
        (b"[]", read_questions, "line 2: a line is a JSON object"),
        (b"{}", read_questions, "line 2: give `messages` or `prompt`"),
        (b'{"prompt": "?", "messages": []}', read_questions, "and not both"),
        (b'{"messages": []}', read_questions, "`messages` is a list"),
        (b'{"prompt": 1}', read_questions, "`prompt` must be a text"),
        (b'{"prompt": "?", "baseline": "a"}', read_items, "`candidate` must be a text"),
        (b'{"prompt": "?", "good": "a", "bad": null}', read_golds, "`bad` must be a text"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(
    tmp_path: Path, line: bytes, read: Callable[[Path], Any], said: str
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n" + line + b"\n")
    with pytest.raises(LineInvalid, match=said):
        read(path)
