import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.data.convert import convert
from training.data.source import SourceError, load

TURNS = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
FORMS: list[Any] = [
    {"messages": TURNS},
    {"prompt": "Q", "completion": "A"},
    {"instruction": "Q", "input": "", "output": "A"},
]


@pytest.mark.parametrize("form", FORMS, ids=["messages", "prompt", "instruction"])
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_three_forms_are_read_from_two_formats(
    form: dict[str, object], suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"rows{suffix}"
    rows = [form | {"contributor": "ann", "created_at": 5.0}] * 3
    if suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    examples, errors = load(path)
    assert errors == []
    assert [e.line for e in examples] == [1, 2, 3]
    assert {(e.question, e.answer, e.contributor, e.created_at) for e in examples} == {
        ("Q", "A", "ann", 5.0)
    }


def test_parquet_of_mixed_forms_with_times_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    time = datetime(2026, 11, 24, tzinfo=UTC)
    rows: list[dict[str, Any]] = [*FORMS, {"prompt": "no answer"}]
    pq.write_table(
        pa.Table.from_pylist([{**_empty(), **r, "created_at": time} for r in rows]), path
    )
    examples, errors = load(path)
    assert [e.created_at for e in examples] == [time.timestamp()] * 3
    assert [(e.line, e.code) for e in errors] == [(4, "unknown_form")]


def _empty() -> dict[str, None]:
    return dict.fromkeys(("messages", "prompt", "completion", "instruction", "input", "output"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", b"", "the file is empty"),
        ("rows.jsonl", b"\n\n", "the file has no rows"),
        ("rows.json", b' [{"prompt": "a"}]', "one JSON array.*jq"),
        ("rows.jsonl", "{}".encode("utf-16"), "UTF-16"),
        ("rows.csv", b"a,b\n", r"not from \.csv"),
        ("rows", b"{}", "not from no suffix"),
        ("rows.parquet", b"PAR1 not really", "no Parquet file that can be read"),
    ],
)
def test_files_that_are_no_rows_are_named(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SourceError, match=f"{name}.*{message}"):
        load(path)


def test_conversion_loses_nothing(tmp_path: Path) -> None:
    path, out = tmp_path / "raw.jsonl", tmp_path / "out.jsonl"
    bad = '{"prompt": "Q"}'
    path.write_text("\n".join([json.dumps(FORMS[1]), bad, "", "\udcff{".encode("utf-8", "replace")
                               .decode(), json.dumps(FORMS[2])]))  # fmt: skip
    done = convert(path, out, system="Be short.")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows == [{"messages": [{"role": "system", "content": "Be short."}, *TURNS]}] * 2
    assert done.rejected is not None
    kept = [json.loads(line) for line in done.rejected.read_text().splitlines()]
    assert [(row["line"], row["code"]) for row in kept] == [(2, "unknown_form"), (4, "not_json")]
    assert kept[0]["row"] == bad
    again = convert(out, tmp_path / "again.jsonl", system="Another.")
    assert (again.rejected, again.errors) == (None, ())
    assert (tmp_path / "again.jsonl").read_text() == out.read_text()


def test_a_file_is_not_converted_onto_itself(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(FORMS[0]))
    with pytest.raises(SourceError, match="name another one"):
        convert(path, path)
    assert json.loads(path.read_text()) == FORMS[0]
