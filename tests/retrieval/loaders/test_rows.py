"""CSV and JSONL: rows as documents, rows as text, and rows that cannot be read."""

from pathlib import Path

import pytest

from retrieval.loaders.parts import LoadError
from tests.retrieval.loaders.loading import bad, starts, texts


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_row_with_text_is_a_document(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "a.csv",
        "ID,Text,Title,price,zip,note\n1,Hello there,Greeting,2.50,00501,\n"
        '2,"Two\nlines, quoted",,7,1.10,x\n',
    )
    first, second = starts(path)
    assert first.fields == {
        "id": "1",
        "title": "Greeting",
        "price": "2.50",  # not how the number is written: it would come back as another text
        "zip": "00501",
        "note": "",
    }
    assert second.fields["price"] == 7.0
    assert (first.place, first.row) == ("line 2", 1)
    assert (second.place, second.row) == ("line 3", 2)
    assert texts(path) == ["Hello there", "Two\nlines, quoted"]


def test_a_row_with_an_id_alone_is_its_cells(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", "id;city;fee\nb;Bonn;5\nk;Köln;\n")
    assert [start.fields["id"] for start in starts(path)] == ["b", "k"]
    assert texts(path) == ["city: Bonn; fee: 5", "city: Köln"]


def test_rows_without_either_are_one_document(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tsv", "city\tfee, in EUR\nBonn\t5\nKöln\t6\n")
    assert len(starts(path)) == 1
    assert texts(path) == ["city: Bonn; fee, in EUR: 5", "city: Köln; fee, in EUR: 6"]


def test_a_bad_row_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", 'id,text\n1,one\n2,two,three\n3\n4,"x"y\n5,\n6,six\n')
    assert bad(path) == [
        "line 3: has 3 cells, the header has 2",
        "line 4: has 1 cells, the header has 2",
        "line 5: is no row of CSV: ',' expected after '\"'",
        "line 6: text: is empty",
    ]
    assert texts(path) == ["one", "six"]


def test_a_quote_that_never_ends_is_a_bad_row(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", 'id,text\n1,one\n2,"two\n' + "3,three\n" * 100)
    assert bad(path) == ["line 3: is no row of CSV: unexpected end of data"]


@pytest.mark.parametrize(
    ("header", "why"), [("a,b,a\n1,2,3\n", "two columns 'a'"), ("\n1\n", "no names")]
)
def test_a_header_must_name_columns(tmp_path: Path, header: str, why: str) -> None:
    with pytest.raises(LoadError, match=rf"a\.csv, line 1: has {why}"):
        texts(_write(tmp_path / "a.csv", header))


def test_jsonl(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "a.jsonl",
        '{"id": "a", "text": "One.\\n\\nTwo.", "title": "T", "metadata": {"k": 1}}\n\n'
        '{"text": "Three."}\n',
    )
    first, second = starts(path)
    assert first.fields == {"id": "a", "title": "T", "metadata": {"k": 1}}
    assert (second.place, second.row) == ("line 3", 3)
    assert texts(path) == ["One.", "Two.", "Three."]


def test_bad_rows_of_jsonl(tmp_path: Path) -> None:
    deep = "[" * 100_000
    path = _write(
        tmp_path / "a.jsonl",
        f'{{"text": "ok"}}\nnot json\n[1]\n{{"text": 5}}\n{{"text": " "}}\n{deep}\n'
        '{"text": "\\ud800"}\n{"text": "last"}\n',
    )
    found = bad(path)
    assert [one.split(": ")[0] for one in found][:5] == [f"line {n}" for n in range(2, 7)]
    assert found[1] == "line 3: is no JSON object"
    assert found[2] == "line 4: text: is missing, empty or no text"
    assert texts(path)[0] == "ok"
    assert texts(path)[-1] == "last"
