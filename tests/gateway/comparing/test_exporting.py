import csv
import io
import json

from gateway.comparing.exporting import jsonl, rows, table
from gateway.store.comparisons import Item
from gateway.store.raters import Vote
from tests.gateway.comparing.voting import comparison, votes

_ITEMS = [
    Item(0, [{"role": "user", "content": "=1+1"}], "=HYPERLINK(\"http://x\")", "@new,\n\"two\""),
    Item(1, [{"role": "user", "content": "?"}], "bad", "good", True),
]  # fmt: skip
_NAMES = {"ada": "-Ada", "bob": "Bob"}
_COMPARISON = comparison(criteria=["accuracy", "+tone"])


def _votes() -> list[Vote]:
    given = votes("ada 0 c", "bob 0 b")
    noted = Vote("cmp-1", 0, "eve", "baseline", "tie", {"+tone": "tie"}, "\tcmd|' /C calc'!A0", 9.0)
    return [*given, noted]


def test_each_vote_is_a_line_with_its_item() -> None:
    found = [json.loads(line) for line in jsonl(rows(_COMPARISON, _ITEMS, _votes(), _NAMES))]
    assert [(row["item"], row["rater"], row["choice"]) for row in found] == [
        (0, "-Ada", "candidate"), (0, "Bob", "baseline"), (0, None, "tie"), (1, None, None),
    ]  # fmt: skip
    assert found[0]["consensus"] == "split" or found[0]["consensus"] is None
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
