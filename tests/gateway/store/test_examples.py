import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.store import examples
from gateway.store.examples import (
    Example,
    Message,
    RowError,
    Survey,
    from_row,
    parse_row,
    read_jsonl,
    survey,
    write_jsonl,
)

_USER, _ANSWER = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [_USER, _ANSWER]},
        {"prompt": "q", "completion": "a"},
        {"prompt": [_USER], "completion": "a"},
        {"prompt": [_USER], "completion": [_ANSWER]},
        {"instruction": "q", "output": "a"},
        {"instruction": "q", "input": "", "output": "a"},
        {"instruction": "q", "input": None, "output": "a"},
    ],
)
def test_all_forms_say_the_same(row: dict[str, Any]) -> None:
    example = from_row(row, 3)
    assert example.messages == (Message("user", "q"), Message("assistant", "a"))
    assert (example.question, example.answer, example.line) == ("q", "a", 3)
    assert example.as_dict() == {"messages": [_USER, _ANSWER]}


def test_the_input_follows_the_instruction() -> None:
    row = {"instruction": "Translate.", "input": "Hallo", "output": "Hello"}
    assert from_row(row, 1).question == "Translate.\n\nHallo"


@pytest.mark.parametrize(
    ("row", "code", "reason"),
    [
        ([], "not_an_object", "object"),
        ({}, "unknown_form", "none"),
        ({"text": "x", "label": 1}, "unknown_form", "`text`, `label`"),
        ({"messages": []}, "unknown_form", "at least one"),
        ({"messages": "x"}, "unknown_form", "list"),
        ({"messages": ["x"]}, "not_an_object", "turn 1"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "bad_role", "robot"),
        ({"messages": [_USER, {"role": "assistant", "content": 1}]}, "not_text", "turn 2"),
        ({"messages": [_USER, {"role": "assistant", "content": " "}]}, "empty_turn", "turn 2"),
        ({"messages": [_USER, {"role": "assistant"}]}, "not_text", "turn 2"),
        ({"messages": [_USER]}, "no_answer", "last"),
        ({"messages": [_ANSWER]}, "role_order", "assistant"),
        ({"messages": [_USER, _USER, _ANSWER]}, "role_order", "twice"),
        ({"messages": [_USER, {"role": "system", "content": "s"}, _ANSWER]}, "role_order", "first"),
        ({"messages": [_USER, {"role": "tool", "content": "t"}, _ANSWER]}, "role_order", "tool"),
        ({"prompt": 1, "completion": "a"}, "not_text", "turn 1"),
        ({"instruction": 1, "output": "a"}, "not_text", "instruction"),
        ({"messages": [_USER, _ANSWER], "created_at": "now"}, "bad_field", "created_at"),
        ({"messages": [_USER, _ANSWER], "created_at": True}, "bad_field", "created_at"),
        ({"messages": [_USER, _ANSWER], "slice": 1}, "bad_field", "slice"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(row: Any, code: str, reason: str) -> None:
    with pytest.raises(RowError, match=reason) as caught:
        from_row(row, 5)
    assert (caught.value.line, caught.value.code) == (5, code)
    assert str(caught.value).startswith("line 5: ")


@pytest.mark.parametrize("raw", [b"{", b"\xff", b'"\\ud800"', b"[" * 100_000, b"NaN", b""])
def test_what_is_not_json_is_an_error_of_its_line(raw: bytes) -> None:
    with pytest.raises(RowError) as caught:
        parse_row(raw, 9)
    assert caught.value.line == 9


def test_tool_calls_pass_through() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    turns = [_USER, call, {"role": "tool", "content": "t", "tool_call_id": "1"}, _ANSWER]
    example = from_row({"messages": turns}, 1)
    assert example.messages[1].as_dict() == {**call, "content": ""}
    assert from_row(example.as_dict(), 1) == example


def test_rows_are_read_with_their_lines_and_written_back(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = {"prompt": "Grüße 🙂", "completion": "b", "slice": "s", "created_at": 1.5}
    path.write_bytes(json.dumps(row).encode() + b"\r\n\n \n{\n" + json.dumps(row).encode())
    first, bad, last = read_jsonl(path)
    assert isinstance(first, Example)
    assert isinstance(last, Example)
    assert isinstance(bad, RowError)
    assert (first.line, bad.line, last.line) == (1, 4, 5)
    assert (first.slice, first.created_at) == ("s", 1.5)
    copy = tmp_path / "copy.jsonl"
    assert write_jsonl(copy, [first, last]) == 2
    assert [r.messages for r in read_jsonl(copy) if isinstance(r, Example)] == [first.messages] * 2
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_line_longer_than_any_row_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "MAX_ROW_BYTES", 100)
    path = tmp_path / "rows.jsonl"
    good = json.dumps({"prompt": "a", "completion": "b"}).encode()
    path.write_bytes(b"x" * 1050 + b"\n" + good + b"\n" + b"x" * 101 + b"\n" + b"x" * 1000)
    rows = list(read_jsonl(path))
    found = [(r.line, r.code if isinstance(r, RowError) else "") for r in rows]
    assert found == [(1, "too_long"), (2, ""), (3, "too_long"), (4, "too_long")]


def test_a_survey_counts_all_and_shows_the_first(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"prompt": "a", "completion": "b"}\n' * 3 + b"{}\n" * 30)
    found = survey(path, most=2)
    assert (found.rows, found.bad, [line for line, _, _ in found.problems]) == (3, 30, [4, 5])
    command = [sys.executable, "-m", "gateway.store.examples", str(path)]
    done = subprocess.run(command, capture_output=True, check=True)
    shown = json.loads(done.stdout)
    assert (shown["rows"], shown["bad"], len(shown["problems"])) == (3, 30, 20)


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"")
    assert survey(path) == Survey(0, 0, ())


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["messages", "role", "content", "prompt", "completion", "instruction", "output"]
            ),
            inner | st.sampled_from(["user", "assistant", "system", "tool"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None, database=None)
@given(_JSON)
def test_whatever_comes_is_an_example_or_a_row_error(row: Any) -> None:
    try:
        example = from_row(row, 1)
    except RowError:
        return
    assert from_row(example.as_dict(), 1) == example
